"""``realcompo run RECIPE``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
from .completing import recipes

if TYPE_CHECKING:
    from ..pictures.result import Result

NAME = "run"


@verb
def command(
    recipe: Annotated[Path, typer.Argument(autocompletion=recipes, help="A recipe file: .toml, .yaml or .json.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Folder for the pictures, named after the recipe by default, or a template: 'out/{seed}-{name}.png'."
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
) -> int | None:
    """Draw the pictures of a recipe. Finished ones are kept: the same command goes on where it stopped."""
    from ..draw.entries import require_pictures
    from ..pictures.naming import Names, is_template
    from ..pictures.overlays import parse_shows, save_overlays
    from ..recipes.configuration import resolve

    shows = parse_shows(show or "")
    found = resolve(recipe, sets=sets or (), arguments=arguments(device=device, dtype=dtype))
    require_pictures(found.recipe, recipe)
    folder, names = output or folder_of(found.settings.output) / recipe.stem, None
    if output is not None and is_template(output):
        names = Names.read(str(output), f"-o {output}", again=True)
        folder = names.folder
    from ..draw.batch import draw
    from .parameters import model_facts, wanted
    from .progress import StepProgress

    def told(result: Result, paths: Sequence[Path]) -> None:
        for path, entry in zip(paths, result.recipe.pictures, strict=True):
            progress.say(f"{path}  (seed {entry.seed})")
        for path in save_overlays(result, paths, shows, scale):
            progress.say(str(path))

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
