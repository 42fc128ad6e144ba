"""Some pictures of a batch: what is asked of them alone, and how it becomes the batch's again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..interfaces import Prediction, Probe, ProbeResult
from .probe import LossScale, blend, blend_shifts


@dataclass(frozen=True)
class Rows:
    """Pictures of a batch of `count`, by their numbers, which rise."""

    index: tuple[int, ...]
    count: int

    @classmethod
    def all(cls, count: int) -> Rows:
        """The whole batch."""
        return cls(tuple(range(count)), count)

    @classmethod
    def where(cls, asked: Iterable[bool]) -> Rows:
        """Those that are True."""
        told = list(asked)
        return cls(tuple(b for b, yes in enumerate(told) if yes), len(told))

    @property
    def whole(self) -> bool:
        """Whether it is the whole batch: then nothing is copied, and no number is another than without this."""
        return len(self.index) == self.count

    def __len__(self) -> int:
        return len(self.index)

    def __and__(self, other: Rows) -> Rows:
        return Rows(tuple(b for b in self.index if b in other.index), self.count)

    def __sub__(self, other: Rows) -> Rows:
        return Rows(tuple(b for b in self.index if b not in other.index), self.count)

    def __or__(self, other: Rows) -> Rows:
        return Rows(tuple(sorted({*self.index, *other.index})), self.count)

    def of(self, values: Tensor, dim: int = 0) -> Tensor:
        """Their rows of a batch's; pictures lie along `dim`."""
        return values if self.whole else values.index_select(dim, torch.tensor(self.index, device=values.device))

    def into(self, values: Tensor, dim: int = 0) -> Tensor:
        """A batch's, with these rows and zero elsewhere."""
        if self.whole:
            return values
        shape = list(values.shape)
        shape[dim] = self.count
        return values.new_zeros(shape).index_copy(dim, torch.tensor(self.index, device=values.device), values)

    def mask(self, device: torch.device | None = None) -> Tensor:
        """(B,) bool."""
        found = torch.zeros(self.count, dtype=torch.bool)
        found[list(self.index)] = True
        return found.to(device)


@dataclass
class PartScale(LossScale):
    """The loss scales of some pictures, kept in the batch's."""

    whole: LossScale = field(default_factory=LossScale)
    rows: Rows = field(default_factory=lambda: Rows((), 0))

    def of(self, like: Tensor) -> Tensor:
        return self.rows.of(self._all(like))

    def halve(self, factors: Tensor, overflowed: Tensor) -> None:
        smaller = torch.where(overflowed, (factors / 2).clamp(min=1), factors)
        mine = self.rows.mask(factors.device)
        self.whole.value = torch.where(mine, self.rows.into(smaller), self._all(factors))

    def _all(self, like: Tensor) -> Tensor:
        value = self.whole.value
        return value if isinstance(value, Tensor) else like.new_full((self.rows.count,), value)


def scale_of(scale: LossScale | None, rows: Rows) -> LossScale | None:
    """The loss scale of these pictures."""
    return scale if scale is None or rows.whole else PartScale(whole=scale, rows=rows)


def joined(parts: Sequence[tuple[Rows, Prediction]]) -> Prediction:
    """The batch's prediction from those of its parts; zero where no picture was asked. u is told where every part has it."""
    if len(parts) == 1 and parts[0][0].whole:
        return parts[0][1]
    shifts = [rows.into(one.shift) for rows, one in parts if one.shift is not None]
    told = [rows.into(one.unconditional) for rows, one in parts if one.unconditional is not None]
    return Prediction(
        noise=total([rows.into(one.noise) for rows, one in parts]),
        shift=total(shifts) if shifts else None,
        unconditional=total(told) if len(told) == len(parts) else None,
    )


def total(values: Sequence[Tensor]) -> Tensor:
    """Their sum: of parts that are zero where another is not, the whole."""
    found = values[0]
    for one in values[1:]:
        found = found + one
    return found


def blended(weights: Tensor, acting: Sequence[tuple[int, Rows]], predictions: Sequence[Prediction]) -> tuple[Tensor, Tensor | None]:
    """Σ_c ξ^c ε^c and Σ_c ξ^c δ^c (Eq. 3) over the acting branches, whose predictions are zero in pictures that do not ask them."""
    mine = weights[[k for k, _ in acting]]
    return blend(mine, [p.noise for p in predictions]), blend_shifts(mine, [p.shift for p in predictions])


def probe_of(rows: Rows, make: Callable[[Rows], Probe]) -> Probe:
    """The probe of a batch in which only these pictures are probed: loss and gradient of the others are zero."""
    inner = make(rows)
    if rows.whole:
        return inner

    def probe(weights: Tensor) -> ProbeResult:
        found = inner(rows.of(weights, 1))
        return replace(
            found,
            loss=rows.into(found.loss),
            region_loss=rows.into(found.region_loss, 1),
            grad_weights=rows.into(found.grad_weights, 1),
            grad_latents=rows.into(found.grad_latents, 1),
            maps=tuple(rows.into(maps) for maps in found.maps),
        )

    return probe
