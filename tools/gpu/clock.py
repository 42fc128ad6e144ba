"""What a draw takes: by step and by part, and the most memory that it held."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch

from realcompo.bench.clock import Parts
from realcompo.noise.spans import watched


class OutOfTime(Exception):
    """The run's limit has come."""


class Limit:
    """When the run is to end, in seconds from now."""

    def __init__(self, seconds: float) -> None:
        self.begin = time.perf_counter()
        self.seconds = seconds

    @property
    def spent(self) -> float:
        return time.perf_counter() - self.begin

    def check(self) -> None:
        """Raise OutOfTime once it has come; what has begun is given up."""
        if self.spent >= self.seconds:
            raise OutOfTime


class Steps:
    """Seconds of each step by what the run does in it: a `progress` of a draw. The first step is told from `begin` on.

    A step ends with its trace's copy to the CPU, so that its work is done by then.
    """

    def __init__(self, names: Sequence[str], limit: Limit) -> None:
        self.names, self.limit = names, limit
        self.found: dict[str, list[float]] = {}
        self.last = time.perf_counter()

    def __call__(self, step: Any, entry: Any) -> None:
        now = time.perf_counter()
        self.found.setdefault(entry.phase(self.names), []).append(now - self.last)
        self.limit.check()
        self.last = time.perf_counter()

    def told(self) -> dict[str, Any]:
        """Phase → how many steps, and seconds of one: the median, for a phase's first steps also count operations."""
        return {
            phase: {"steps": len(spans), "median_s": median(spans), "shortest_s": min(spans), "longest_s": max(spans)}
            for phase, spans in self.found.items()
        }


@contextmanager
def by_part(device: torch.device) -> Iterator[dict[str, list[float]]]:
    """Part ("encode", "decode", "predict ID", "probe ID", "move ID") → seconds of each of its calls, as the run's meter of operations names
    them. The device is waited for before and after each, so a draw takes longer than it would."""
    clock = Parts(device)
    with watched(clock):
        yield clock.whole
    clock.whole.pop("solver", None)  # it has no cost of its own


def told_by_part(found: dict[str, list[float]]) -> dict[str, Any]:
    """Part → calls, all their seconds, the first (in which operations are counted) and the median."""
    return {
        part: {"calls": len(spans), "all_s": sum(spans), "first_s": spans[0], "median_s": median(spans)} for part, spans in found.items()
    }


class Memory:
    """The most that a block held on a CUDA device, in bytes; None elsewhere, where torch does not say."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.before: int | None = None
        self.peak: int | None = None

    def __enter__(self) -> Memory:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device)
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.peak = torch.cuda.max_memory_allocated(self.device)

    def told(self) -> dict[str, int | None]:
        return {"before_bytes": self.before, "peak_bytes": self.peak}
