"""What a draw takes, by step and by part."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

_NAMES = {"text": "encode"}
"""Parts of a run by the names that they are told by here: what is counted as "text" is all of `encode`, boxes and hints included."""
_WAYS = ("probe ", "move ")
"""Parts that run a network forward and then backward."""


def named(part: str) -> str:
    """A part of a cost as it is called here."""
    return _NAMES.get(part, part)


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Parts:
    """Seconds of each call of each part of a run, parts within it left out: a watch (see noise/spans.py).

    Args:
        device: waited for before and after each part, so that on CUDA a draw takes longer than it would.

    Attributes:
        found: part → seconds of each call: "encode", "predict ID", "probe ID forward", "probe ID backward", "move ID forward",
            "move ID backward", "solver", "decode".
        whole: outermost part, by the name of its cost → seconds of each call with all that is within it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.found: dict[str, list[float]] = {}
        self.whole: dict[str, list[float]] = {}
        self._open: list[tuple[str, list[float]]] = []

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        outer = self._open[-1][0] if self._open else ""
        inside: list[float] = []
        self._open.append((part, inside))
        wait(self.device)
        begin = time.perf_counter()
        try:
            yield
        finally:
            wait(self.device)
            whole = time.perf_counter() - begin
            self._open.pop()
            name = f"{outer} {part}" if outer else f"{named(part)} forward" if part.startswith(_WAYS) else named(part)
            self.found.setdefault(name, []).append(whole - sum(inside))
            if self._open:
                self._open[-1][1].append(whole)
            else:
                self.whole.setdefault(named(part), []).append(whole)


class Steps:
    """Seconds of each step by what the run does in it: a `progress` of a draw. The first step is told from `begin` on, and so with what
    comes before it.

    A step ends with its trace's copy to the CPU, so that its work is done by then.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.found: dict[str, list[float]] = {}
        self.all: list[float] = []
        self.last = time.perf_counter()

    def __call__(self, step: Any, entry: Any) -> None:
        now = time.perf_counter()
        self.found.setdefault(entry.phase(self.names), []).append(now - self.last)
        self.all.append(now - self.last)
        self.last = time.perf_counter()
