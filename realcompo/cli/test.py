"""``realcompo test NAME``."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import verb
from .completing import ids

NAME = "test"


@verb
def command(
    name: Annotated[
        str, typer.Argument(autocompletion=ids(plugins=True), help="Id of a component, or name of a plugin (see realcompo list).")
    ],
) -> int | None:
    """Run the conformance kit on a component or on all of a plugin."""
    from ..testing import run

    return run(name)
