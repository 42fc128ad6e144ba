"""``realcompo plan PROMPT``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import RecipeOption, SetOption, arguments, print_regions, regions_of, verb

NAME = "plan"


@verb
def command(
    prompt: Annotated[str, typer.Argument(help="What would be drawn.")],
    seed: Annotated[int, typer.Option(help="The same seed plans the same.")] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write a recipe that draws the plan: .toml, .yaml, .json.")] = None,
    recipe: RecipeOption = None,
    planner: Annotated[str | None, typer.Option(help="Id of the planner (see realcompo list).")] = None,
    sets: SetOption = None,
) -> int | None:
    """Say where things would stand, without drawing."""
    from ..easy import plan_picture
    from ..recipe_writing import write_recipe

    found, picture = plan_picture(prompt, seed=seed, recipe=recipe, sets=sets or (), arguments=arguments(planner=planner))
    named = found.planner.name if found.planner is not None else ""
    print_regions(regions_of(picture, (found.height or 512, found.width or 512)), f"layout by {named}, seed {seed}")
    if output is not None:
        path = write_recipe(found.model_copy(update={"pictures": (picture,)}), output)
        typer.echo(f"{path}  (draw it: realcompo run {path})")
    return None
