"""``realcompo import FILE``: a layout of another program as a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import RecipeOption, SetOption, parse_size, print_regions, regions_of, verb

if TYPE_CHECKING:
    from ..recipes.recipe import PictureEntry

NAME = "import"


@verb
def command(
    file: Annotated[Path, typer.Argument(help="Plain JSON, COCO, LMD (text or cache), Label Studio, labelme, Pascal VOC (XML) or YOLO.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write a recipe that draws it: .toml, .yaml, .json.")] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help="json, coco, lmd, lmd-cache, label-studio, labelme, voc or yolo; told from the file by default.",
        ),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="YOLO: names of the classes (cat,dog), or a file of them; else classes.txt beside it."),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="The prompt, where the file has none or another is wanted.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Pixels that the boxes belong to, where the file does not say it.")
    ] = None,
    use: Annotated[list[str] | None, typer.Option("--use", help="background: put the file's background after the prompt.")] = None,
    recipe: RecipeOption = None,
    sets: SetOption = None,
) -> int | None:
    """Make a recipe of a layout file: one picture for each layout, drawn with what is configured or with --recipe."""
    from ..conditions import check_aspect
    from ..draw.kept import composer_of
    from ..errors import BadCondition, BadOption
    from ..plans.layouts import picture_of, read_layouts
    from ..recipes.configuration import resolve

    for one in use or ():
        if one != "background":
            raise BadOption(f"--use knows no {one!r}", mend="write --use background")
    given = parse_size(size)
    layouts = read_layouts(file, form, (given["height"], given["width"]) if given else None, _names(names))
    found = resolve(recipe, sets=sets or ()).recipe
    drawn = composer_of(found).size
    pictures: list[PictureEntry] = []
    told: list[str] = []
    for layout in layouts:
        picture, remarks = picture_of(layout, prompt, use or ())
        try:
            check_aspect(layout.size, drawn, "the layout's picture")
        except BadCondition as error:
            remarks.append(f"{error.what}: shares are kept, so things change their shape; {error.mend}")
        pictures.append(picture)
        told += remarks
        print_regions(regions_of(picture, drawn), picture.prompt)
    for remark in dict.fromkeys(told):
        typer.secho(f"note: {remark}", fg="yellow", err=True)
    if output is not None:
        from ..recipes.writing import write_recipe

        notes = [
            f"Imported from {file.name}. Draw it: realcompo run {output.name} --show layout",
            *(f"Note: {one}" for one in dict.fromkeys(told)),
        ]
        path = write_recipe(found.model_copy(update={"pictures": tuple(pictures)}), output, notes)
        typer.echo(f"{path}  (draw it: realcompo run {path})")
    return None


def _names(told: str | None) -> Sequence[str] | Mapping[int, str] | None:
    """Names of classes: a file's, or those written with commas between."""
    if told is None:
        return None
    path = Path(told).expanduser()
    if "," not in told and (path.is_file() or path.suffix in (".txt", ".names", ".yaml", ".yml")):
        from ..plans.layouts.yolo import read_names

        return read_names(path)
    return [one.strip() for one in told.split(",")]
