"""``realcompo generate PROMPT``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import (
    DeviceOption,
    DtypeOption,
    PreviewOption,
    QuietOption,
    RecipeOption,
    ScaleOption,
    SetOption,
    ShowOption,
    arguments,
    default_folder,
    parse_boxes,
    parse_size,
    print_regions,
    verb,
)

NAME = "generate"


@verb
def command(
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="PHRASE=X0,Y0,X1,Y1", help="Where a thing stands, as shares of width and height. Repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same picture.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=64, help="How many pictures; their seeds count on.")] = 1,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file (.png), or a folder.")] = None,
    negative: Annotated[str, typer.Option(help="What not to draw.")] = "",
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Size in pixels, such as 512x768.")] = None,
    fidelity: Annotated[str | None, typer.Option(help="Id of the fidelity branch (see realcompo list).")] = None,
    spatial: Annotated[list[str] | None, typer.Option(help="Id of a spatial branch. Repeatable.")] = None,
    recipe: RecipeOption = None,
    sets: SetOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    show: ShowOption = None,
    scale: ScaleOption = None,
    preview: PreviewOption = False,
    keep: Annotated[
        bool, typer.Option("--keep-stopped", help="Ctrl-C ends the run after its step, and writes what the picture was to become.")
    ] = False,
    quiet: QuietOption = False,
) -> int | None:
    """Draw a prompt: plan where things stand, balance the branches, write a PNG that carries its recipe."""
    from ..files import file_name, free_path
    from ..pictures.overlays import parse_shows, save_overlays

    shows = parse_shows(show or "")  # what is misspelt is told before anything is loaded
    condition = parse_boxes(box)
    goal = _check_goal(output, count)
    from ..draw.generate import generate
    from ..errors import NotFinite, Stopped
    from .progress import StepProgress

    settings = arguments(num_inference_steps=steps, device=device, dtype=dtype, fidelity=fidelity, spatial=spatial or None)
    settings |= parse_size(size)
    problem: NotFinite | Stopped | None = None
    with StepProgress(quiet, preview=preview, keep=keep) as progress:
        try:
            result = generate(
                prompt,
                condition,
                seed=seed,
                recipe=recipe,
                sets=sets or (),
                negative_prompt=negative,
                num_images_per_prompt=count,
                progress=progress,
                **settings,
            )
        except (NotFinite, Stopped) as error:
            if error.result is None:
                raise
            result, problem = error.result, error  # what could be drawn is written first
    paths: list[Path] = []
    layouts = result.batch_regions.pictures
    for index, (image, entry) in enumerate(zip(result.images, result.recipe.pictures, strict=True)):
        if layouts[index] and (index == 0 or entry.conditions != result.recipe.pictures[index - 1].conditions):
            print_regions(layouts[index], "layout")
        folder = goal if goal.suffix.lower() != ".png" else goal.parent
        folder.mkdir(parents=True, exist_ok=True)
        path = goal if folder != goal else free_path(folder, file_name(prompt))
        image.save(path)
        paths.append(path)
        typer.echo(f"{path}  (seed {entry.seed})")
    for path in save_overlays(result, paths, shows, scale):
        typer.echo(str(path))
    if problem is not None:
        raise problem
    return None


def _check_goal(output: Path | None, count: int) -> Path:
    """A PNG file or a folder.

    Raises:
        BadOption: another kind of file, or one file for several pictures.
    """
    from ..errors import BadOption

    if output is None:
        return default_folder()
    output = output.expanduser()
    if output.suffix.lower() == ".png" and not output.is_dir():
        if count > 1:
            raise BadOption(f"one file for {count} pictures", where=f"-o {output}", mend="name a folder")
        return output
    if output.suffix and not output.is_dir():
        raise BadOption(
            f"{output.suffix} cannot carry the recipe",
            where=f"-o {output}",
            mend="write a .png, or a folder; convert it afterwards",
        )
    return output
