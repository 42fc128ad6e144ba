"""The paper's balancer, generalised: ξ = softmax(Coe + log π) and Coe ← Coe − ρ ∂L/∂Coe (Eq. 2, 3, 7).

Three phases: spatial branches alone, balanced, fidelity alone. The paper's own form has no prior π and no finish.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from ..interfaces import Balancer, Needs, Probe, ProbeResult, Setting, Step
from .options import BalanceOptions, Run


@dataclass(frozen=True)
class State:
    """Coe (K, B, 1, h, w), and the largest gradient seen so far, (B,)."""

    setting: Setting
    coe: Tensor
    peak: Tensor


class Balance(Balancer):
    """See the module; options in options.py."""

    options: BalanceOptions

    def start(self, setting: Setting) -> State:
        masks = setting.masks
        shape = (len(setting.roles), masks.shape[0], 1, *masks.shape[2:])
        coe = masks.new_zeros(shape)
        if self.options.initial == "independent":
            draws = [torch.randn(shape[0], *shape[2:], generator=g, dtype=masks.dtype) for g in setting.generators]
            coe = torch.stack(draws, dim=1).to(masks)
        return State(setting, coe, masks.new_zeros(masks.shape[0]))

    # -- phases ----------------------------------------------------------------------------------------------------------

    def _acting(self, setting: Setting, step: Step) -> tuple[bool, ...]:
        first, last = self._span(step)
        if len(set(setting.roles)) == 1:  # nothing to balance
            return tuple(True for _ in setting.roles)
        if step.index < first:
            return tuple(role == "spatial" for role in setting.roles)
        if step.index >= last:
            return tuple(role == "fidelity" for role in setting.roles)
        return tuple(True for _ in setting.roles)

    def _span(self, step: Step) -> tuple[int, int]:
        """The first balanced step, and the first after them."""
        return round(self.options.warmup * step.count), round(self.options.finish * step.count)

    def needs(self, state: Any, step: Step) -> Needs:
        acting = self._acting(state.setting, step)
        return Needs(acting, probe=len(acting) > 1 and all(acting) and self.options.rate != 0)

    # -- Eq. 2 -----------------------------------------------------------------------------------------------------------

    def weights(self, state: Any, step: Step) -> Tensor:
        """ξ = softmax over branches of Coe + log π; branches that do not act have none."""
        state = cast(State, state)
        logits = state.coe + self.prior(state.setting, step).log()
        idle = [not acts for acts in self._acting(state.setting, step)]
        logits[idle] = -math.inf
        weights: Tensor = logits.softmax(dim=0)
        return weights

    def prior(self, setting: Setting, step: Step) -> Tensor:
        """π (K, B, 1, h, w): the spatial branches' weight inside the union of the regions and outside it, linear over the balanced
        steps. With several spatial branches: inside a region to those that own it, outside in equal parts. While the spatial
        branches act alone, only their shares among themselves count; where one branch acts alone, nothing does."""
        acting = self._acting(setting, step)
        if self.options.inside is None or sum(acting) == 1 or "fidelity" not in setting.roles:
            return setting.masks.new_ones(())
        claims = _claims(setting)
        if not acting[setting.fidelity]:
            return claims
        inside, outside = self._at(self.options.inside, step), self._at(self.options.outside or self.options.inside, step)
        union = _union(setting)
        spatial = union * inside + (1 - union) * outside
        prior = claims * spatial
        prior[setting.fidelity] = 1 - spatial
        return prior

    def _at(self, run: Run, step: Step) -> float:
        first, last = self._span(step)
        along = (step.index - first) / max(last - first - 1, 1)
        return run[0] + (run[1] - run[0]) * min(max(along, 0.0), 1.0)

    # -- Eq. 7 -----------------------------------------------------------------------------------------------------------

    def update(self, state: Any, step: Step, probe: Probe) -> tuple[State, ProbeResult]:
        """Coe ← Coe − ρ ∂L/∂Coe, with ∂L/∂Coe^c = ξ^c (∂L/∂ξ^c − Σ_c' ξ^c' ∂L/∂ξ^c')."""
        state = cast(State, state)
        weights = self.weights(state, step)
        result = probe(weights)
        gradient = softmax_gradient(weights, result.grad_weights)
        direction, peak = self._direction(gradient, state.peak)
        return replace(state, coe=state.coe - self._rate(step) * direction, peak=peak), result

    def _direction(self, gradient: Tensor, peak: Tensor) -> tuple[Tensor, Tensor]:
        gradient = blur(gradient, self.options.smoothing)
        size = gradient.square().mean(dim=(0, 2, 3, 4)).sqrt()  # root mean square over branches and pixels of one picture
        peak = torch.maximum(peak, size)
        if self.options.rule == "published":
            return gradient, peak
        scale = size if self.options.rule == "scale-free" else peak
        return gradient / scale.clamp(min=self.options.floor)[None, :, None, None, None], peak

    def _rate(self, step: Step) -> float:
        if self.options.rule != "published":
            return self.options.rate
        return self.options.rate * math.sqrt(1 - 0.5 * step.index / max(step.count - 1, 1))


def softmax_gradient(weights: Tensor, grad_weights: Tensor) -> Tensor:
    """∂L/∂Coe from ∂L/∂ξ through ξ = softmax(Coe): both (K, B, 1, h, w). Sums to 0 over K."""
    return weights * (grad_weights - (weights * grad_weights).sum(dim=0, keepdim=True))


def _claims(setting: Setting) -> Tensor:
    """(K, B, 1, h, w) each spatial branch's share among the spatial branches; 0 for the fidelity branch."""
    spatial = torch.tensor([role == "spatial" for role in setting.roles], device=setting.masks.device)
    equal = spatial[:, None, None, None, None].to(setting.masks) / spatial.sum()
    owned = torch.einsum("kbr,brhw->kbhw", setting.owners.to(setting.masks), setting.masks)[:, :, None]
    total = owned.sum(dim=0, keepdim=True)
    covered = _union(setting)
    among_owners = torch.where(total > 0, owned / total.clamp(min=torch.finfo(total.dtype).tiny), equal)
    return covered * among_owners + (1 - covered) * equal


def _union(setting: Setting) -> Tensor:
    """(B, 1, h, w) coverage by any region; zero for a picture without."""
    masks = setting.masks
    return masks.amax(dim=1, keepdim=True) if masks.shape[1] else masks.new_zeros(masks.shape[0], 1, *masks.shape[2:])


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of the last two dimensions; σ in pixels, cut off at 3σ, edges replicated (so that a constant stays one)."""
    if sigma == 0:
        return maps
    radius = max(1, math.ceil(3 * sigma))
    taps = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    flat = torch.nn.functional.pad(flat, (radius,) * 4, mode="replicate")
    flat = torch.nn.functional.conv2d(flat, kernel[None, None, :, None])
    flat = torch.nn.functional.conv2d(flat, kernel[None, None, None, :])
    return flat.reshape(maps.shape)
