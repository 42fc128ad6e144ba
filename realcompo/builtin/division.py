"""Rivals of the literature, each by its own name: who draws which noise levels (expert switching), and who draws which pixels (fair
division).

Expert switching (Esfandiari et al., arXiv 2511.19434): one expert at high noise levels, another at low ones, and a threshold between them.

Fair division (Gupta et al., Divide-and-Denoise, arXiv 2606.14756). The latent pixels j are goods, the K branches players; u_ij, with
Σ_j u_ij = 1, is how much branch i's cross-attention to its words falls on pixel j. At each step the division Q, with Σ_i Q_ij = 1, is

    Q = argmax Σ_ij Q_ij u_ij − β KL(Q ‖ Q of the step before), so that Σ_j Q_ij u_ij ≥ 1/K for each branch i (proportional fairness),

of which the optimum is a softmax: Q_ij ∝ Q'_ij exp((u_ij + λ_i u_ij)/β), with the multipliers λ ≥ 0 of the dual problem. A fictitious
player, to whom nothing is owed, wants all pixels alike and draws the mean of all. The blend is Σ_i Q_ij ε^i.

Not built: the paper's second half, which also moves the blend's mean along ∇_z Σ_ij Q_ij u_ij; in its limit of no such guidance the
paper's blend is this one. Of the guidance's size what is public says γ σ_t in all with γ = 0.015, by which z would hardly stir; we do not
know what is meant. There each branch draws a prompt of its own; here they share one, so a branch's words are those of all regions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from ..interfaces import Balancer, Needs, Probe, ProbeResult, Setting, Step
from .fixed import Scheduled, split
from .options import DivisionOptions, SwitchOptions

ROUNDS = 30
"""Newton's steps: two or three suffice where branches want different pixels. Where all want all alike, fairness is a limit of large λ."""


class Switch(Scheduled):
    """Spatial branches above a noise level, the fidelity branch below."""

    options: SwitchOptions

    def shares(self, setting: Setting, step: Step) -> tuple[float, ...]:
        return split(setting, 1.0 if step.sigma > self.options.sigma else 0.0)


@dataclass(frozen=True)
class Division:
    """Q (P, B, 1, h, w) over the P players, the fictitious one last."""

    setting: Setting
    parts: Tensor


class FairDivision(Balancer):
    """See the module; options in options.py. All branches act at every step, and their maps are read."""

    options: DivisionOptions
    descends = False

    def start(self, setting: Setting) -> Division:
        """Every pixel in equal parts: fair to everyone."""
        masks, players = setting.masks, len(setting.roles) + self.options.fictitious
        return Division(setting, masks.new_full((players, masks.shape[0], 1, *masks.shape[2:]), 1 / players))

    def needs(self, state: Any, step: Step) -> Needs:
        return Needs(tuple(True for _ in state.setting.roles), probe=len(state.setting.roles) > 1)

    def weights(self, state: Any, step: Step) -> Tensor:
        """ξ^c = Q_c, and of the fictitious player's part, who draws the mean of all, 1/K."""
        state = cast(Division, state)
        count = len(state.setting.roles)
        weights: Tensor = state.parts[:count] + state.parts[count:].sum(dim=0) / count
        return weights

    def update(self, state: Any, step: Step, probe: Probe) -> tuple[Division, ProbeResult]:
        state = cast(Division, state)
        result = probe(self.weights(state, step))
        if not result.maps:
            return state, result
        wanted = utilities(result.maps, state.setting.masks)
        fair = self.options.fairness == "proportional"
        return replace(state, parts=divided(wanted, state.parts, self.options.smoothing, fair)), result


def utilities(maps: tuple[Tensor, ...], masks: Tensor) -> Tensor:
    """(K, B, 1, h, w) u of each branch times the number of pixels, so that its mean is 1: the share of a word's attention that falls on a
    pixel, in the mean over a picture's regions; 1 everywhere for a picture without.

    Args:
        maps: K × (B, R, h', w').
        masks: (B, R, h, w), all zero where a region is absent.
    """
    present = (masks.amax(dim=(-2, -1)) > 0).to(masks)
    count = present.sum(dim=1)
    found = []
    for one in maps:
        at = torch.nn.functional.interpolate(one.to(masks), size=masks.shape[-2:], mode="bilinear") if one.shape[1] else masks
        mean = at.mean(dim=(-2, -1), keepdim=True)
        each = torch.where(mean > 0, at / torch.where(mean > 0, mean, torch.ones_like(mean)), torch.ones_like(at))
        summed = (each * present[..., None, None]).sum(dim=1, keepdim=True)
        empty = (count == 0)[:, None, None, None]
        found.append(torch.where(empty, torch.ones_like(summed), summed / count.clamp(min=1)[:, None, None, None]))
    return torch.stack(found)


def divided(wanted: Tensor, before: Tensor, smoothing: float, fair: bool) -> Tensor:
    """The division Q (P, B, 1, h, w) after one step.

    Args:
        wanted: (K, B, 1, h, w) utilities of mean 1; P is K, or K + 1 with the fictitious player, who wants 1 everywhere.
        before: the last division.
        smoothing: β in these units.
        fair: each of the K gets at least 1/K of its utility, to what `ROUNDS` leave of a limit that no multiplier reaches.
    """
    count, pictures = len(wanted), wanted.shape[1]
    goods = wanted.reshape(count, pictures, -1)
    everyone = torch.cat([goods, goods.new_ones(len(before) - count, *goods.shape[1:])])
    known = before.reshape(len(before), pictures, -1).clamp(min=torch.finfo(before.dtype).tiny).log()

    def at(levels: Tensor) -> tuple[Tensor, Tensor]:
        """Q (P, B, j) at (1 + λ)/β = `levels` (P, B), and the dual Σ_i (1 + λ_i)/(β K) − mean_j log Z_j, (B,)."""
        logits = known + levels[..., None] * everyone
        return logits.softmax(dim=0), levels[:count].sum(dim=0) / count - logits.logsumexp(dim=0).mean(dim=1)

    levels = goods.new_full(before.shape[:2], 1 / smoothing)
    parts, dual = at(levels)
    radius = goods.new_ones(pictures)
    for _ in range(ROUNDS if fair else 0):  # Newton's steps up the concave dual, all multipliers together, each picture by itself
        step = torch.zeros_like(levels)
        step[:count] = _newton(parts[:count], goods, levels[:count] <= 1 / smoothing).clamp(-1, 1) * radius
        trial = (levels + step).clamp(min=1 / smoothing)
        found, value = at(trial)
        better = value >= dual
        levels, dual = torch.where(better, trial, levels), torch.where(better, value, dual)
        parts, radius = torch.where(better[:, None], found, parts), torch.where(better, radius, radius / 2)
    return parts.reshape(before.shape)


def _newton(parts: Tensor, goods: Tensor, lowest: Tensor) -> Tensor:
    """(K, B) Newton's step of the dual in the multipliers; 0 for those at their bound that would go below it.

    Args:
        parts, goods: (K, B, j) Q and u.
        lowest: (K, B) bool, at the bound.
    """
    held = parts * goods
    lack = 1 / len(goods) - held.mean(dim=2)
    free = ~(lowest & (lack <= 0))
    crossed = torch.einsum("kbj,lbj->bkl", held, held) / goods.shape[2]
    curved = torch.diag_embed((held * goods).mean(dim=2).T) - crossed
    both = free.T[:, :, None] & free.T[:, None, :]
    eye = torch.eye(len(goods), dtype=goods.dtype, device=goods.device)
    curved = torch.where(both, curved, torch.zeros_like(curved)) + eye * (1e-6 + (~free).T[:, :, None].to(goods))
    solved: Tensor = torch.linalg.solve(curved, (lack * free).T[..., None])[..., 0].T * free
    return solved
