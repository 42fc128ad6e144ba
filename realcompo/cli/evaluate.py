"""``realcompo eval SUITE RECIPE…``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import DeviceOption, DtypeOption, QuietOption, SetOption, arguments, default_folder, verb
from .completing import ids, recipes

if TYPE_CHECKING:
    from ..evaluation.run import Evaluation

NAME = "eval"
SHOWN = 5
"""Failed pictures of a recipe that are printed; its records have all."""


@verb
def command(
    suite: Annotated[str, typer.Argument(autocompletion=ids("suites"), help="Id of a suite (see realcompo list).")],
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            autocompletion=recipes, metavar="[RECIPE]...", help="Recipe files, or NAME=FILE; none: those that the folder holds already."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for pictures, records and tables; named after the suite by default.")
    ] = None,
    scorers: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer", autocompletion=ids("scorers"), metavar="ID", help="Judge by this scorer; the suite's own by default. Repeatable."
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME=VALUE", help="Option of the suite, or of a scorer: plugin/scorer.name=value. Repeatable."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Draw only the first so many pictures.")] = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="Draw only the first so many scenes of each kind of prompt.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the noises; the suite's own by default.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures drawn at once.")] = 1,
    score_only: Annotated[bool, typer.Option("--score-only", help="Draw nothing: judge the pictures that are there.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Draw and judge nothing: tell what is judged.")] = False,
    against: Annotated[
        str | None, typer.Option(metavar="NAME", help="The recipe that the others are held against; the first by default.")
    ] = None,
    frontier: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of the frontier picture; the first by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Draw also over pictures of other recipes.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed.")] = False,
    sets: SetOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    quiet: QuietOption = False,
    workers: Annotated[int, typer.Option(min=0, help="Draw in so many processes that share the weights; 0: in this process.")] = 0,
) -> int | None:
    """Draw a suite by each recipe, judge the pictures, and set the recipes side by side. The same command goes on where it stopped."""
    from ..evaluation.run import evaluate
    from ..interfaces import Crew
    from .progress import StepProgress

    with StepProgress(quiet) as watch:
        found = evaluate(
            suite,
            recipes or (),
            output or default_folder() / suite.replace("/", "-"),
            scorers=scorers or None,
            options=options or (),
            limit=limit,
            scenes=scenes,
            seed=seed,
            batch_size=batch_size,
            crew=Crew(workers) if workers else None,
            draws=not (score_only or table),
            judges=not table,
            overwrite=overwrite,
            retry=retry,
            against=against,
            column=frontier,
            sets=sets or (),
            arguments=arguments(device=device, dtype=dtype),
            watch=watch,
        )
    _tell(found)
    return None


def _tell(found: Evaluation) -> None:
    from ..errors import printable
    from ..evaluation.tables import markdown

    typer.echo(printable(markdown(found.table)))
    for name, cases in found.failed.items():
        for case, why in list(cases.items())[:SHOWN]:
            typer.secho(f"{name}, {printable(case)}: {printable(why.splitlines()[0])}", fg="yellow", err=True)
        if len(cases) > SHOWN:
            typer.secho(f"{name}: … and {len(cases) - SHOWN} more failed", fg="yellow", err=True)
    for path in found.files:
        typer.echo(str(path))
    if not found.table.columns:
        typer.echo(f"no scorer judges it yet: pictures are in {found.folder}; --score-only with --scorer ID judges them")
