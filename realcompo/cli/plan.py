"""``realcompo plan PROMPT``: the layout as a thing to work on. planned.py holds the steps, scoring.py ``--score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import RecipeOption, SetOption, arguments, verb
from .completing import ids, recipes

NAME = "plan"


@verb
def command(
    prompt: Annotated[str | None, typer.Argument(help="What would be drawn; with --revise: what to change, in words.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed plans the same; 0, or the picture's own.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=64, help="How many plans; their seeds count on.")] = 1,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write a recipe that draws the plan: .toml, .yaml, .json (with --score: .jsonl).")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", autocompletion=recipes, metavar="SCENE", help="A recipe whose boxes stay as they are: only the rest is planned."
        ),
    ] = None,
    revise: Annotated[
        Path | None,
        typer.Option(
            "--revise",
            autocompletion=recipes,
            metavar="SCENE",
            help='A recipe whose layout is changed as PROMPT says: "move the dog left".',
        ),
    ] = None,
    picture: Annotated[
        str | None, typer.Option("--picture", metavar="NAME", help="Which picture of SCENE: its name, or its number from 0.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="Draw the layouts on one sheet; several plans always do.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the request as JSON, without any key; no server is asked.")] = False,
    score: Annotated[
        str | None,
        typer.Option("--score", metavar="SUITE", help="Measure how well the planner keeps counts and relations: general, mini, or a file."),
    ] = None,
    recipe: RecipeOption = None,
    planner: Annotated[str | None, typer.Option(autocompletion=ids("planners"), help="Id of the planner (see realcompo list).")] = None,
    sets: SetOption = None,
) -> int | None:
    """Say where things would stand, without drawing; write it as a recipe to edit, plan the rest, or change it in words."""
    from ..errors import BadOption

    chosen = [f"--{name}" for name, value in (("keep", keep), ("revise", revise), ("score", score)) if value is not None]
    if len(chosen) > 1:
        raise BadOption(f"{' and '.join(chosen)} are given together", mend="give one of them")
    layer = arguments(planner=planner)
    if score is not None:
        if prompt is not None or count > 1 or dry_run or sheet is not None or picture is not None:
            raise BadOption("--score asks for the prompts of its suite", mend="leave out PROMPT, -n, --dry-run, --sheet and --picture")
        from .scoring import run_suite

        return run_suite(score, recipe=recipe, sets=sets or (), layer=layer, seed=seed or 0, output=output)
    from .planned import Asked, plan_scene

    return plan_scene(
        Asked(prompt, seed, count, keep, revise, picture, recipe, tuple(sets or ()), layer), output=output, sheet=sheet, dry_run=dry_run
    )
