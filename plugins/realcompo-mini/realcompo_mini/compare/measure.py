"""From records to figures with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from realcompo.evaluation.measure import Figure, centred, fewer, interval, resamples
from realcompo.interfaces.suite import unpack
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


def picks_of(records: Sequence[Record], count: int) -> list[np.ndarray[Any, Any]]:
    """Bootstrap over scenes (both seeds of a scene go together): indices into the records."""
    return resamples([record["scene"] for record in records], count)


def figures(records: Sequence[Record], rendered: torch.Tensor, count: int = 400) -> dict[str, Figure]:
    """Every column of one row. The distance's interval takes a tenth of the resamples: each costs an eigenvalue problem."""
    picks = picks_of(records, count)
    table = {c: interval(share(records, c), [share(records, c, p) for p in picks]) for c in SHARES}
    table["distance"] = centred(distance(records, rendered), [distance(records, rendered, p) for p in fewer(picks)])
    table["passes"] = Figure(*[float(np.mean([2 * r["predictions"] + r["probes"] + r.get("moves", 0) for r in records]))] * 3)
    return table


def difference(a: Sequence[Record], b: Sequence[Record], column: str, rendered: torch.Tensor, count: int = 400) -> Figure:
    """a − b, paired: the same scenes are drawn again for both."""
    picks = picks_of(a, count)
    if column == "distance":
        picks = fewer(picks)
        gap = distance(a, rendered) - distance(b, rendered)
        return centred(gap, [distance(a, rendered, p) - distance(b, rendered, p) for p in picks])
    return interval(share(a, column) - share(b, column), [share(a, column, p) - share(b, column, p) for p in picks])
