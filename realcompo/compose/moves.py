"""Moves of z down the slope of a branch's own placement loss, before a step: the gradient spent on z in place of ξ.

One branch and a part of one of its passes suffice, where the balance of ξ takes all branches and a trial step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ..interfaces import Move, Moved, Regions
from .probe import Counted, LossScale, placement_slope, uncounted


def move_latents(
    z: Tensor,
    moves: Sequence[Move | None],
    readers: Sequence[Callable[[Tensor], Tensor]],
    regions: Regions,
    scales: Sequence[LossScale | None],
    noise: float,
    counted: Counted = uncounted,
    notes: Sequence[Callable[[Tensor], None]] | None = None,
) -> tuple[Tensor, Moved]:
    """z (B, C, h, w) where the moves leave it, and what they did.

    Args:
        moves, readers, scales: K each; a reader is z → that branch's maps at this step.
        noise: √(1 − ᾱ), the root mean square of the noise in z.
        counted, notes: see probe.py.
    """
    start, count = z, len(moves)
    made = torch.zeros(count, z.shape[0], dtype=torch.long, device=z.device)
    losses = z.new_zeros(count, z.shape[0], regions.most)
    present = regions.present().to(z.device).sum(dim=1)
    passes = [0] * count
    maps: list[Tensor | None] = [None] * count
    for k, move in enumerate(moves):
        if move is None or regions.most == 0:
            continue
        for _ in range(move.most):
            note = None if notes is None else notes[k]
            loss, slope, seen = counted(k, partial(placement_slope, readers[k], z, regions, scales[k], True, note))
            if passes[k] == 0:
                losses[k], maps[k] = loss, seen
            passes[k] += 1
            step, goes = one_move(loss, slope, present, move, noise)
            z = z - step
            made[k] += goes
    return z, Moved(None if z is start else z - start, made, losses, tuple(passes), tuple(maps))


def one_move(loss: Tensor, slope: Tensor, present: Tensor, move: Move, noise: float) -> tuple[Tensor, Tensor]:
    """The step length · noise · √(C·h·w) · ∇_z L / ‖∇_z L‖ of one move, (B, C, h, w), and which pictures make it, (B,) bool.

    Args:
        loss: (B, R); slope: ∂ΣL/∂z (B, C, h, w); present: (B,) how many regions each picture has; noise: see `move_latents`.
    """
    flat = slope.flatten(1)
    size = flat.norm(dim=1)
    goes = (loss.sum(dim=1) / present.clamp(min=1) > move.threshold) & (present > 0) & (size > 0)
    unit = flat / torch.where(size > 0, size, torch.ones_like(size))[:, None]
    step = move.length * noise * flat.shape[1] ** 0.5 * unit * goes[:, None]
    return step.reshape(slope.shape), goes


def total_shift(moved: Moved | None, shift: Tensor | None) -> Tensor | None:
    """What the solver is told: the whole move, never weighted by ξ, and Σ_c ξ^c δ^c of the branches that moved z themselves."""
    parts = [one for one in (None if moved is None else moved.shift, shift) if one is not None]
    return sum(parts[1:], parts[0]) if parts else None
