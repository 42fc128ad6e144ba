"""A diffusion that begins where another's noise ends: every step of it leads on, the last one too."""

from __future__ import annotations

import pytest
import torch

from realcompo.noise.diffusion import Solver
from realcompo.specs import NoiseSchedule

PIXART = NoiseSchedule(beta_start=0.0001, beta_end=0.02, beta_schedule="linear", timestep_spacing="linspace", steps_offset=0)
SD_BEGINS = NoiseSchedule().range[0]


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpm++-2m", "unipc"])
@pytest.mark.parametrize("steps", [2, 3, 20])
def test_a_cut_run_ends_in_numbers(scheduler: str, steps: int) -> None:
    """PixArt's levels from Stable Diffusion's end on, whose last timestep is 0: DDIM's step from there to itself was no number."""
    solver = Solver(scheduler, PIXART, steps, start=SD_BEGINS)
    assert solver.cut and abs(solver.steps[0].alpha_bar / SD_BEGINS - 1) < 0.05
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    x = solver.start(noise)
    for step in solver.steps:
        assert step.alpha_bar_prev >= step.alpha_bar
        x = solver.step(x, noise, step)
    assert bool(x.isfinite().all())
