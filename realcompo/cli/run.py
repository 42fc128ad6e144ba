"""``realcompo run RECIPE``."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadOption
from .common import (
    DeviceOption,
    DtypeOption,
    ParametersOption,
    PreviewOption,
    QuietOption,
    ScaleOption,
    SetOption,
    ShowOption,
    arguments,
    folder_of,
    verb,
)
from .completing import ids, recipes

if TYPE_CHECKING:
    from ..pictures.result import Result

NAME = "run"


class Format(StrEnum):
    """What pictures are written as."""

    png = "png"
    webdataset = "webdataset"
    parquet = "parquet"


@verb
def command(
    recipe: Annotated[Path, typer.Argument(autocompletion=recipes, help="A recipe file: .toml, .yaml or .json.")],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for the pictures, named after the recipe by default, a template: 'out/{seed}-{name}.png', or an address such as "
            "s3://bucket/batch.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures drawn at once.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Draw also over files that hold something else.")] = False,
    sets: SetOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    show: ShowOption = None,
    scale: ScaleOption = None,
    parameters: ParametersOption = None,
    preview: PreviewOption = False,
    quiet: QuietOption = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Draw in so many processes that share the weights, each with one thread, and keep a manifest; 0: in this process."
        ),
    ] = None,
    on: Annotated[str | None, typer.Option("--on", metavar="ENGINE", help="Draw on another engine, such as ray.")] = None,
    address: Annotated[str | None, typer.Option(help="Of a cluster for --on to join.")] = None,
    gpus: Annotated[float | None, typer.Option(min=0, help="GPUs of each worker of --on; 0.5: two share one.")] = None,
    in_flight: Annotated[int | None, typer.Option("--max-in-flight", min=1, help="Batches handed out to --on and not yet back.")] = None,
    format: Annotated[
        Format | None, typer.Option("--format", help="A PNG a picture, or shards of them: webdataset (tar) or parquet. Keeps a manifest.")
    ] = None,
    shard_size: Annotated[int | None, typer.Option(min=1, help="Pictures of a shard, 256 by default.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try pictures again that a batch with a manifest gave up.")] = False,
    score: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            autocompletion=ids("scorers"),
            metavar="SCORER",
            help="Judge each picture by this scorer, where it is drawn; keeps a manifest, which has the scores. Repeatable.",
        ),
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--with", metavar="NAME=VALUE", help="Option of a scorer: plugin/scorer.name=value. Repeatable.")
    ] = None,
) -> int | None:
    """Draw the pictures of a recipe. Finished ones are kept: the same command goes on where it stopped."""
    from ..draw.entries import require_pictures
    from ..draw.many.stores import check_address
    from ..pictures.naming import Names, is_template
    from ..pictures.overlays import lacking, parse_shows, save_overlays
    from ..recipes.configuration import resolve

    shows = parse_shows(show or "")
    check_address(output or "")
    found = resolve(recipe, sets=sets or (), arguments=arguments(device=device, dtype=dtype))
    require_pictures(found.recipe, recipe)
    folder, names = Path(output) if output else folder_of(found.settings.output) / recipe.stem, None
    templated = output is not None and is_template(output)
    goal = Path(output or "").expanduser()
    one_file = not templated and "://" not in (output or "") and goal.suffix.lower() == ".png" and not goal.is_dir()
    if shard_size is not None and format in (None, Format.png):
        raise BadOption("a PNG a picture makes no shards", where="--shard-size", mend="add --format webdataset or parquet")
    if options and not score:
        raise BadOption("they are options of scorers, and none is named", where="--with", mend="add --score SCORER")
    if on is None and (address or gpus is not None or in_flight is not None):
        raise BadOption("they say how another engine draws", where="--address, --gpus, --max-in-flight", mend="add --on ray")
    if on is not None and workers == 0:
        raise BadOption(f"0 workers of {on}", where="--workers", mend="1 or more; without --on, 0 draws in this process")
    if not (workers is None and on is None and format is None and not retry and not score and "://" not in (output or "")):
        if shows or preview or templated or one_file or parameters:
            raise BadOption(
                "they are of one process without a manifest",
                where="--show, --preview, --parameters, a template of names, a file's name",
                mend="leave them out, or draw without --workers, --on, --format, --retry, --score into a folder",
            )
        from ..interfaces import Crew
        from .many import Asked, draw_told, scorers_asked
        from .parameters import wanted

        if wanted(parameters):  # the user file asks for it
            typer.echo("note: a batch with a manifest writes no A1111 settings; the user file's parameters = true is left aside", err=True)
        scorers = scorers_asked(score or (), options or ())
        crew = None if workers in (None, 0) and on is None else Crew(workers or 1, in_flight, gpus, address)
        asked = Asked(output or str(folder), batch_size, (format or Format.png).value, shard_size or 256, retry, overwrite, scorers)
        return draw_told(found.recipe, asked, on, crew, quiet)
    if one_file:
        if len(found.recipe.pictures) > 1:
            raise BadOption(
                f"one file for {len(found.recipe.pictures)} pictures",
                where=f"-o {output}",
                mend="name a folder, or a template: 'out/{index}.png'",
            )
        templated = True  # without fields: the name itself
    if templated:
        names = Names.read(str(output), f"-o {output}", again=True)
        folder = names.folder
    from ..draw.batch import draw
    from ..draw.many.manifest import begun_as, check_free
    from .parameters import model_facts, wanted
    from .progress import StepProgress

    check_free(folder)
    if (shards := begun_as(folder)) not in (None, Format.png.value):
        raise BadOption(f"it holds a batch of {shards}", where=str(folder), mend=f"add --format {shards}, or choose another folder with -o")

    def told(result: Result, paths: Sequence[Path]) -> None:
        for path, entry in zip(paths, result.recipe.pictures, strict=True):
            progress.say(f"{path}  (seed {entry.seed})")
        overlays = save_overlays(result, paths, shows, scale)
        for path in overlays:
            progress.say(str(path))
        if said := lacking(shows, overlays):
            progress.say(f"note: {said}")

    with StepProgress(quiet, len(found.recipe.pictures), preview) as progress:
        report = draw(
            found.recipe,
            folder,
            batch_size=batch_size,
            overwrite=overwrite,
            names=names,
            parameters=model_facts(found.recipe) if wanted(parameters) else None,
            progress=progress,
            on_batch=progress.on_batch,
            on_result=told,
        )
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{report} in {report.folder}")
    return None
