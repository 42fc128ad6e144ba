"""Schedules, conversions, transitions and solvers against diffusers."""

from __future__ import annotations

from dataclasses import replace

import diffusers
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from realcompo.errors import Incompatible, UnknownName
from realcompo.interfaces import Step
from realcompo.noise.diffusion import FEW, FLOW, SCHEDULERS, Solver, Transition, common_kind, convert, scheduler_name
from realcompo.specs import NoiseSchedule

SD = NoiseSchedule()


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("steps", [25, 30, 50])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_trial_step_is_ddim(spacing: str, steps: int, kind: str) -> None:
    solver = Solver("ddim", replace(SD, timestep_spacing=spacing), steps, kind)  # type: ignore[arg-type]
    oracle = diffusers.DDIMScheduler(
        beta_start=SD.beta_start, beta_end=SD.beta_end, beta_schedule=SD.beta_schedule, clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, timestep_spacing=spacing, prediction_type=kind,
    )  # fmt: skip
    oracle.set_timesteps(steps)
    g = torch.Generator().manual_seed(0)
    assert len(oracle.timesteps) == len(solver.steps)
    for t, step in zip(oracle.timesteps, solver.steps, strict=True):
        z = torch.randn(1, 4, 8, 8, generator=g, dtype=torch.float64)
        noise = torch.randn(1, 4, 8, 8, generator=g, dtype=torch.float64)
        expected = oracle.step(noise, t, z).prev_sample
        actual = Transition.of(step, solver.kind)(z, noise)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["euler", "dpm++-2m-karras", "dpm++-2m", "unipc"])
def test_trial_looks_where_solvers_in_sigma_go(name: str) -> None:
    """A first-order step of these solvers with one noise is the pure transition to ᾱ_prev = 1 / (1 + σ_next²)."""
    solver = Solver(name, SD, 20)
    g = torch.Generator().manual_seed(1)
    x = solver.start(torch.randn(1, 4, 8, 8, generator=g))
    step, after = solver.steps[0], solver.steps[1]
    z, noise = solver.view(x, step), torch.randn(1, 4, 8, 8, generator=g)
    stepped = solver.view(solver.step(x, noise, step), after)
    torch.testing.assert_close(Transition.of(step)(z, noise), stepped, rtol=1e-4, atol=1e-5)


@given(st.floats(0.001, 0.999), st.integers(0, 99))
def test_conversions_invert(alpha_bar: float, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    z, noise = torch.randn(2, 3, generator=g, dtype=torch.float64), torch.randn(2, 3, generator=g, dtype=torch.float64)
    v = convert(noise, "epsilon", "v_prediction", z, alpha_bar)
    torch.testing.assert_close(convert(v, "v_prediction", "epsilon", z, alpha_bar), noise)
    clean = (z - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5
    torch.testing.assert_close(v, alpha_bar**0.5 * noise - (1 - alpha_bar) ** 0.5 * clean)


@given(st.floats(0.001, 0.9), st.floats(0.001, 0.0999))
def test_transition_is_the_same_in_either_kind(alpha_bar: float, gain: float) -> None:
    step = Step(0, 1, 500, 400, alpha_bar, alpha_bar + gain)
    z, noise = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    v = convert(noise, "epsilon", "v_prediction", z, alpha_bar)
    torch.testing.assert_close(Transition.of(step, "v_prediction")(z, v), Transition.of(step)(z, noise))


def test_zero_terminal_snr_divides_by_no_zero() -> None:
    schedule = replace(SD, rescale_betas_zero_snr=True, timestep_spacing="trailing")
    solver = Solver("ddim", schedule, 10, "v_prediction")
    x = solver.start(torch.randn(1, 4, 8, 8))
    for step in solver.steps:
        assert torch.isfinite(Transition.of(step, "v_prediction")(x, x)).all()
        x = solver.step(x, 0.1 * x, step)
    assert torch.isfinite(x).all() and solver.steps[0].alpha_bar < 1e-7
    zero = Step(0, 10, 999, 899, 0.0, 0.01)
    assert Transition.of(zero, "v_prediction").b != 0
    with pytest.raises(Incompatible, match="v-prediction"):
        Transition.of(zero, "epsilon")
    with pytest.raises(Incompatible, match="zero terminal SNR"):
        convert(x, "epsilon", "v_prediction", x, 0.0)


def test_kinds() -> None:
    assert common_kind(["v_prediction", "v_prediction"]) == "v_prediction"
    assert common_kind(["v_prediction", "epsilon"]) == common_kind(["epsilon"]) == "epsilon"


def test_scheduler_names() -> None:
    for name, (cls, settings) in SCHEDULERS.items():
        assert scheduler_name(getattr(diffusers, cls)(**settings)) == name
    assert scheduler_name("DPMSolverMultistepScheduler") == "dpm++-2m"
    with pytest.raises(UnknownName, match="euler-ancestral") as error:
        scheduler_name("euler-ancestrale")
    assert "did you mean 'euler-ancestral'" in str(error.value)
    with pytest.raises(UnknownName, match="HeunDiscreteScheduler"):
        scheduler_name(diffusers.HeunDiscreteScheduler())


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != FLOW])  # flow-euler: test_levels.py
def test_solver_equals_its_scheduler(name: str) -> None:
    """x by x against the same diffusers class driven by hand."""
    solver = Solver(name, SD, 12)
    cls, settings = SCHEDULERS[name]
    oracle = getattr(diffusers, cls)(
        beta_start=SD.beta_start, beta_end=SD.beta_end, beta_schedule=SD.beta_schedule, steps_offset=1, timestep_spacing="leading",
        **({"set_alpha_to_one": False} if name in ("ddim", "pndm") else {}), **settings,
    )  # fmt: skip
    oracle.set_timesteps(12)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    x, y = solver.start(noise), noise * oracle.init_noise_sigma
    ours = [torch.Generator().manual_seed(s) for s in (5, 6)]
    theirs = [torch.Generator().manual_seed(s) for s in (5, 6)]
    for t, step in zip(oracle.timesteps, solver.steps, strict=True):
        seen = oracle.scale_model_input(y, t)
        torch.testing.assert_close(solver.view(x, step), seen, rtol=1e-5, atol=1e-5)
        noise = torch.tanh(seen)
        x = solver.step(x, noise, step, generators=ours)
        extra = {"generator": theirs} if name in ("euler-ancestral", *FEW) else {}
        y = oracle.step(noise, t, y, **extra).prev_sample
    torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ddim", "euler", "dpm++-2m"])
def test_shift_moves_the_latents_first(name: str) -> None:
    one, two = Solver(name, SD, 10), Solver(name, SD, 10)
    x = one.start(torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)))
    step = one.steps[0]
    delta, noise = 0.1 * torch.ones_like(x), torch.ones_like(x)
    moved = two.view(x, step) + delta
    native = moved / step.alpha_bar**0.5 if name == "euler" else moved
    torch.testing.assert_close(one.step(x, noise, step, delta), two.step(native, noise, step), rtol=1e-5, atol=1e-5)
