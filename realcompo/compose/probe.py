"""The probe: the attention loss at a trial step and its gradient with respect to the weights (Eq. 4, 6, 9, 12).

∂z_{t-1}/∂ξ^c is analytic (the blend is linear), so each branch's graph is built, used and freed on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..interfaces import ProbeResult, Regions, Step
from ..noise.devices import steadily
from ..noise.diffusion import Transition
from ..noise.spans import span
from .finite import Finite, peaks


def placement_loss(maps: Tensor, masks: Tensor, present: Tensor) -> Tensor:
    """(B, R) of 1 − Σ_i A_i M_i / Σ_i A_i (Eq. 6), in the maps' own precision (fp32 or more); 0 where a region is absent.

    Args:
        maps: A (B, R, h, w), ≥ 0.
        masks: M (B, R, h, w) in [0, 1].
        present: (B, R) bool.
    """
    total = maps.sum(dim=(-2, -1))
    inside = (maps * masks).sum(dim=(-2, -1))
    tiny = torch.finfo(maps.dtype).tiny
    safe = torch.where(present, total, torch.ones_like(total)).clamp(min=tiny)
    return torch.where(present, 1 - inside / safe, torch.zeros_like(total))


def blend(weights: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Σ_c ξ^c ⊙ value^c (Eq. 3). weights (K, B, 1, h, w); values K × (B, C, h, w)."""
    return (weights * torch.stack(tuple(values))).sum(dim=0)


def blend_shifts(weights: Tensor, shifts: Sequence[Tensor | None]) -> Tensor | None:
    """Σ_c ξ^c ⊙ δ^c, where None stands for zero; None if no branch moved z."""
    moved = [weight * shift for weight, shift in zip(weights, shifts, strict=True) if shift is not None]
    return torch.stack(moved).sum(dim=0) if moved else None


@dataclass
class LossScale:
    """Keeps an fp16 backward pass inside fp16's range, for each picture by itself: grows never, halves after an overflow (whose gradient
    is dropped). An overflow at 1 is no matter of scale.

    Attributes:
        value: (B,), or one for all pictures to begin with.
    """

    value: float | Tensor = 2.0**12

    def of(self, like: Tensor) -> Tensor:
        """(B,) for the pictures of `like`, on its device."""
        return self.value if isinstance(self.value, Tensor) else like.new_full(like.shape[:1], self.value)

    def halve(self, factors: Tensor, overflowed: Tensor) -> None:
        """Of the pictures (B,) that overflowed at these factors."""
        self.value = torch.where(overflowed, (factors / 2).clamp(min=1), factors)


Slope = tuple[Tensor, Tensor, Tensor]
"""One branch's placement loss (B, R) at some z, its slope ∂/∂z (B, C, h, w), and the maps (B, R, h', w')."""


def placement_slope(
    read: Callable[[Tensor], Tensor],
    z: Tensor,
    regions: Regions,
    scale: LossScale | None,
    graph: bool = True,
    note: Callable[[Tensor], None] | None = None,
) -> Slope:
    """One branch's placement loss at z, its slope and its maps; the graph is gone afterwards.

    Args:
        read: z → maps (B, R, h', w'), differentiable in z.
        scale: of the loss in fp16; a picture whose slope overflowed has none (zero), and the next scale is smaller.
        graph: without one the slope is zero.
        note: is told the slope's max |x| of each picture, (B,); an overflow that a smaller scale may mend is not told.
    """
    if graph:
        return steadily(z.device, partial(_placement_slope, read, z, regions, scale, graph, note))
    return _placement_slope(read, z, regions, scale, graph, note)


def _placement_slope(
    read: Callable[[Tensor], Tensor],
    z: Tensor,
    regions: Regions,
    scale: LossScale | None,
    graph: bool,
    note: Callable[[Tensor], None] | None,
) -> Slope:
    leaf = z.detach().requires_grad_(graph)
    with torch.set_grad_enabled(graph):
        return slope_of_maps(read(leaf), leaf, regions, scale, note)


def slope_of_maps(
    maps: Tensor,
    leaf: Tensor,
    regions: Regions,
    scale: LossScale | None,
    note: Callable[[Tensor], None] | None = None,
    keep: bool = False,
) -> Slope:
    """The same of maps that were read at z already: by the graph that leads from them to `leaf`, if there is one.

    Args:
        keep: the graph is left as it is, to be walked again.
    """
    masks = regions.masks(*maps.shape[-2:]).to(maps)
    loss = placement_loss(maps, masks, regions.present().to(maps.device))
    slope = _slope(loss, leaf, scale, note, keep) if loss.requires_grad else torch.zeros_like(leaf, requires_grad=False)
    return loss.detach().to(leaf).nan_to_num(0.0, 0.0, 0.0), slope, maps.detach()


def _slope(loss: Tensor, z: Tensor, scale: LossScale | None, note: Callable[[Tensor], None] | None, keep: bool = False) -> Tensor:
    """∂loss/∂z (B, C, h, w) of region losses (B, R); a picture whose gradient is not finite has none at this step."""
    factors = None if scale is None else scale.of(loss)
    with span("backward"):
        (slope,) = torch.autograd.grad(loss.sum() if factors is None else (loss.sum(dim=1) * factors).sum(), z, retain_graph=keep)
    peak = peaks(slope)
    finite = peak.isfinite()
    if scale is not None and factors is not None:
        scale.halve(factors, ~finite)
        slope = slope / factors[:, None, None, None].to(slope)
        peak = peak.where(factors <= 1, 0.0)
    if note is not None:
        note(peak)
    return torch.where(finite[:, None, None, None], slope, 0.0)


Counted = Callable[[int, Callable[[], Any]], Any]
"""(k, call) → what the call returned, with what it cost told of branch k: see cost.py."""


def uncounted(k: int, call: Callable[[], Any]) -> Any:
    """Just the call."""
    return call()


Reader = Callable[[Tensor, Step], Tensor]
"""(z, step) → a branch's maps (B, R, h', w'), differentiable in z: `Branch.attend` with its conditioning."""


@dataclass
class TrialProbe:
    """weights ↦ loss at the trial step. One object a step.

    Attributes:
        readers: K, one a branch.
        z: (B, C, h, w) latents at `step`.
        noises, shifts: K × (B, C, h, w) of the common kind; what the trial step blends.
        transition: the first-order step.
        told: the step that the networks are told (t, or t_prev as an option).
        regions: the union; its masks are drawn at the maps' resolution.
        detached: K bools: maps read without a gradient.
        scales: K loss scales, None where a network needs none (only fp16 does).
        finite: is told of weights and gradients that are not finite.
    """

    readers: Sequence[Reader]
    z: Tensor
    noises: Sequence[Tensor]
    shifts: Sequence[Tensor | None]
    transition: Transition
    told: Step
    regions: Regions
    detached: Sequence[bool]
    scales: Sequence[LossScale | None]
    finite: Finite | None = None
    counted: Counted = uncounted

    def __call__(self, weights: Tensor) -> ProbeResult:
        if self.finite is not None:
            self.finite.see("weights", weights, self.told, dim=1)
        noise, shift = blend(weights, self.noises), blend_shifts(weights, self.shifts)
        trial = self.transition(self.z if shift is None else self.z + shift, noise)  # Eq. 12
        found = [
            self.counted(k, partial(placement_slope, self._at_told(read), trial, self.regions, scale, not detached, self._note(k)))
            for k, (read, scale, detached) in enumerate(zip(self.readers, self.scales, self.detached, strict=True))
        ]
        return probe_result(found, self.noises, self.shifts, self.transition)

    def _note(self, k: int) -> Callable[[Tensor], None] | None:
        finite = self.finite
        return None if finite is None else lambda peak: finite.note("gradient", peak, self.told, k)

    def _at_told(self, read: Reader) -> Callable[[Tensor], Tensor]:
        return lambda z: read(z, self.told)


@dataclass
class LaggedProbe:
    """weights ↦ loss and slope of the passes that have predicted, at z itself, in place of those at a trial step: no pass of its own.

    The slope ∂L/∂z at z_t stands for the one at z_{t−1}, which it lags behind by a step; the rest of the gradient is of this step. The loss
    does not depend on the weights that are asked about.

    Attributes:
        slopes: K, of each branch's conditional half.
        noises, shifts, transition, told, detached, finite: see `TrialProbe`.
    """

    slopes: Sequence[Slope]
    noises: Sequence[Tensor]
    shifts: Sequence[Tensor | None]
    transition: Transition
    told: Step
    detached: Sequence[bool]
    finite: Finite | None = None

    def __call__(self, weights: Tensor) -> ProbeResult:
        if self.finite is not None:
            self.finite.see("weights", weights, self.told, dim=1)
        found = [
            (loss, torch.zeros_like(slope) if still else slope, maps)
            for (loss, slope, maps), still in zip(self.slopes, self.detached, strict=True)
        ]
        return replace(probe_result(found, self.noises, self.shifts, self.transition), lagged=True)


def probe_result(found: Sequence[Slope], noises: Sequence[Tensor], shifts: Sequence[Tensor | None], transition: Transition) -> ProbeResult:
    """∂L/∂ξ^c = Σ_channels Σ_{c'} ∂L^{c'}/∂z ⊙ (b ε^c + a δ^c), and what else a probe tells, of K branches."""
    losses, slopes, maps = zip(*found, strict=True)
    total = torch.stack(slopes).sum(dim=0)  # ∂L/∂z_{t-1}, all branches' losses together
    grads = []
    for noise, shift in zip(noises, shifts, strict=True):
        along = transition.b * noise
        if shift is not None:
            along = along + transition.a * shift
        grads.append((total * along).sum(dim=1, keepdim=True))
    region_loss = torch.stack(losses)
    return ProbeResult(
        loss=region_loss.sum(dim=(0, 2)),
        region_loss=region_loss,
        grad_weights=torch.stack(grads),
        grad_latents=torch.stack([slope.flatten(1).norm(dim=1) for slope in slopes]),
        maps=maps,
    )
