"""``realcompo run`` with a manifest: one bar over all workers, and what came of it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from .common import console

if TYPE_CHECKING:
    from ..draw.many.packing import Format
    from ..draw.many.run import Tally
    from ..interfaces import Crew
    from ..recipes.recipe import Recipe

SHOWN = 3
"""Failed pictures that are described; the manifest has all."""


@dataclass(frozen=True)
class Asked:
    """Where to, and how."""

    output: str
    batch_size: int
    format: Format  # of draw/many/packing.py
    shard_size: int
    retry: bool
    overwrite: bool


class Bar:
    """Pictures done, how many a minute, time left, failures; nothing where nobody looks."""

    def __init__(self, quiet: bool) -> None:
        self._bar: Any = None
        self._start = time.monotonic()
        if quiet or not sys.stderr.isatty():
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("pictures"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False)
        self._task = self._bar.add_task("", total=None, told="loading")
        self._bar.start()

    def __call__(self, tally: Tally) -> None:
        """After a unit."""
        if self._bar is None:
            return
        rate = 60 * tally.drawn / max(time.monotonic() - self._start, 1e-6)
        told = f"{rate:.1f} a minute" + (f", {len(tally.failed)} failed" if tally.failed else "")
        done = tally.pictures - tally.pending
        self._bar.update(self._task, total=tally.pictures, completed=done, told=told)

    def close(self) -> None:
        """Away with it."""
        if self._bar is not None:
            self._bar.stop()


def draw_told(recipe: Recipe, asked: Asked, on: str | None, crew: Crew | None, quiet: bool) -> int:
    """Draw a batch and say what came of it; 1 where pictures failed.

    Raises:
        RealCompoError: as `draw_many`.
    """
    from ..draw.many.engines import engine_of
    from ..draw.many.run import draw_many

    engine = engine_of(on, crew, recipe.device)
    bar = Bar(quiet)
    try:
        if engine.told and not quiet:
            typer.echo(engine.told, err=True)
        tally = draw_many(
            recipe,
            asked.output,
            engine=engine,
            batch_size=asked.batch_size,
            format=asked.format,
            shard_size=asked.shard_size,
            retry=asked.retry,
            overwrite=asked.overwrite,
            told=bar,
        )
    finally:
        bar.close()
    for note in tally.notes:
        typer.echo(f"note: {note}", err=True)
    for name, error in list(tally.failed.items())[:SHOWN]:
        typer.secho(f"failed: {name}: {error}", fg="yellow", err=True)
    if tally.failed:
        typer.echo("  mend: what each says, then the same with --retry; manifest.jsonl has all", err=True)
    typer.echo(f"{tally} in {tally.address}")
    return 1 if tally.failed else 0
