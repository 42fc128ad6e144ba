"""Solvers of second order at 8 to 12 steps: a shift of the latents arrives as the flow carries it, and moves and balance serve."""

from __future__ import annotations

import math

import pytest

from realcompo.noise.diffusion import Solver
from realcompo.specs import NoiseSchedule
from tests.noise.shifts import share_of_shift, variance
from tests.toyworld import PROMPT, TWO, final_loss, toys

SECOND = ("dpm++-2m", "dpm++-2m-karras", "unipc")


def arrives(name: str, steps: int, at: int, rebased: bool = True) -> float:
    """The share of a shift at a step that is in the finished latents, over what the probability flow makes of it in a Gaussian world:
    √(variance at the end / variance at the step)."""
    told = Solver(name, NoiseSchedule(), steps).steps
    return share_of_shift(name, steps, at, rebased) / math.sqrt(variance(told[-1].alpha_bar_prev) / variance(told[at].alpha_bar))


@pytest.mark.parametrize("steps", [8, 10, 12])
@pytest.mark.parametrize("name", SECOND)
def test_a_shift_arrives_as_the_flow_carries_it(name: str, steps: int) -> None:
    """Within a half at every step but the last, and in the first half as near as the first order comes, whose shares are 0.77 to 0.84
    there. At 50 steps to 5%."""
    for at in range(steps - 1):
        assert 0.75 < arrives(name, steps, at) < 1.5, at
    for at in range(steps // 2):
        assert abs(arrives(name, steps, at) - 1) < abs(arrives("ddim", steps, at) - 1) + 0.05, at
    assert arrives(name, 50, 12) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("steps", [8, 12])
def test_without_re_basing_unipc_and_pndm_lose_it(steps: int) -> None:
    """The control: what the solver remembers of the latents must take part."""
    for at in range(1, steps // 2):
        assert arrives("unipc", steps, at, rebased=False) < 0.05 < 0.78 < arrives("unipc", steps, at)
    assert arrives("pndm", steps, 1, rebased=False) < 0 < arrives("pndm", steps, 1)


@pytest.mark.parametrize("lagged", [False, True], ids=["exact", "lagged"])
@pytest.mark.parametrize("steps", [8, 12])
@pytest.mark.parametrize("scheduler", SECOND)
def test_all_phases_have_their_steps_and_moves_their_effect(scheduler: str, steps: int, lagged: bool) -> None:
    """The default's own shares: the spatial branch plants, all moves are made, the fidelity branch finishes. And the control."""
    loss = {}
    for length in (0.05, 0.0, -0.05):
        options = {"length": length, "threshold": 0.0, "lagged": lagged}
        composer = toys(scheduler=scheduler, num_inference_steps=steps, balancer="core/guided", balancer_options=options)
        result = composer(PROMPT, TWO, seed=3, output_type="latent")
        phases = [entry.acting for entry in result.trace.entries]
        assert phases[: round(0.3 * steps)] == [("toy/spatial",)] * round(0.3 * steps) and phases[-1] == ("toy/fidelity",)
        assert sum(int(entry.moves[0, 0]) for entry in result.trace.entries if entry.moves is not None) == 12
        loss[length] = float(final_loss(composer, result).sum())
    assert loss[0.05] < loss[0.0] - 1e-4 < loss[-0.05] - 2e-4, loss


@pytest.mark.parametrize("lagged", [False, True], ids=["exact", "lagged"])
@pytest.mark.parametrize("scheduler", SECOND)
def test_the_balance_lowers_the_loss_in_eight_steps(scheduler: str, lagged: bool) -> None:
    """And its control, a rate that is negated."""
    loss = {}
    for rate in (0.3, 0.0, -0.3):
        composer = toys(scheduler=scheduler, num_inference_steps=8, balancer_options={"rate": rate}, probe={"lagged": lagged})
        loss[rate] = float(final_loss(composer, composer(PROMPT, TWO, seed=3, output_type="latent")).sum())
    assert loss[0.3] < loss[0.0] < loss[-0.3], loss
