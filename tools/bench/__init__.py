"""Times of the usual things, printed: ``make bench``. Nothing is asserted: machines differ, and a busy one differs from itself.

A benchmark is a function in a module of this folder: no argument, returns what it measured in words. Write it, and it is found::

    @benchmark("time of `realcompo --help`")
    def help_time() -> str:
        return seconds(best(lambda: subprocess.run([...]), times=5))
"""

from __future__ import annotations

import time
from collections.abc import Callable

BENCHMARKS: dict[str, Callable[[], str]] = {}
"""What is measured → the function that measures it, in the order of the modules' names."""


def benchmark(what: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Register a function under what it measures."""

    def add(function: Callable[[], str]) -> Callable[[], str]:
        BENCHMARKS[what] = function
        return function

    return add


def best(action: Callable[[], object], times: int) -> float:
    """The shortest of some runs, in seconds: what else the machine did disturbs that one least."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return min(found)


def seconds(value: float) -> str:
    """Seconds as people say them."""
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1e3:.2f} ms"
