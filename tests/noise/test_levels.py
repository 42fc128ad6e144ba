"""Noise levels: tables against diffusers, timesteps and scales of each process, conversions, and the lists that schedulers visit."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import diffusers as _diffusers
import numpy as np
import pytest
import torch

from realcompo.errors import BadOption, Incompatible, RealCompoError, UnknownName, WrongLevel
from realcompo.interfaces import Step
from realcompo.noise.diffusion import FLOW, GRADUAL, Solver, Transition, common_kind, convert
from realcompo.noise.schedulers import check_solver, read_scheduler
from realcompo.processes import PREDICTIONS, read_process
from realcompo.specs import FlowSchedule, LatentSpace, NoiseSchedule, PredictionType, Schedule, SigmaSchedule, Traits

diffusers: Any = _diffusers
SD = NoiseSchedule()
LINEAR = NoiseSchedule(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")
COSINE = NoiseSchedule(beta_schedule="squaredcos_cap_v2")
ZERO = replace(SD, rescale_betas_zero_snr=True)
FLOWS, EDM = FlowSchedule(shift=3.0), SigmaSchedule()
TABLES = {
    "scaled_linear": SD,
    "linear": LINEAR,
    "cosine": COSINE,
    "zero": ZERO,
    "zero linear": replace(LINEAR, rescale_betas_zero_snr=True),
}
ALL: dict[str, Schedule] = {**TABLES, "flow": FLOWS, "edm": EDM}


# -- processes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_those_of_diffusers(name: str) -> None:
    one = TABLES[name]
    theirs = diffusers.DDIMScheduler(
        beta_start=one.beta_start, beta_end=one.beta_end, beta_schedule=one.beta_schedule, rescale_betas_zero_snr=one.rescale_betas_zero_snr
    ).alphas_cumprod.double()
    torch.testing.assert_close(torch.tensor(one.bars, dtype=torch.float64), theirs, rtol=3e-5, atol=1e-7)
    if name == "scaled_linear":
        assert one.range[0] == pytest.approx(0.00466, rel=1e-3) and FlowSchedule.sigma(one.range[0]) == pytest.approx(0.936, abs=1e-3)
    if name == "linear":
        assert one.range[0] == pytest.approx(4e-5, rel=0.02)


def test_a_schedule_that_nobody_knows_is_said() -> None:
    with pytest.raises(Incompatible, match="'laplace'") as error:
        _ = replace(SD, beta_schedule="laplace").range
    assert "trained_betas" in (error.value.mend or "")


def test_betas_that_are_spelled_out() -> None:
    betas = tuple(np.linspace(0.0002, 0.015, 1000).tolist())
    one = replace(SD, trained_betas=betas)
    np.testing.assert_allclose(one.bars, np.cumprod(1 - np.array(betas)))
    assert one.process != SD.process


@pytest.mark.parametrize("name", TABLES)
def test_a_trained_level_is_its_timestep_and_others_lie_between(name: str) -> None:
    one = TABLES[name]
    assert [one.timestep(bar) for bar in one.bars[::37]] == list(range(0, 1000, 37))
    assert isinstance(one.timestep(one.bars[500]), int), "networks are told whole timesteps as before"
    for t in (0, 300, 997):
        t_mid = one.timestep(math.sqrt(one.bars[t] * one.bars[t + 1]))
        assert t < t_mid < t + 1
        assert replace(one, fractional=False).timestep(one.bars[t] * 0.9 + 0.1 * one.bars[t + 1]) == t
    assert one.timestep(0.0) == 999 and one.timestep(1.0) == 0


def test_between_timesteps_it_counts_as_diffusers_does() -> None:
    """Euler's scheduler over Karras's σ tells fractional timesteps: the same as ours of the same levels."""
    euler = diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", use_karras_sigmas=True, timestep_spacing="trailing"
    )
    euler.set_timesteps(17)
    ours = [SD.timestep(1 / (1 + float(sigma) ** 2)) for sigma in euler.sigmas[:-1]]
    np.testing.assert_allclose(ours, euler.timesteps.numpy(), atol=2e-2)


@pytest.mark.parametrize("name", ALL)
def test_what_a_step_tells_is_the_networks_own_latents_and_time(name: str) -> None:
    """step.scale · z is the latents of the process, and step.t names its noise: both from its definition alone."""
    one = ALL[name]
    clean, noise = torch.randn(2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for bar in (0.9, 0.5, 0.02):
        z = math.sqrt(bar) * clean + math.sqrt(1 - bar) * noise
        step = Step(0, 1, -1, -2, bar, 0.95).seen_by(one)
        assert step.schedule is one and (step.alpha_bar, step.alpha_bar_prev) == (bar, 0.95) and step.t_prev < step.t
        if name == "flow":
            sigma = step.t / 1000
            expected = (1 - sigma) * clean + sigma * noise
        elif name == "edm":
            expected = clean + math.exp(4 * step.t) * noise
        else:
            t = int(step.t)
            assert one.bars[t] >= bar * (1 - 1e-9) and (step.t == t or one.bars[t + 1] < bar)
            expected = z
        torch.testing.assert_close(step.scale * z, expected, rtol=1e-12, atol=1e-12)


def test_a_level_outside_the_range_is_an_error_or_held() -> None:
    loud = Step(0, 20, 1000.0, 990.0, 1e-4, 0.001)
    with pytest.raises(WrongLevel, match="trained at") as error:
        loud.seen_by(SD)
    assert "noise_range" in (error.value.mend or "")
    held = loud.seen_by(SD, hold=True)
    assert (held.t, held.alpha_bar, held.alpha_bar_prev) == (999, SD.range[0], 0.001)
    assert loud.seen_by(LINEAR).alpha_bar == loud.seen_by(FLOWS).alpha_bar == 1e-4
    quiet = replace(loud, alpha_bar=0.99999, alpha_bar_prev=1.0).seen_by(SD)
    assert (quiet.t, quiet.t_prev, quiet.alpha_bar) == (0, 0, SD.range[1]), "what is left hardly is noise: always held"


def test_processes_that_count_alike_are_one() -> None:
    assert FlowSchedule(shift=1.0).process == FlowSchedule(shift=3.0, use_dynamic_shifting=True).process
    assert replace(SD, timestep_spacing="trailing", steps_offset=0).process == SD.process
    assert len({one.process for one in ALL.values()}) == len(ALL)


CONFIGS: list[tuple[dict[str, Any], Schedule, str]] = [
    ({"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "steps_offset": 1}, SD, "epsilon"),
    ({"_class_name": "PNDMScheduler", "prediction_type": "v_prediction", "trained_betas": None}, SD, "v_prediction"),
    ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, FLOWS, "flow_prediction"),
    (
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True, "base_shift": 0.4, "shift_terminal": None},
        FlowSchedule(use_dynamic_shifting=True, base_shift=0.4),
        "flow_prediction",
    ),
    (
        {"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"},
        FLOWS,
        "flow_prediction",
    ),
    ({"_class_name": "DDIMScheduler", "prediction_type": "sample"}, SD, "sample"),
]


@pytest.mark.parametrize(("config", "schedule", "kind"), CONFIGS, ids=range(len(CONFIGS)))
def test_a_process_is_read_from_the_config_of_its_scheduler(config: dict[str, Any], schedule: Schedule, kind: str) -> None:
    assert read_process(config) == (schedule, kind)


# -- kinds of prediction -----------------------------------------------------------------------------------------------------


def kinds_of(clean: torch.Tensor, noise: torch.Tensor, bar: float) -> dict[PredictionType, torch.Tensor]:
    return {
        "epsilon": noise,
        "v_prediction": math.sqrt(bar) * noise - math.sqrt(1 - bar) * clean,
        "sample": clean,
        "flow_prediction": noise - clean,
    }


@pytest.mark.parametrize("bar", [0.0, 1e-6, 0.3, 0.999999, 1.0])
def test_kinds_become_each_other(bar: float) -> None:
    """Also at both ends: only ε at ᾱ = 0 and x₀ at ᾱ = 1 tell nothing of the others."""
    clean, noise = torch.randn(2, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z, known = math.sqrt(bar) * clean + math.sqrt(1 - bar) * noise, kinds_of(clean, noise, bar)
    assert set(known) == set(PREDICTIONS)
    for kind in PREDICTIONS:
        for to in PREDICTIONS:
            if kind != to and (kind, bar) in (("epsilon", 0.0), ("sample", 1.0)):
                with pytest.raises(Incompatible):
                    convert(known[kind], kind, to, z, bar)
            else:
                torch.testing.assert_close(convert(known[kind], kind, to, z, bar), known[to], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_the_transition_keeps_picture_and_noise(kind: PredictionType) -> None:
    """z_prev = √ᾱ_prev x₀ + √(1−ᾱ_prev) ε, whatever is predicted; and its slope in the prediction is b, by finite differences."""
    clean, noise = torch.randn(2, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for now, before in ((0.0, 0.01), (0.2, 0.4), (0.9, 1.0)):
        if kind == "epsilon" and now == 0:
            continue
        z, told = math.sqrt(now) * clean + math.sqrt(1 - now) * noise, kinds_of(clean, noise, now)[kind]
        transition = Transition.of(Step(0, 1, 0, 0, now, before), kind)
        torch.testing.assert_close(transition(z, told), math.sqrt(before) * clean + math.sqrt(1 - before) * noise, rtol=1e-12, atol=1e-12)

        def whole(prediction: torch.Tensor, z: torch.Tensor = z, now: float = now, before: float = before) -> torch.Tensor:
            pair = {to: convert(prediction, kind, to, z, now) for to in ("sample", "epsilon")}
            return math.sqrt(before) * pair["sample"] + math.sqrt(1 - before) * pair["epsilon"]

        if kind == "flow_prediction" or now > 0:
            slope = (whole(told + 1e-6) - whole(told - 1e-6)) / 2e-6
            torch.testing.assert_close(slope, torch.full_like(slope, transition.b), rtol=1e-7, atol=1e-8)


def test_a_first_order_step_along_a_flow_is_eulers() -> None:
    clean, noise = torch.randn(2, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for sigma, after in pairwise((1.0, 0.7, 0.2, 0.0)):
        now, before = FlowSchedule.level(sigma), FlowSchedule.level(after)
        x = (1 - sigma) * clean + sigma * noise
        stepped = Transition.of(Step(0, 1, 0, 0, now, before), "flow_prediction")(x / FLOWS.scale(now), noise - clean)
        torch.testing.assert_close(stepped * FLOWS.scale(before), x + (after - sigma) * (noise - clean), rtol=1e-12, atol=1e-12)


def test_what_a_run_blends_in() -> None:
    assert common_kind(["flow_prediction"] * 2, flow=True) == "flow_prediction"
    assert common_kind(["flow_prediction"] * 2) == common_kind(["flow_prediction", "v_prediction"], flow=True) == "v_prediction"
    assert common_kind(["flow_prediction", "epsilon"], flow=True) == "epsilon"
    assert common_kind(["flow_prediction", "epsilon"], flow=True, zero=True) == "v_prediction", "ε says nothing at ᾱ = 0"
    assert common_kind(["sample"]) == "v_prediction"


# -- the lists of schedulers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "spacing"),
    [
        ({"shift": 1.0}, "trailing"),
        ({"shift": 3.0}, "trailing"),
        ({"shift": 3.0}, "linspace"),
        ({"use_dynamic_shifting": True}, "trailing"),
        ({"use_dynamic_shifting": True, "time_shift_type": "linear", "base_shift": 0.9}, "trailing"),
        ({"shift": 2.0, "use_karras_sigmas": True}, "trailing"),
        ({"shift": 2.0, "shift_terminal": 0.1}, "trailing"),
    ],
    ids=str,
)
def test_flow_euler_is_diffusers_scheduler(settings: dict[str, Any], spacing: str) -> None:
    """σ by σ and x by x, in the flow's own scale; "linspace" is set_timesteps(N), "trailing" what FLUX's pipeline asks for."""
    tokens, steps = 1024, 9
    oracle = diffusers.FlowMatchEulerDiscreteScheduler(**settings)
    mu = None
    if oracle.config.use_dynamic_shifting:  # as diffusers' pipelines count it
        config = oracle.config
        m = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
        mu = tokens * m + config.base_shift - m * config.base_image_seq_len
    asked = {"sigmas": np.linspace(1, 1 / steps, steps).tolist()} if spacing == "trailing" else {"num_inference_steps": steps}
    oracle.set_timesteps(**asked, mu=mu)
    schedule, _ = read_process({**oracle.config, "_class_name": "FlowMatchEulerDiscreteScheduler"})
    solver = Solver("ddim", schedule, steps, "flow_prediction", {**settings, "timestep_spacing": spacing}, tokens=tokens)
    assert solver.name == FLOW
    x = y = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for t, step in zip(oracle.timesteps, solver.steps, strict=True):
        assert step.t == pytest.approx(float(t), rel=1e-5)
        seen = solver.view(x, step) * step.scale
        torch.testing.assert_close(seen, y, rtol=1e-5, atol=1e-5)
        velocity = torch.tanh(seen) - 0.3 * seen
        x, y = solver.step(x, velocity, step), oracle.step(velocity, t, y).prev_sample
    torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow_prediction"])
def test_a_flow_may_be_blended_in_any_kind(kind: PredictionType) -> None:
    clean, noise = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    solver = Solver(FLOW, FLOWS, 6, kind, start=0.01)
    x = math.sqrt(0.01) * clean + math.sqrt(0.99) * noise
    for step in solver.steps:
        x = solver.step(x, kinds_of(clean, noise, step.alpha_bar)[kind], step)
    torch.testing.assert_close(x, clean, rtol=1e-6, atol=1e-6)


def gaussian(schedule: Schedule, name: str, steps: int, kind: PredictionType, noise: torch.Tensor, **more: Any) -> torch.Tensor:
    """Latents of a run of the exact denoiser of N(0.4, 0.5²)."""
    solver = Solver(name, schedule, steps, kind, **more)
    x = solver.start(noise)
    for step in solver.steps:
        z, bar = solver.view(x, step), step.alpha_bar
        eps = math.sqrt(1 - bar) * (z - math.sqrt(bar) * 0.4) / (bar * 0.25 + 1 - bar)
        clean = 0.4 + math.sqrt(bar) * 0.25 / (bar * 0.25 + 1 - bar) * (z - math.sqrt(bar) * 0.4)
        x = solver.step(x, kinds_of(clean, eps, bar)[kind], step)
    return x


@pytest.mark.parametrize("schedule", ["flow", "edm", "linear"])
@pytest.mark.parametrize("name", ["euler", "dpm++-2m", "dpm++-2m-karras", "unipc", FLOW, "ddim"])
def test_solvers_over_other_levels_find_the_same_picture(name: str, schedule: str) -> None:
    """From noise to 0.4 + 0.5 · noise, the exact end of the flow of probability: better with more steps."""
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    start = {"start": 0.005} if schedule == "linear" else {}
    few, many = (
        float((gaussian(ALL[schedule], name, steps, "v_prediction", noise, **start) - 0.4 - 0.5 * noise).abs().max()) for steps in (10, 60)
    )
    assert many < 0.08 and many < 0.9 * few, (few, many)


@pytest.mark.parametrize("name", [name for name in GRADUAL if name != FLOW])
def test_a_diffusion_that_begins_later_keeps_its_timesteps(name: str) -> None:
    """A list from SD's last level on, of a schedule that goes to 4e-5: the same ᾱ at the same t, none louder, and as many steps."""
    whole = Solver(name, replace(LINEAR, timestep_spacing="linspace"), 12, "v_prediction")
    cut = Solver(name, replace(LINEAR, timestep_spacing="linspace"), 12, "v_prediction", start=SD.range[0])
    assert len(cut.steps) == len(whole.steps) and cut.cut and not whole.cut
    assert whole.steps[0].alpha_bar < 1e-4 < SD.range[0] * 0.999 <= cut.steps[0].alpha_bar < SD.range[0] * 1.02
    for step in cut.steps:
        assert abs(LINEAR.timestep(step.alpha_bar) - step.t) < (0.55 if "karras" in name else 0.05)
    assert str(LINEAR.process) in cut.config["trained_betas"], "not a thousand numbers in every picture"


def test_where_the_run_begins_where_the_schedule_does_nothing_is_cut() -> None:
    for start in (None, 0.0, SD.range[0], SD.range[0] * 1.0005):
        solver = Solver("ddim", SD, 10, start=start)
        assert not solver.cut and solver.steps == Solver("ddim", SD, 10).steps and solver.config["trained_betas"] is None


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_flow_that_begins_later_begins_there(shift: float) -> None:
    solver = Solver(FLOW, FlowSchedule(shift=shift), 20, "v_prediction", start=SD.range[0])
    assert solver.steps[0].alpha_bar == pytest.approx(SD.range[0], rel=1e-4) and len(solver.steps) == 20
    assert solver.steps[0].t == pytest.approx(935.96, abs=0.01)
    bars = [step.alpha_bar for step in solver.steps]
    assert bars == sorted(bars) and solver.steps[-1].alpha_bar_prev == 1.0
    whole = Solver(FLOW, FlowSchedule(shift=3.0), 20, "v_prediction")
    assert sum(step.alpha_bar < SD.range[0] for step in whole.steps) == 4, "of 20 steps with shift 3, four lie beyond SD's end"


def test_a_shift_grows_with_the_picture() -> None:
    schedule = FlowSchedule(use_dynamic_shifting=True)
    traits = [Traits(LatentSpace("flux", 16), "flux", schedule, "flow_prediction")]
    small, large = (check_solver(FLOW, {}, traits, 4, size=(side, side)).steps[2].t for side in (256, 1024))
    for t, mu in ((small, 0.5), (large, 1.15)):
        assert t / 1000 == pytest.approx(math.exp(mu) / (math.exp(mu) + 1), rel=1e-5)  # σ = ½ before the shift


# -- what is refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "error", "word"),
    [
        ("pndm", {}, Incompatible, "pndm"),
        (FLOW, {"timestep_spacing": "leading"}, BadOption, "leading"),
        (FLOW, {"stochastic_sampling": True}, Incompatible, "stochastic_sampling"),
        (FLOW, {"invert_sigmas": True}, Incompatible, "invert_sigmas"),
        ("ddim", {"clip_sample": True}, UnknownName, "clip_sample"),
        ("dpm++-2m", {"use_flow_sigmas": True}, Incompatible, "use_flow_sigmas"),
        ("dpm++-2m", {"beta_end": 0.03}, Incompatible, "beta_end"),
        (FLOW, {"num_train_timesteps": 500}, Incompatible, "num_train_timesteps"),
    ],
    ids=str,
)
def test_what_a_flow_cannot_be_stepped_with(name: str, options: dict[str, Any], error: type[RealCompoError], word: str) -> None:
    with pytest.raises(error, match=word) as caught:
        found, told = read_scheduler(name, options, FLOWS, "flow_prediction")
        check_solver(found, told, [Traits(LatentSpace("x"), "x", FLOWS, "flow_prediction")], 10)
    assert caught.value.mend


def test_scheduler_objects_over_a_flow() -> None:
    made = diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0)
    assert read_scheduler(made, None, FLOWS, "flow_prediction") == (FLOW, {"shift": 5.0})
    assert read_scheduler("FlowMatchEulerDiscreteScheduler", None, SD, "epsilon") == (FLOW, {})
    assert read_scheduler("ddim", None, FLOWS, "flow_prediction") == (FLOW, {})
    with pytest.raises(Incompatible, match="DDIMScheduler"):
        read_scheduler(diffusers.DDIMScheduler(), None, FLOWS, "flow_prediction")


def test_a_setting_that_moves_the_first_level_out_of_range() -> None:
    with pytest.raises(Incompatible, match="first level"):
        Solver(FLOW, FLOWS, 10, "v_prediction", {"shift_terminal": 0.3}, start=SD.range[0])
    with pytest.raises(Incompatible, match="as little noise"):
        Solver("euler", LINEAR, 10, "v_prediction", start=0.99995)
