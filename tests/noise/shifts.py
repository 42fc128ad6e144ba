"""What becomes of a shift of the latents in a Gaussian world, whose noise is known in closed form."""

from __future__ import annotations

import math

import torch

from realcompo.noise.diffusion import Solver
from realcompo.specs import NoiseSchedule

SPREAD, MEAN = 0.5, 0.3


def variance(alpha_bar: float) -> float:
    """Of z in a world of N(MEAN, SPREAD²)."""
    return alpha_bar * SPREAD**2 + 1 - alpha_bar


def share_of_shift(name: str, steps: int, at: int, rebased: bool = True) -> float:
    """The share of a shift at a step that is in the finished latents."""
    finished = []
    shift = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for told in (None, 0.3 * shift):
        solver = Solver(name, NoiseSchedule(), steps)
        if not rebased:
            solver._rebase = lambda *_: None  # type: ignore[method-assign]
        x = solver.start(torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
        for step in solver.steps:
            moved = told if step.index == at else None
            z = solver.view(x, step) + (0 if moved is None else moved)
            noise = math.sqrt(1 - step.alpha_bar) * (z - math.sqrt(step.alpha_bar) * MEAN) / variance(step.alpha_bar)
            x = solver.step(x, noise, step, moved)
        finished.append(x)
    return float(((finished[1] - finished[0]) * shift).sum() / (0.3 * shift.square().sum()))
