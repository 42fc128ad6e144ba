"""The command line: a module a verb, and the verbs of other distributions (plugged.py). Nothing heavy is imported before a verb runs, so
that ``--help`` is quick."""

from __future__ import annotations

import gc
import os
import sys

import typer

from ..cli import bench, check, demo, doctor, evaluate, export, generate, importing, listing, plan, reproduce, run, show, test
from .plugged import Verbs

app = typer.Typer(
    name="realcompo",
    cls=Verbs,
    help="Compose pictures with any text-to-image model and any layout model, balanced pixel by pixel.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo, generate, run, check, plan, importing, export, listing, show, reproduce, evaluate, bench, doctor, test):
    app.command(verb.NAME)(verb.command)


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error; may stand after the verb, too."),
) -> None:
    if debug:
        os.environ["REALCOMPO_DEBUG"] = "1"


def main() -> None:
    """The entry point ``realcompo``."""
    words = sys.argv[1:]
    own = words[: words.index("--")] if "--" in words else words
    if "--version" in own[:1]:
        from .. import __version__

        print(__version__)
        return
    if "--debug" in own:
        position = own.index("--debug")
        words = ["--debug", *words[:position], *words[position + 1 :]]
    # torch and diffusers are a million objects that stay; at 700, which is Python's own, they are walked again and again while imported
    gc.set_threshold(20_000, 10, 10)
    app(args=words, prog_name="realcompo")
