"""Moves of z down the slope of a branch's own placement loss, before a step: the gradient spent on z in place of ξ.

One branch and a part of one of its passes suffice, where the balance of ξ takes all branches and a trial step. Maps are read only of
pictures that may still be moved: a batch costs what its pictures cost alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..interfaces import Move, Moved, Regions
from .probe import Slope
from .rows import Rows

Ask = Callable[[int, Tensor, Rows], Slope]
"""(k, z of these pictures, which they are) → branch k's placement loss there, its slope, and its maps."""


def move_latents(
    z: Tensor,
    moves: Sequence[Move | None],
    ask: Ask,
    regions: Regions,
    noise: float,
    slopes: Mapping[int, Slope] | None = None,
    left: Mapping[int, Rows] | None = None,
    standing: Tensor | None = None,
    drawn: Tensor | None = None,
    among: Rows | None = None,
    told: Sequence[Sequence[int | None]] | None = None,
) -> tuple[Tensor, Moved]:
    """z (B, C, h, w) where the moves leave it, and what they did.

    Args:
        moves: K, by which branch's maps.
        noise: √(1 − ᾱ), the root mean square of the noise in z.
        slopes: branch → what its last prediction left, for lagged moves; `left`: of which pictures, all where it does not say.
        standing: (K, B) bool, of the whole run: pictures that moves with `stop` leave alone. Changed in place.
        drawn: (B, 1, h, w), 1 where latents are drawn: elsewhere nothing is moved.
        among: the pictures that are drawn at all.
        told: (K, B) how many moves a picture made when it was drawn first; None where thresholds are to decide.
    """
    start, count = z, len(moves)
    made = torch.zeros(count, z.shape[0], dtype=torch.long, device=z.device)
    read = torch.zeros(count, z.shape[0], dtype=torch.bool, device=z.device)
    losses = z.new_zeros(count, z.shape[0], regions.most)
    present = regions.present().to(z.device).sum(dim=1)
    passes = [0] * count
    maps: list[Tensor | None] = [None] * count
    placed = Rows.where(bool(picture) for picture in regions.pictures)
    for k, move in enumerate(moves):
        if move is None:
            continue
        before = [None] * len(z) if told is None else list(told[k])
        still = standing[k] if standing is not None and move.stop else None
        rows = placed if among is None else placed & among
        if move.pictures is not None:
            rows = rows & Rows.where(move.pictures)
        counts = (move.most,) * len(z) if move.each is None else move.each
        if still is not None:
            still |= present == 0
            rows = rows - Rows.where(stands and not n for stands, n in zip(still.tolist(), before, strict=True))
        times, whole = (1, replace(move, length=move.most * move.length)) if move.lagged else (move.most, move)
        for turn in range(times):
            if move.lagged:
                if slopes is None or k not in slopes:
                    break
                rows = rows if left is None else rows & left.get(k, rows)
            rows = rows & Rows.where(turn < n for n in counts)
            if not rows:
                break
            if move.lagged and slopes is not None:
                loss, slope, seen = (rows.of(one) for one in slopes[k])
            else:
                loss, slope, seen = ask(k, rows.of(z), rows)
                passes[k] += 1
            slope = slope if drawn is None else slope * rows.of(drawn)
            there = rows.of(present)
            goes = misplaced(loss, there, move)
            if turn == 0:
                losses[k], maps[k], read[k] = rows.into(loss), rows.into(seen), rows.mask(z.device)
                if still is not None:
                    still |= rows.into(~goes)
            if told is not None:
                asked = [before[b] for b in rows.index]
                goes = torch.tensor([own if n is None else turn < n for own, n in zip(goes.tolist(), asked, strict=True)], device=z.device)
            step, gone = one_move(loss, slope, there, whole, noise, goes)
            if move.lagged and move.each is not None:  # as much of the whole as this picture's moves are
                step = step * torch.tensor([counts[b] / move.most for b in rows.index], device=z.device).to(step)[:, None, None, None]
            z = z - rows.into(step)
            made[k] += rows.into(gone * torch.tensor([counts[b] if move.lagged else 1 for b in rows.index], device=z.device))
            # of a picture that stays where it is another pass would say the same
            rows = Rows(tuple(b for b, yes in zip(rows.index, goes.tolist(), strict=True) if yes), rows.count)
    return z, Moved(None if z is start else z - start, made, losses, tuple(passes), tuple(maps), read)


def one_move(loss: Tensor, slope: Tensor, present: Tensor, move: Move, noise: float, goes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The step length · noise · √(C·h·w) · ∇_z L / ‖∇_z L‖ of one move, (B, C, h, w), and which pictures make it, (B,) bool.

    Args:
        loss: (B, R); slope: ∂ΣL/∂z (B, C, h, w); present: (B,) how many regions each picture has; noise: see `move_latents`.
        goes: (B,) bool, which pictures are to make it; those that are misplaced, if None.
    """
    flat = slope.flatten(1)
    size = flat.norm(dim=1)
    goes = (misplaced(loss, present, move) if goes is None else goes) & (size > 0)
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
