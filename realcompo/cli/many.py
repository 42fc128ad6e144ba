"""``realcompo run`` with a manifest: one bar over all workers, and what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from ..errors import BadOption
from .common import console
from .progress import hush_loaders

if TYPE_CHECKING:
    from ..draw.many.judging import Scorers
    from ..draw.many.packing import Format
    from ..draw.many.tally import Tally
    from ..interfaces import Crew
    from ..recipes.recipe import Recipe

SHOWN = 3
"""Failed pictures that are described; the manifest has all."""


EVERY = 60.0
"""Seconds between two lines of progress in a file or a pipe."""


@dataclass(frozen=True)
class Asked:
    """Where to, and how."""

    output: str
    batch_size: int
    format: Format  # of draw/many/packing.py
    shard_size: int
    retry: bool
    overwrite: bool
    scorers: Scorers


class Bar:
    """Pictures done, how many a minute, time left, failures: a bar on a terminal, and a line a minute where stderr is a file or a pipe.

    Args:
        workers: that draw: the rate is counted from when each has drawn, so that loading is not in it.
    """

    def __init__(self, quiet: bool, workers: int = 1) -> None:
        self._workers = workers
        self._bar: Any = None
        self._quiet = quiet
        self._began: tuple[float, int] | None = None
        self._said = time.monotonic()
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
        """Before the first unit, and after each."""
        if self._quiet:
            return
        now, done = time.monotonic(), tally.pictures - tally.pending
        if self._began is None and tally.drawn >= self._workers:
            self._began = now, tally.drawn
        rate = self._rate(now, tally)
        failed = f"{len(tally.failed)} failed" if tally.failed else ""
        judged = f"{tally.judged} judged" if tally.judged else ""
        if self._bar is not None:
            first = f"{rate:.1f} a minute" if rate else "" if tally.drawn or not tally.pending else "loading"
            told = ", ".join(part for part in (first, failed, judged) if part)
            self._bar.update(self._task, total=tally.pictures, completed=done, told=told)
        elif now - self._said >= EVERY and done:
            self._said = now
            left = f"{lasting(60 * tally.pending / rate)} left" if rate and tally.pending else ""
            speed = f"{rate:.1f} a minute" if rate else ""
            parts = [f"{done} of {tally.pictures} pictures", *(part for part in (speed, left, failed, judged) if part)]
            typer.echo(", ".join(parts), err=True)

    def _rate(self, now: float, tally: Tally) -> float:
        """Pictures a minute; 0 where it is not known yet."""
        if self._began is None or now <= self._began[0]:
            return 0.0
        return 60 * (tally.drawn - self._began[1]) / (now - self._began[0])

    def close(self) -> None:
        """Away with it."""
        if self._bar is not None:
            self._bar.stop()


def lasting(seconds: float) -> str:
    """A time in hours and minutes."""
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def scorers_asked(names: Sequence[str], options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Scorer → its options, of the command line.

    Raises:
        UnknownName: there is no such scorer. BadOption: an option of none of them.
    """
    if not names:
        return {}
    from ..evaluation.study import options_of
    from ..registry import installed
    from ..specs import ScorerSpec

    found = list(dict.fromkeys(installed().find(ScorerSpec, name).id for name in names))
    own, theirs = options_of(options, found, "--score")
    if own:
        raise BadOption(
            "it names no scorer", where=f"--with {next(iter(own))}", mend=f"write {found[0]}.{next(iter(own))}=VALUE; a recipe has no suite"
        )
    return {name: theirs.get(name, {}) for name in found}


def draw_told(recipe: Recipe, asked: Asked, on: str | None, crew: Crew | None, quiet: bool) -> int:
    """Draw a batch and say what came of it; 1 where pictures failed.

    Raises:
        RealCompoError: as `draw_many`.
    """
    from ..draw.many.engines import engine_of
    from ..draw.many.run import draw_many

    hush_loaders()
    engine = engine_of(on, crew, recipe.device)
    if engine.told and not quiet:
        typer.echo(engine.told, err=True)  # above the bar
    bar = Bar(quiet, max(1, engine.workers))
    try:
        tally = draw_many(
            recipe,
            asked.output,
            engine=engine,
            batch_size=asked.batch_size,
            format=asked.format,
            shard_size=asked.shard_size,
            retry=asked.retry,
            overwrite=asked.overwrite,
            scorers=asked.scorers,
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
    for name, error in list(tally.unjudged.items())[:SHOWN]:
        typer.secho(f"not judged: {name}: {error}", fg="yellow", err=True)
    if tally.unjudged:
        typer.echo(f"  {len(tally.unjudged)} pictures lack a score; the same with --retry judges them again", err=True)
    if asked.output.startswith("memory://"):
        typer.echo("note: memory:// is the memory of this process, and goes with it", err=True)
    for line in means(tally, asked.scorers):
        typer.echo(line)
    typer.echo(f"{tally} in {tally.address}")
    return 1 if tally.failed or tally.unjudged else 0


def means(tally: Tally, scorers: Scorers) -> list[str]:
    """A line a column of each scorer, over all pictures that it has judged, as tables of evaluations have it."""
    from ..evaluation.measure import figure
    from ..registry import installed
    from ..specs import ScorerSpec

    registry = installed()
    found = []
    for asked, options in scorers.items():
        spec = registry.find(ScorerSpec, asked)
        records = tally.records.get(spec.id, [])
        for column in spec.columns if records else ():
            value = figure(records, column, [], registry.scorer(spec.id, options).whole).value
            found.append(f"{spec.id}, {column.title}: {value:.3f} ({len(records)} pictures)")
    return found
