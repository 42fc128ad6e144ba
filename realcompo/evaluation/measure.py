"""Figures of many pictures with 95% intervals, by a bootstrap over scenes. Differences are paired: every recipe draws the same scenes."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..interfaces import Record
from ..specs import Column

RESAMPLES = 400
"""Draws of the bootstrap; a figure of all pictures together takes a tenth: each may cost an eigenvalue problem."""

Pick = np.ndarray[Any, Any]
"""Indices into the records, with repetition."""


@dataclass(frozen=True)
class Figure:
    """A figure and its 95% interval; NaN where nothing was to be judged."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


def resamples(scenes: Sequence[Hashable], count: int = RESAMPLES, seed: int = 0) -> list[Pick]:
    """Bootstrap over scenes: all pictures of a scene are drawn together.

    Args:
        scenes: of each record.
    """
    members: dict[Hashable, list[int]] = {}
    for index, scene in enumerate(scenes):
        members.setdefault(scene, []).append(index)
    groups, rng = list(members.values()), np.random.default_rng(seed)
    return [np.concatenate([groups[g] for g in rng.integers(len(groups), size=len(groups))]) for _ in range(count)]


def fewer(picks: Sequence[Pick]) -> Sequence[Pick]:
    """A tenth of them, twenty at least."""
    return picks[: max(len(picks) // 10, 20)]


def interval(value: float, draws: Sequence[float]) -> Figure:
    """The figure with the middle 95% of its draws."""
    usable = [draw for draw in draws if math.isfinite(draw)]
    low, high = np.quantile(usable, [0.025, 0.975]) if usable else (math.nan, math.nan)
    return Figure(value, float(low), float(high))


def centred(value: float, draws: Sequence[float]) -> Figure:
    """The same with draws moved to have the value as their mean: a resample repeats pictures, which by itself adds to a distance of
    distributions."""
    usable = [draw for draw in draws if math.isfinite(draw)]
    return interval(value, [draw - float(np.mean(usable)) + value for draw in usable])


def sums(records: Sequence[Record], column: Column) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(N,) numerators and (N,) denominators of a column; a record without the numerator counts for nothing."""
    over = np.array([_number(record.get(column.top)) for record in records], dtype=float)
    under = np.ones(len(records)) if column.bottom is None else np.array([_number(r.get(column.bottom)) for r in records], dtype=float)
    there = np.isfinite(over) & np.isfinite(under)
    return np.where(there, over, 0.0), np.where(there, under, 0.0)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def share(over: np.ndarray[Any, Any], under: np.ndarray[Any, Any]) -> float:
    """Σ over / Σ under; NaN where nothing was to be judged."""
    total = float(under.sum())
    return float(over.sum()) / total if total else math.nan


Whole = Callable[[str, Sequence[Record]], float]
"""`Scorer.whole`."""


def figure(records: Sequence[Record], column: Column, picks: Sequence[Pick], whole: Whole) -> Figure:
    """A column of one recipe."""
    if column.whole:
        return centred(whole(column.name, records), [whole(column.name, [records[i] for i in pick]) for pick in fewer(picks)])
    over, under = sums(records, column)
    return interval(share(over, under), [share(over[pick], under[pick]) for pick in picks])


def difference(a: Sequence[Record], b: Sequence[Record], column: Column, picks: Sequence[Pick], whole: Whole) -> Figure:
    """a − b, paired: the same pictures of both are drawn by each resample."""
    if column.whole:

        def gap(pick: Sequence[int] | Pick) -> float:
            return whole(column.name, [a[i] for i in pick]) - whole(column.name, [b[i] for i in pick])

        return centred(gap(range(len(a))), [gap(pick) for pick in fewer(picks)])
    over, under = sums(a, column)
    other, below = sums(b, column)
    draws = [share(over[pick], under[pick]) - share(other[pick], below[pick]) for pick in picks]
    return interval(share(over, under) - share(other, below), draws)


def frontier(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the points (cost, quality) that no other beats in both, by rising cost; less cost and more quality are better."""
    found: list[str] = []
    best = -math.inf
    for name, (_, quality) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if math.isfinite(quality) and quality > best:
            found.append(name)
            best = quality
    return found
