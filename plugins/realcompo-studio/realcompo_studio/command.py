"""``realcompo studio``. Imports nothing heavy: `realcompo --help` imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where pictures are kept; `studio` in the configured output folder, or here.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one, and so does a taken one by default.")] = 8765,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but the loopback lets others in who have the token: no encryption.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="The last layer of every recipe, as in other verbs. Repeatable.")
    ] = None,
) -> None:
    """Open the studio: a page on which to place things, draw them, and look inside; with an HTTP API under it."""
    from .serving import run

    run(folder, port=port, host=host, browser=browser, sets=tuple(sets or ()))
