"""Two things timed in turn, A B B A A B …, and their ratio with its spread.

What else a machine does drifts: neighbours in time are disturbed alike, and whoever comes first in one pair comes second in the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import comb
from statistics import median
from typing import Any

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """The median of some figures and an interval for the median of what they are drawn from, whatever its distribution.

    Attributes:
        low, high: two of the figures in their order, the k-th from either end: the median lies outside with 2·P(Bin(n, ½) < k).
        confidence: that it lies inside; with fewer than six figures less than 0.95, the whole range being the most that they can tell.
    """

    median: float
    low: float
    high: float
    confidence: float
    figures: tuple[float, ...]

    def told(self) -> dict[str, Any]:
        """For a record."""
        return {**asdict(self), "figures": list(self.figures)}


def spread(figures: Sequence[float], confidence: float = CONFIDENCE) -> Spread:
    """Of at least one figure.

    Raises:
        ValueError: there is none.
    """
    if not figures:
        raise ValueError("nothing was measured")
    order, n = sorted(figures), len(figures)

    def inside(k: int) -> float:
        return 1.0 - 2.0 * sum(comb(n, i) for i in range(k)) / 2.0**n

    k = max((k for k in range(1, n // 2 + 1) if inside(k) >= confidence), default=1)
    return Spread(median(order), order[k - 1], order[n - k], max(inside(k), 0.0), tuple(figures))


def turns(pairs: int) -> list[tuple[str, str]]:
    """Which comes first in each pair: (a, b), (b, a), (a, b) …"""
    return [("a", "b") if index % 2 == 0 else ("b", "a") for index in range(pairs)]


def alternate(a: Callable[[], float], b: Callable[[], float], pairs: int) -> tuple[list[float], list[float], Spread]:
    """Seconds of each of either, by pair, and the spread of a / b."""
    calls = {"a": a, "b": b}
    found: dict[str, list[float]] = {"a": [], "b": []}
    for turn in turns(pairs):
        for name in turn:
            found[name].append(calls[name]())
    return found["a"], found["b"], spread([x / y for x, y in zip(found["a"], found["b"], strict=True)])
