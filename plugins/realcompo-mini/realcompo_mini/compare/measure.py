"""From records to figures with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from realcompo_mini.compare.draw import unpack
from realcompo_mini.scorer import frechet

Record = dict[str, Any]

SHARES = {
    "in_box": ("in_box", "objects"),
    "placed": ("placed", "objects"),
    "attributes": ("attributes", "told"),
    "present": ("present", "objects"),
    "exact": ("exact", None),
}
"""Column → (numerator, denominator) summed over pictures; None counts pictures."""


@dataclass(frozen=True)
class Figure:
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def key(record: Record) -> tuple[int, int]:
    return record["scene"], record["seed"]


def aligned(rows: dict[str, list[Record]]) -> dict[str, list[Record]]:
    """Only pictures that every row has, in one order."""
    common = set.intersection(*({key(r) for r in records} for records in rows.values()))
    return {name: sorted((r for r in records if key(r) in common), key=key) for name, records in rows.items()}


def share(records: Sequence[Record], column: str, pick: np.ndarray[Any, Any] | None = None) -> float:
    """A column's share, of all records or of those at `pick` (with repetition)."""
    top, bottom = SHARES[column]
    over = np.array([r[top] for r in records], dtype=float)
    under = np.array([1 if bottom is None else r[bottom] for r in records], dtype=float)
    if pick is not None:
        over, under = over[pick], under[pick]
    return float(over.sum() / max(under.sum(), 1))


def distance(records: Sequence[Record], rendered: torch.Tensor, pick: np.ndarray[Any, Any] | None = None) -> float:
    """Fréchet distance to features (N, D) of rendered scenes."""
    looks = np.stack([unpack(r["features"]) for r in records])
    return frechet(torch.from_numpy(looks if pick is None else looks[pick]), rendered)


def resamples(records: Sequence[Record], count: int, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """Bootstrap over scenes (both seeds of a scene go together): indices into the records."""
    by_scene: dict[int, list[int]] = {}
    for index, record in enumerate(records):
        by_scene.setdefault(record["scene"], []).append(index)
    groups, rng = list(by_scene.values()), np.random.default_rng(seed)
    return [np.concatenate([groups[g] for g in rng.integers(len(groups), size=len(groups))]) for _ in range(count)]


def figures(records: Sequence[Record], rendered: torch.Tensor, count: int = 400) -> dict[str, Figure]:
    """Every column of one row. The distance's interval takes a tenth of the resamples: each costs an eigenvalue problem."""
    picks = resamples(records, count)
    table = {c: _figure(share(records, c), [share(records, c, p) for p in picks]) for c in SHARES}
    table["distance"] = _centred(distance(records, rendered), [distance(records, rendered, p) for p in picks[: max(count // 10, 20)]])
    table["passes"] = Figure(*[float(np.mean([2 * r["predictions"] + r["probes"] + r.get("moves", 0) for r in records]))] * 3)
    return table


def difference(a: Sequence[Record], b: Sequence[Record], column: str, rendered: torch.Tensor, count: int = 400) -> Figure:
    """a − b, paired: the same scenes are drawn again for both."""
    picks = resamples(a, count)
    if column == "distance":
        picks = picks[: max(count // 10, 20)]
        gap = distance(a, rendered) - distance(b, rendered)
        return _centred(gap, [distance(a, rendered, p) - distance(b, rendered, p) for p in picks])
    return _figure(share(a, column) - share(b, column), [share(a, column, p) - share(b, column, p) for p in picks])


def _centred(value: float, draws: Sequence[float]) -> Figure:
    """With draws moved to have the value as their mean: a resample repeats pictures, which by itself adds to a Fréchet distance."""
    return _figure(value, [draw - float(np.mean(draws)) + value for draw in draws])


def _figure(value: float, draws: Sequence[float]) -> Figure:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Figure(value, float(low), float(high))
