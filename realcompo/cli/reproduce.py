"""``realcompo reproduce PICTURE.png``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from .common import DeviceOption, PreviewOption, QuietOption, verb

NAME = "reproduce"


@verb
def command(
    picture: Annotated[Path, typer.Argument(help="A PNG that RealCompo saved.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the new picture here (.png).")] = None,
    device: DeviceOption = None,
    preview: PreviewOption = False,
    quiet: QuietOption = False,
) -> int | None:
    """Draw a picture again from the PNG alone, and compare the pixels. Exit code 0 if they are the same, 1 if not."""
    from ..draw.reproduce import reproduce
    from .progress import StepProgress

    with StepProgress(quiet, preview=preview) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they are told below
        found = reproduce(picture, device=device, progress=progress)
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    if output is not None:
        found.result.image.save(output)
        typer.echo(str(output))
    if found.edited:
        typer.echo("note: the file's pixels are not those that were drawn: the picture was edited afterwards", err=True)
    if found.same:
        typer.secho("the same pixels", fg="green")
        return 0
    told = "another size" if found.largest is None else f"{found.changed:.2%} of the pixels differ, by at most {found.largest} of 255"
    typer.secho(f"not the same pixels: {told}", fg="yellow")
    return 1
