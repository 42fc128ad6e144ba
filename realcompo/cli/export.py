"""``realcompo export SCENE``: its layouts for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import recipe_source, verb

if TYPE_CHECKING:
    from ..plans.layouts import Layout

NAME = "export"


@verb
def command(
    scene: Annotated[Path, typer.Argument(help="A recipe file, or a PNG that carries one.")],
    to: Annotated[str | None, typer.Option("--to", metavar="FORMAT", help="json, coco or lmd; lmd for a .txt, else json.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The file; printed where it is missing.")] = None,
) -> int | None:
    """Write the boxes of a recipe's pictures as plain JSON, as COCO's boxes, or as LMD's text."""
    from ..draw.kept import composer_of
    from ..errors import BadCondition, BadOption
    from ..plans.layouts import dump_layouts, layout_of, write_layouts
    from ..recipes.configuration import resolve

    form = to or ("lmd" if output is not None and output.suffix.lower() == ".txt" else "json")
    dump_layouts((), form)  # an unknown format is told before anything else
    found = resolve(recipe_source(scene)).recipe
    if not found.pictures:
        raise BadOption("it holds no pictures", where=str(scene), mend='plan one: realcompo plan "a cat and a dog" -o scene.toml')
    size = composer_of(found).size
    layouts: list[Layout] = []
    lost: list[str] = []
    for picture in found.pictures:
        try:
            layout, left = layout_of(picture, size)
        except BadCondition as error:
            if len(found.pictures) == 1:
                raise
            lost.append(f"{error.where}: {error.what}")
            continue
        layouts.append(layout)
        lost += left
    if not layouts:
        raise BadCondition("none of its pictures has boxes", where=str(scene), mend=f"plan them: realcompo plan --keep {scene}")
    if output is None:
        text, left = dump_layouts(layouts, form)
        typer.echo(text, nl=False)
    else:
        left = write_layouts(layouts, output, form)
        typer.echo(str(output))
    for one in (*lost, *left):
        typer.secho(f"not in {output.name if output is not None else form}: {one}", fg="yellow", err=True)
    return None
