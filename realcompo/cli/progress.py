"""Progress on stderr: step, loss and time left, and what the pictures are to become. Silent where nobody looks."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from .common import console

if TYPE_CHECKING:
    from ..compose.live import Event
    from ..draw.batch import BatchReport, Item
    from ..interfaces import Step


class StepProgress:
    """A progress bar over the denoising steps, and one over the pictures where there are several.

    Args:
        quiet: show nothing; also where stderr is no terminal.
        pictures: how many will be drawn.
        preview: show after each step what the pictures are to become, in the best way that the terminal has; where it has none, say so.
        keep: Ctrl-C ends the run after its step, and what the pictures were to become is kept (a second one ends it at once).
    """

    def __init__(self, quiet: bool = False, pictures: int = 1, preview: bool = False, keep: bool = False) -> None:
        self._bar: Any = None
        self._preview: Any = None
        self._keep, self._stopping = keep, False
        self._handler: Any = None
        hush_loaders()
        tty = sys.stderr.isatty()
        if preview and not quiet and not tty:
            _tell_lacking(tty)
        if quiet or not tty:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if preview:
            from .terminal import Preview, asked, cell, way_of

            way = way_of(os.environ, asked, sys.stderr.encoding)
            self._preview = None if way is None else Preview(way, cell())
            if way is None:
                _tell_lacking(tty)
        shown = self._preview

        class Bar(Progress):
            """With the previews above the bar, in one display: neither scrolls the other away."""

            def get_renderables(self) -> Any:
                if shown is not None:
                    yield shown
                yield from super().get_renderables()

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console(stderr=True),
            transient=True,
            refresh_per_second=10 if shown is None else 4,
            redirect_stdout=False,  # rich would send what belongs to stdout to stderr
            redirect_stderr=False,
        )
        self._all = self._bar.add_task("pictures", total=pictures, loss="", visible=pictures > 1)
        self._steps = self._bar.add_task("loading", total=None, loss="")

    def __enter__(self) -> StepProgress:
        if self._keep and threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._interrupted)
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        self._end()

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._preview is not None:
            sys.stderr.write(self._preview.gone())
            sys.stderr.flush()

    def _interrupted(self, *_: object) -> None:
        if self._stopping:
            raise KeyboardInterrupt
        self._stopping = True

    def __call__(self, step: Step, entry: Event) -> None:
        """After a denoising step."""
        if self._stopping:
            entry.stop(keep=True)
        if self._bar is None:
            return
        if self._preview is not None:
            self._preview.show(entry.preview())
        placement = entry.placement
        told = [] if placement is None else [f"loss {float(placement.sum(dim=(0, 2)).mean()):.3f}"]
        loss = ", ".join([*told, f"{entry.spent:.0f} F"])
        number, passes = entry.passes
        drawing = "drawing" if passes == 1 else f"drawing, pass {number} of {passes}"
        self._bar.update(self._steps, total=step.count, completed=step.index + 1, description=drawing, loss=loss)

    def say(self, text: str) -> None:
        """Print a line to stdout while the bar is out of the way."""
        self._end()
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


def hush_loaders() -> None:
    """The loaders' own bars tell of milliseconds, in the midst of ours; where gigabytes may come they stay. In processes that are started
    here, too."""
    if os.environ.get("REALCOMPO_DOWNLOAD", "") in ("", "0"):
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _tell_lacking(tty: bool) -> None:
    from .terminal import lacking

    typer.secho(f"note: {lacking(os.environ, tty)}", fg="yellow", err=True)
