"""Moves of z down the slope of a branch's own placement loss, before a step: the gradient spent on z in place of ξ.

One branch and a part of one of its passes suffice, where the balance of ξ takes all branches and a trial step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ..interfaces import Move, Moved, Regions
from .probe import Counted, LossScale, Slope, placement_slope, uncounted


def move_latents(
    z: Tensor,
    moves: Sequence[Move | None],
    readers: Sequence[Callable[[Tensor], Tensor]],
    regions: Regions,
    scales: Sequence[LossScale | None],
    noise: float,
    counted: Counted = uncounted,
    notes: Sequence[Callable[[Tensor], None]] | None = None,
    slopes: Mapping[int, Slope] | None = None,
    standing: Tensor | None = None,
) -> tuple[Tensor, Moved]:
    """z (B, C, h, w) where the moves leave it, and what they did.

    Args:
        moves, readers, scales: K each; a reader is z → that branch's maps at this step.
        noise: √(1 − ᾱ), the root mean square of the noise in z.
        counted, notes: see probe.py.
        slopes: branch → what its last prediction left, for lagged moves.
        standing: (K, B) bool, of the whole run: pictures that moves with `stop` leave alone. Changed in place.
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
        still = standing[k] if standing is not None and move.stop else None
        if still is not None and bool(still.all()):
            continue
        times, whole = (1, replace(move, length=move.most * move.length)) if move.lagged else (move.most, move)
        for _ in range(times):
            if move.lagged:
                if slopes is None or k not in slopes:
                    break
                loss, slope, seen = slopes[k]
            else:
                note = None if notes is None else notes[k]
                loss, slope, seen = counted(k, partial(placement_slope, readers[k], z, regions, scales[k], True, note))
                passes[k] += 1
            if maps[k] is None:
                losses[k], maps[k] = loss, seen
                if still is not None:
                    still |= ~misplaced(loss, present, move)
            step, goes = one_move(loss, slope, present, whole, noise)
            if still is not None:
                goes = goes & ~still
                step = step * goes[:, None, None, None]
            z = z - step
            made[k] += goes * (move.most if move.lagged else 1)
            if not bool(misplaced(loss, present, move).any()):
                break  # z stays where it is: another pass would say the same
    return z, Moved(None if z is start else z - start, made, losses, tuple(passes), tuple(maps))


def one_move(loss: Tensor, slope: Tensor, present: Tensor, move: Move, noise: float) -> tuple[Tensor, Tensor]:
    """The step length · noise · √(C·h·w) · ∇_z L / ‖∇_z L‖ of one move, (B, C, h, w), and which pictures make it, (B,) bool.

    Args:
        loss: (B, R); slope: ∂ΣL/∂z (B, C, h, w); present: (B,) how many regions each picture has; noise: see `move_latents`.
    """
    flat = slope.flatten(1)
    size = flat.norm(dim=1)
    goes = misplaced(loss, present, move) & (size > 0)
    unit = flat / torch.where(size > 0, size, torch.ones_like(size))[:, None]
    step = move.length * noise * flat.shape[1] ** 0.5 * unit * goes[:, None]
    return step.reshape(slope.shape), goes


def misplaced(loss: Tensor, present: Tensor, move: Move) -> Tensor:
    """(B,) bool: pictures with regions whose mean loss is above the threshold."""
    return (loss.sum(dim=1) / present.clamp(min=1) > move.threshold) & (present > 0)


def total_shift(moved: Moved | None, shift: Tensor | None) -> Tensor | None:
    """What the solver is told: the whole move, never weighted by ξ, and Σ_c ξ^c δ^c of the branches that moved z themselves."""
    parts = [one for one in (None if moved is None else moved.shift, shift) if one is not None]
    return sum(parts[1:], parts[0]) if parts else None
