"""``realcompo generate PROMPT``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadOption
from .common import (
    DeviceOption,
    DtypeOption,
    ParametersOption,
    PreviewOption,
    QuietOption,
    RecipeOption,
    ScaleOption,
    SetOption,
    ShowOption,
    arguments,
    parse_boxes,
    parse_hires,
    parse_size,
    print_regions,
    verb,
)
from .completing import ids

if TYPE_CHECKING:
    from ..pictures.naming import Names

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
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A file (.png), a folder, or a template: '{seed}-{prompt:.40}.png'.")
    ] = None,
    negative: Annotated[str, typer.Option(help="What not to draw.")] = "",
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Size in pixels, such as 512x768.")] = None,
    image: Annotated[Path | None, typer.Option(help="A picture to begin with, of the shape that is drawn.")] = None,
    strength: Annotated[float | None, typer.Option(help="Share of the steps drawn over it: 0.8, or 1 with a mask.", min=0, max=1)] = None,
    mask: Annotated[Path | None, typer.Option(help="Of the picture's size: white is drawn anew, black stays to the bit.")] = None,
    mask_box: Annotated[
        list[str] | None, typer.Option(metavar="X0,Y0,X1,Y1", help="A box of the mask, as shares of width and height. Repeatable.")
    ] = None,
    mask_feather: Annotated[int | None, typer.Option(help="Pixels over which the new fades in from the mask's edge: 4.")] = None,
    padding_mask_crop: Annotated[
        int | None, typer.Option(help="Draw only the mask's surroundings, with so many pixels around it, at the full size.")
    ] = None,
    hires: Annotated[
        str | None, typer.Option(metavar="SCALE|WxH", help="A second pass at a higher resolution: 1.5, or a size such as 768x768.")
    ] = None,
    hires_strength: Annotated[float | None, typer.Option(help="Share of its steps that are drawn: 0.5.")] = None,
    hires_steps: Annotated[int | None, typer.Option(help="Its steps; the first pass's by default.")] = None,
    upscaler: Annotated[
        str | None, typer.Option(autocompletion=ids("upscalers"), help="Of the second pass: core/latent, core/lanczos, or a plugin's id.")
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(min=1, help="Noises a picture for the first steps, of which the one that is placed best goes on."),
    ] = None,
    prompt_weights: Annotated[
        str | None, typer.Option(metavar="RULE", help="Read (red:1.3), [red] and BREAK, and weigh by compel's or a1111's rule.")
    ] = None,
    long_prompts: Annotated[
        str | None, typer.Option(metavar="cut|chunks", help="What becomes of words past a text encoder's last token.")
    ] = None,
    clip_skip: Annotated[int | None, typer.Option(min=0, help="Layers of the text encoders left out: 1 is what A1111 calls 2.")] = None,
    embedding: Annotated[
        list[str] | None, typer.Option(metavar="FILE[=TOKEN]", help="A textual inversion, and the word for it. Repeatable.")
    ] = None,
    box_prompt: Annotated[
        list[str] | None, typer.Option(metavar="PHRASE=WORDS", help="What to draw in the box of a phrase. Repeatable.")
    ] = None,
    box_negative: Annotated[list[str] | None, typer.Option(metavar="PHRASE=WORDS", help="What not to draw in it. Repeatable.")] = None,
    fidelity: Annotated[
        str | None, typer.Option(autocompletion=ids("branches", role="fidelity"), help="Id of the fidelity branch (see realcompo list).")
    ] = None,
    spatial: Annotated[
        list[str] | None, typer.Option(autocompletion=ids("branches", role="spatial"), help="Id of a spatial branch. Repeatable.")
    ] = None,
    recipe: RecipeOption = None,
    sets: SetOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    show: ShowOption = None,
    scale: ScaleOption = None,
    parameters: ParametersOption = None,
    preview: PreviewOption = False,
    keep: Annotated[
        bool, typer.Option("--keep-stopped", help="Ctrl-C ends the run after its step, and writes what the picture was to become.")
    ] = False,
    quiet: QuietOption = False,
) -> int | None:
    """Draw a prompt: plan where things stand, balance the branches, write a PNG that carries its recipe."""
    from ..files import file_name, free_path
    from ..pictures.overlays import lacking, parse_shows, save_overlays
    from .words import parse_words, with_own_words

    shows = parse_shows(show or "")  # what is misspelt is told before anything is loaded
    condition = with_own_words(parse_boxes(box), prompt=box_prompt, negative_prompt=box_negative)
    goal = _check_goal(output, count, prompt)
    from ..draw.generate import generate
    from ..errors import NotFinite, Stopped
    from .parameters import model_facts, wanted
    from .progress import StepProgress

    settings = arguments(num_inference_steps=steps, device=device, dtype=dtype, fidelity=fidelity, spatial=spatial or None)
    settings |= parse_size(size)
    settings |= arguments(candidates=candidates)
    settings |= parse_hires(hires, strength=hires_strength, steps=hires_steps, upscaler=upscaler)
    settings |= arguments(
        image=image,
        strength=strength,
        mask_image=_mask(image, mask, mask_box),
        mask_feather=mask_feather,
        padding_mask_crop=padding_mask_crop,
    )
    settings |= parse_words(prompt_weights=prompt_weights, long_prompts=long_prompts, clip_skip=clip_skip, embeddings=embedding)
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
    facts = model_facts(result.recipe) if wanted(parameters) else None
    for index, (drawn, entry) in enumerate(zip(result.images, result.recipe.pictures, strict=True)):
        if layouts[index] and (index == 0 or entry.conditions != result.recipe.pictures[index - 1].conditions):
            print_regions(layouts[index], "layout")
        if isinstance(goal, Path):
            folder = goal if goal.suffix.lower() != ".png" else goal.parent
            folder.mkdir(parents=True, exist_ok=True)
            path = goal if folder != goal else free_path(folder, file_name(prompt))
        else:
            path = goal.free(result.recipe, entry, index + 1, paths)
            path.parent.mkdir(parents=True, exist_ok=True)
        drawn.facts |= facts or {}
        drawn.save(path, parameters=facts is not None)
        paths.append(path)
        chosen = result.trace.chosen[index : index + 1]
        noise = "".join(f", noise {number + 1} of {len(result.trace.candidates[index])}" for number in chosen)
        typer.echo(f"{path}  (seed {entry.seed}{noise})")
    overlays = save_overlays(result, paths, shows, scale)
    for path in overlays:
        typer.echo(str(path))
    if said := lacking(shows, overlays):
        typer.secho(f"note: {said}", fg="yellow", err=True)
    if problem is not None:
        raise problem
    return None


def _check_goal(output: Path | None, count: int, prompt: str) -> Path | Names:
    """A PNG file, a folder, or a template of names.

    Raises:
        BadOption: another kind of file, one file for several pictures, or a template that is none. UnknownName: a field of it.
    """
    import re

    from ..recipes.configuration import user_settings

    told = str(output) if output is not None else user_settings().output or "."
    if re.match(r"[A-Za-z][\w+.-]+:/", told) and not Path(told).exists():
        raise BadOption(
            "an address is no folder of this machine", where=f"-o {told}", mend="name a folder; `realcompo run` writes to addresses"
        )
    if "{" in told:
        from ..pictures.naming import Names, is_template
        from ..recipes.recipe import PictureEntry, Recipe

        if is_template(told):
            names = Names.read(told, f"-o {told}" if output is not None else f"output = {told!r}")
            names.stem(Recipe(), PictureEntry(prompt=prompt, seed=2**63), count)  # a name that is too long is told now
            _check_folder(names.folder)
            return names
    if output is None:
        return _check_folder(Path(told).expanduser())
    output = output.expanduser()
    if output.suffix.lower() == ".png" and not os.path.isdir(output):  # False of a name that is too long, which is told below
        if count > 1:
            raise BadOption(f"one file for {count} pictures", where=f"-o {output}", mend="name a folder")
        _check_folder(output.parent if os.path.lexists(output) else output)
        return output
    if output.suffix and not os.path.isdir(output):
        raise BadOption(
            f"{output.suffix} cannot carry the recipe",
            where=f"-o {output}",
            mend="write a .png, or a folder; convert it afterwards",
        )
    return _check_folder(output)


def _check_folder(folder: Path) -> Path:
    """A folder that is there, or can be made.

    Raises:
        BadOption: a file is in the way, a name is too long, or nothing may be written there.
    """
    try:
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    except OSError as error:  # a name that is too long
        raise BadOption(f"the folder cannot be made: {error.strerror}", where=f"-o {str(folder)[:80]}", mend="choose another") from None
    if there.is_dir() and os.access(there, os.W_OK):
        return folder
    what = "nothing may be written there" if there.is_dir() else f"{there.name} is a file"
    raise BadOption(f"the folder cannot be made: {what}", where=f"-o {folder}", mend="choose another")


def _mask(image: Path | None, mask: Path | None, boxes: list[str] | None) -> Any:
    """The mask's file, or a picture of its boxes on the image.

    Raises:
        BadOption: both, no box, or boxes without an image.
    """
    if not boxes:
        return mask
    import numpy as np

    from ..conditions.moving import pixel_range
    from ..recipes.copies import PictureCopy

    if mask is not None or image is None:
        what = "--mask and --mask-box" if mask is not None else "--mask-box without --image"
        raise BadOption(what, where=f"--mask-box {boxes[0]!r}", mend="give one of the two" if mask is not None else "name the picture")
    told = parse_boxes([f"mask={box}" for box in boxes])
    width, height = PictureCopy.of(image).size
    white = np.zeros((height, width), dtype=bool)
    for item in told.items if told is not None else ():
        (x0, x1), (y0, y1) = pixel_range(item.box[0], item.box[2], width), pixel_range(item.box[1], item.box[3], height)
        white[y0:y1, x0:x1] = True
    return white
