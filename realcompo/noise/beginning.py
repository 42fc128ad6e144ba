"""A run that does not begin with noise: fewer steps, over clean latents that are noised as far as the first of them."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import BadOption
from ..interfaces import Step
from .diffusion import Solver


def begin_late(solver: Solver, asked: int, strength: float) -> None:
    """Leave out the first steps of a solver that has not stepped yet, as diffusers does: of `asked` steps ⌊asked · strength⌋ remain, one
    more where the scheduler makes one more call than steps (PNDM). Those that remain are counted anew, from 0: whatever acts at a share
    of the run acts at that share of what is drawn.

    Raises:
        BadOption: no step remains.
    """
    kept = min(int(asked * strength), asked)
    if kept < 1:
        least = math.ceil(1 / strength)
        raise BadOption(
            f"strength {strength:g} of {asked} steps leaves none to draw",
            mend=f"draw with num_inference_steps = {least} or more, or a larger strength",
        )
    solver.begin = asked - kept
    if hasattr(solver.scheduler, "set_begin_index"):
        solver.scheduler.set_begin_index(solver.begin)
    steps = solver.steps[solver.begin :]
    solver.steps = tuple(replace(step, index=index, count=len(steps)) for index, step in enumerate(steps))


def noised(solver: Solver, clean: Tensor, noise: Tensor, step: Step) -> Tensor:
    """Clean latents as they are at a step, √ᾱ x₀ + √(1−ᾱ) ε, in the solver's own scale."""
    z = math.sqrt(step.alpha_bar) * clean + math.sqrt(1 - step.alpha_bar) * noise
    return z / solver.view(torch.ones((), dtype=z.dtype, device=z.device), step)
