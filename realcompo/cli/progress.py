"""Progress on stderr: step, loss and time left. Silent where nobody looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from .common import console

if TYPE_CHECKING:
    from ..draw.batch import BatchReport, Item
    from ..interfaces import Step
    from ..pictures.trace import TraceEntry


class StepProgress:
    """A progress bar over the denoising steps, and one over the pictures where there are several.

    Args:
        quiet: show nothing; also where stderr is no terminal.
        pictures: how many will be drawn.
    """

    def __init__(self, quiet: bool = False, pictures: int = 1) -> None:
        self._bar: Any = None
        if os.environ.get("REALCOMPO_DOWNLOAD", "") in ("", "0"):
            # The loaders' own bars tell of milliseconds, in the midst of ours; where gigabytes may come they stay.
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        if quiet or not sys.stderr.isatty():
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console(stderr=True),
            transient=True,
            redirect_stdout=False,  # rich would send what belongs to stdout to stderr
            redirect_stderr=False,
        )
        self._all = self._bar.add_task("pictures", total=pictures, loss="", visible=pictures > 1)
        self._steps = self._bar.add_task("loading", total=None, loss="")

    def __enter__(self) -> StepProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, step: Step, entry: TraceEntry) -> None:
        """After a denoising step."""
        if self._bar is None:
            return
        placement = entry.placement
        told = [] if placement is None else [f"loss {float(placement.sum(dim=(0, 2)).mean()):.3f}"]
        loss = ", ".join([*told, f"{entry.spent:.0f} F"])
        self._bar.update(self._steps, total=step.count, completed=step.index + 1, description="drawing", loss=loss)

    def say(self, text: str) -> None:
        """Print a line to stdout while the bar is out of the way."""
        if self._bar is not None:
            self._bar.stop()
        typer.echo(text)
        if self._bar is not None:
            self._bar.start()

    def part(self, what: str, name: str, done: int, total: int) -> None:
        """A part of an evaluation has come so far."""
        if self._bar is None:
            return
        self._bar.update(self._all, description=what, total=total, completed=done, visible=True)
        self._bar.reset(self._steps, total=None, description=name[:30], loss="")

    def on_batch(self, batch: Sequence[Item], report: BatchReport) -> None:
        """Before a batch of pictures."""
        if self._bar is None:
            return
        done = len(report.drawn)
        self._bar.update(self._all, total=done + len(report.pending), completed=done)
        self._bar.reset(self._steps, total=None, description=batch[0].path.stem[:30], loss="")
