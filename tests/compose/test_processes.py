"""Branches of different processes in one run: the same distribution is the same picture, ξ stays ½, the gradient is exact."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import realcompo as rc
from realcompo.builtin.balance import softmax_gradient
from realcompo.compose.probe import placement_loss
from realcompo.errors import BadOption, WrongLevel
from realcompo.interfaces import Prediction, Request, Step
from realcompo.noise.diffusion import FLOW, GRADUAL
from realcompo.noise.schedulers import check_solver
from realcompo.processes import PREDICTIONS
from realcompo.recipes.configuration import parse_text
from realcompo.recipes.writing import to_toml
from realcompo.specs import BranchSpec, FlowSchedule, LatentSpace, NoiseSchedule, PredictionType, Schedule
from realcompo.testing.toys import TOY_TRAITS, ToyBranch, ToyConditioning, ToyOptions, toy_registry
from tests.compose.test_gradient import B, C, H, reader, regions
from tests.toyworld import PROMPT, TWO, toys

pytestmark = pytest.mark.filterwarnings("ignore::realcompo.errors.Remark")

SD, ZERO = NoiseSchedule(), NoiseSchedule(rescale_betas_zero_snr=True)
LINEAR = NoiseSchedule(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")
FORMS: dict[str, tuple[Schedule, PredictionType]] = {
    "eps": (SD, "epsilon"),
    "v": (LINEAR, "v_prediction"),
    "x0": (LINEAR, "sample"),
    "flow": (FlowSchedule(shift=3.0), "flow_prediction"),
}
START = 0.005  # a level that all of them know


class Timed(ToyBranch):
    """A toy that knows nothing of ᾱ: only its own timestep and its own latents, as a network does."""

    def _noise(self, z: Tensor, mean: Tensor, step: Step) -> Tensor:
        (schedule, kind), s2, x = (self.traits.schedule, self.traits.prediction_type), self.options.spread**2, step.scale * z
        if isinstance(schedule, FlowSchedule):
            sigma = step.t / schedule.num_train_timesteps
            gain = ((1 - sigma) * s2) / ((1 - sigma) ** 2 * s2 + sigma**2)
            clean = mean + gain * (x - (1 - sigma) * mean)
            return (x - clean) / sigma
        assert isinstance(schedule, NoiseSchedule)
        low, share = int(step.t), step.t - int(step.t)
        logs = [0.5 * math.log((1 - bar) / bar) for bar in schedule.bars[low : low + 2]]
        bar = 1 / (1 + math.exp(2 * (logs[0] + (share * (logs[1] - logs[0]) if share else 0.0))))
        clean = mean + math.sqrt(bar) * s2 / (bar * s2 + 1 - bar) * (x - math.sqrt(bar) * mean)
        noise = (x - math.sqrt(bar) * clean) / math.sqrt(1 - bar)
        v = math.sqrt(bar) * noise - math.sqrt(1 - bar) * clean
        return {"epsilon": noise, "sample": clean, "v_prediction": v}[kind]


def timed(form: str, role: Any) -> Timed:
    """A toy in one of the forms."""
    schedule, kind = FORMS[form]
    traits = replace(TOY_TRAITS, schedule=schedule, prediction_type=kind)
    condition = "boxes" if role == "spatial" else None
    spec = BranchSpec(id=f"timed/{role}-{form}", role=role, condition=condition, summary="a toy", traits=traits, guidance_scale=2.0)
    return Timed(spec, ToyOptions(), dtype=torch.float64)


def over_one_list(composer: rc.Composer, start: float = START) -> rc.Composer:
    """The same composer, its list of levels made of one process and one start whatever the branches are."""
    kinds = [m.traits for m in composer.members]

    def solver(steps: Any, size: Any = None) -> Any:
        shared = [replace(kinds[0], schedule=FlowSchedule(shift=3.0)), *kinds[1:]]
        return check_solver(FLOW, {}, shared, steps, "cpu", start)

    composer._solver = solver  # type: ignore[method-assign]
    return composer


def drawn(fidelity: str, *spatial: str, **settings: Any) -> rc.Result:
    composer = rc.Composer(
        timed(fidelity, "fidelity"),
        [timed(one, "spatial") for one in spatial],
        **{"balancer": "core/balance", "device": "cpu", "dtype": "float64", "num_inference_steps": 10, **settings},
    )
    return over_one_list(composer)(PROMPT, TWO if spatial else None, seed=2, output_type="latent")


# -- one distribution, several processes -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone() -> Tensor:
    return drawn("eps").latents


@pytest.mark.parametrize("form", ["v", "x0", "flow"])
def test_one_distribution_is_one_run_whatever_its_process(form: str, alone: Tensor) -> None:
    """Told as ε on scaled_linear, as v and x₀ on linear, as a flow: the branch sees only its own timesteps and latents."""
    torch.testing.assert_close(drawn(form).latents, alone, rtol=0, atol=1e-6)
    assert float(alone.std()) > 0.1


@pytest.fixture(scope="module")
def pair() -> rc.Result:
    return drawn("eps", "eps")


@pytest.mark.parametrize(("fidelity", "spatial"), [p for p in product(FORMS, FORMS) if p != ("eps", "eps")])
def test_pairs_of_processes_are_one_run(fidelity: str, spatial: str, pair: rc.Result) -> None:
    """Balanced, with warm-up, probes and guidance: latents, weights and losses."""
    other = drawn(fidelity, spatial)
    torch.testing.assert_close(other.latents, pair.latents, rtol=0, atol=1e-6)
    for one, two in zip(other.trace.entries, pair.trace.entries, strict=True):
        torch.testing.assert_close(one.weights, two.weights, rtol=0, atol=1e-6)
        assert one.step.alpha_bar == two.step.alpha_bar
    assert float((pair.latents - drawn("eps").latents).abs().max()) > 0.05, "the pair is another picture than the parent"


CHEAPER: dict[str, dict[str, Any]] = {
    "lagged": {"probe": {"lagged": True}},
    "shared": {"guidance": {"unconditional": "shared"}},
    "interval": {"guidance": {"interval": (0.3, 3.0)}},
}


@pytest.mark.parametrize("form", CHEAPER)
def test_cheaper_forms_are_one_run_too(form: str, pair: rc.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slope left by a prediction, another branch's unconditional half, guidance by noise level: all meet in the run's own terms."""
    halves: list[str] = []
    half_of = Timed.predict_half

    def counted(self: Timed, z: Tensor, step: Step, conditioning: Any, half: Any, read: bool = False) -> Prediction:
        halves.append(half)
        return half_of(self, z, step, conditioning, half, read)

    monkeypatch.setattr(Timed, "predict_half", counted)
    one, other = (drawn(*forms, **CHEAPER[form]) for forms in (("eps", "eps"), ("flow", "v")))
    torch.testing.assert_close(other.latents, one.latents, rtol=0, atol=1e-6)
    gap = float((one.latents - pair.latents).abs().max())
    if form == "shared":  # toys' unconditional halves are one: the picture is the exact form's, by fewer passes
        assert halves.count("conditional") > halves.count("unconditional") and gap < 1e-6
    else:
        assert gap > 1e-4 and halves, "it is another form"


@pytest.mark.parametrize(("one", "other"), [p for p in product(FORMS, FORMS) if p[0] != p[1]])
def test_two_of_one_distribution_keep_half(one: str, other: str) -> None:
    """Where the branches agree there is nothing to balance: no rule of rate may blow rounding up."""
    spatial = timed(other, "spatial")
    spatial.options = ToyOptions(contrast=0.0)  # its regions look like the rest
    composer = rc.Composer(
        timed(one, "fidelity"),
        spatial,
        balancer="core/balance",
        balancer_options={"warmup": 0.0, "finish": 1.0, "inside": None, "outside": None},
        dtype="float64",
        device="cpu",
        num_inference_steps=10,
    )
    result = over_one_list(composer)(PROMPT, TWO, seed=1, output_type="latent")
    weights = torch.stack([entry.weights for entry in result.trace.entries])
    assert len(weights) == 10 and result.trace.probe_calls > 0
    torch.testing.assert_close(weights, torch.full_like(weights, 0.5), rtol=0, atol=1e-6)


# -- the gradient ------------------------------------------------------------------------------------------------------------


def raw(clean: Tensor, noise: Tensor, kind: str, bar: float) -> Tensor:
    a, s = math.sqrt(bar), math.sqrt(1 - bar)
    return {"epsilon": noise, "v_prediction": a * noise - s * clean, "sample": clean, "flow_prediction": noise - clean}[kind]


@pytest.mark.parametrize(("first", "second"), [(a, b) for a in PREDICTIONS for b in PREDICTIONS])
def test_the_gradient_is_exact_for_each_pair_of_processes(first: PredictionType, second: PredictionType) -> None:
    """∂L/∂Coe of a run's own trial (conversion, blend, transition, probe) = autograd through x₀ and ε as each process defines them."""
    from realcompo.compose.run import Run

    step, where = Step(3, 10, 601, 501, 0.23, 0.34), regions((0.1, 0.2, 0.6, 0.7))
    g = torch.Generator().manual_seed(7)
    z = torch.randn(B, C, H, H, generator=g, dtype=torch.float64)
    told, coe = (
        [torch.randn(B, C, H, H, generator=g, dtype=torch.float64) for _ in range(2)],
        torch.randn(2, B, 1, H, H, generator=g).double(),
    )
    readers, kinds = [reader(k, where.most) for k in range(2)], (first, second)
    a, s = math.sqrt(step.alpha_bar), math.sqrt(1 - step.alpha_bar)

    def clean_of(k: int) -> Tensor:
        """x₀ of what network k says, by the definition of its process: a flow's in the flow's own latents."""
        scale, sigma = 1 / (a + s), s / (a + s)
        return {
            "epsilon": lambda: (z - s * told[k]) / a,
            "v_prediction": lambda: a * z - s * told[k],
            "sample": lambda: told[k],
            "flow_prediction": lambda: scale * z - sigma * told[k],
        }[kinds[k]]()

    def whole(coe: Tensor) -> Tensor:
        xi = coe.softmax(dim=0)
        clean = sum(xi[k] * clean_of(k) for k in range(2))
        noise = (z - a * clean) / s
        trial = math.sqrt(step.alpha_bar_prev) * clean + math.sqrt(1 - step.alpha_bar_prev) * noise
        maps = [read(trial, step) for read in readers]
        masks, present = where.masks(H, H).double(), where.present()
        return torch.stack([placement_loss(one, masks, present).sum() for one in maps]).sum()

    leaf = coe.clone().requires_grad_()
    (auto,) = torch.autograd.grad(whole(leaf), leaf)

    kind = rc.noise.diffusion.common_kind(kinds, flow=True)
    run = Run.__new__(Run)
    run.branches = [type("Told", (), {"traits": replace(TOY_TRAITS, prediction_type=one)})() for one in kinds]
    run.solver = type("Kind", (), {"kind": kind, "schedule": TOY_TRAITS.schedule})()
    run.hold = False
    noises = [run._common(k, told[k], z, step) for k in range(2)]
    from realcompo.compose.probe import TrialProbe
    from realcompo.noise.diffusion import Transition

    probe = TrialProbe(readers, z, noises, [None, None], Transition.of(step, kind), step, where, [False] * 2, [None] * 2)
    xi = coe.softmax(dim=0)
    ours = softmax_gradient(xi, probe(xi).grad_weights)
    torch.testing.assert_close(ours, auto, rtol=0, atol=1e-8 * float(auto.abs().max()))
    h = 1e-5
    for index in [(0, 0, 0, 2, 3), (1, 1, 0, 4, 1)]:
        up, down = coe.clone(), coe.clone()
        up[index] += h
        down[index] -= h
        assert abs(float((whole(up) - whole(down)) / (2 * h)) - float(ours[index])) <= 1e-4 * float(auto.abs().max())


# -- ranges ------------------------------------------------------------------------------------------------------------------


def mixed(fidelity: str = "toy/fidelity-flow", spatial: str = "toy/spatial", **settings: Any) -> rc.Composer:
    return toys(fidelity, spatial, num_inference_steps=settings.pop("num_inference_steps", 20), **settings)


def told_to(composer: rc.Composer, k: int) -> Iterator[Step]:
    """Draw, and the steps that branch k was told by predict."""
    seen: list[Step] = []
    branch, predict = composer.branches[k], composer.branches[k].predict

    def watched(z: Tensor, step: Step, conditioning: ToyConditioning, read: bool = False) -> Prediction:
        seen.append(step)
        return predict(z, step, conditioning, read)

    branch.predict = watched  # type: ignore[method-assign]
    composer(PROMPT, TWO, seed=0, output_type="latent")
    return iter(seen)


def test_a_run_begins_where_all_that_act_know_the_noise() -> None:
    """A flow knows all noise, SD's diffusion ends at ᾱ = .0047: the run begins there, and each is told its own timesteps."""
    composer = mixed()
    steps = composer._solver(20).steps
    assert steps[0].alpha_bar == pytest.approx(SD.range[0], rel=1e-3) and len(steps) == 20
    spatial, fidelity = list(told_to(composer, 1)), list(told_to(mixed(), 0))
    assert spatial[0].t == 999 and spatial[0].scale == 1 and spatial[0].schedule == SD
    for step in fidelity:
        sigma = step.t / 1000
        assert step.alpha_bar == pytest.approx(FlowSchedule.level(sigma), rel=1e-6)
        assert step.scale == pytest.approx(math.hypot(1 - sigma, sigma), rel=1e-6)
    assert all(SD.timestep(step.alpha_bar) == step.t for step in spatial)


def test_who_does_not_act_at_first_does_not_bound_the_start() -> None:
    """A flow that places alone while a diffusion waits: only where the diffusion begins to act must it know the noise."""
    late = mixed("toy/fidelity-v", "toy/spatial-flow", scheduler=FLOW, balancer="core/hand-over", balancer_options={"share": 0.5})
    steps = late._solver(20).steps
    assert steps[0].alpha_bar == 0 and steps[10].alpha_bar > SD.range[0]
    assert late(PROMPT, TWO, seed=0, output_type="latent").latents.isfinite().all()
    early = mixed("toy/fidelity-v", "toy/spatial-flow", scheduler=FLOW, balancer="core/hand-over", balancer_options={"share": 0.05})
    assert early._solver(20).steps[0].alpha_bar == pytest.approx(SD.range[0], rel=1e-3), "it acts from the second step on"


def test_held_branches_begin_with_the_fidelity_branch() -> None:
    """The alternative: the list is the flow's own, a branch that does not know a level is told the last that it does."""
    composer = mixed(noise_range="held")
    assert composer._solver(20).steps[0].alpha_bar == 0
    told = list(told_to(composer, 1))
    assert [step.t for step in told[:4]] == [999] * 4 and told[0].alpha_bar == SD.range[0] and told[4].t < 999
    shared, held = (mixed(noise_range=one)(PROMPT, TWO, seed=0, output_type="latent").latents for one in ("shared", "held"))
    assert held.isfinite().all() and 1e-4 < float((held - shared).abs().max()) < 1


def test_the_option_travels() -> None:
    composer = mixed(noise_range="held")
    recipe = composer.recipe()
    assert parse_text(to_toml(recipe), ".toml").noise_range == "held"
    assert copy.copy(composer).noise_range == rc.Composer.from_recipe(recipe, composer.registry).noise_range == "held"
    with pytest.raises(BadOption, match="noise_range"):
        mixed(noise_range="longest")


def test_where_processes_differ_a_remark_says_so() -> None:
    (said,) = [one for one in mixed().remarks() if "different processes" in one]
    assert "toy/fidelity-flow a rectified flow" in said and "toy/spatial a diffusion of 1000 timesteps (scaled_linear)" in said
    assert "ᾱ = 0.00466 (σ = 0.936" in said
    (held,) = [one for one in mixed(noise_range="held").remarks() if "different processes" in one]
    assert "toy/spatial cannot know that much noise and will be held" in held
    assert not [one for one in toys().remarks() if "processes" in one]
    with pytest.warns(rc.errors.Remark, match="different processes"):
        mixed()(PROMPT, TWO, seed=0)


@pytest.mark.parametrize("scheduler", [name for name in GRADUAL if name != "pndm"])
@pytest.mark.parametrize("fidelity", ["toy/fidelity-flow", "toy/fidelity-linear", "toy/fidelity"])
def test_every_scheduler_runs_over_noise_levels(fidelity: str, scheduler: str) -> None:
    """All of them: a flow or a cut diffusion draws nearly what the DDIM of many steps does; a batch is its pictures alone."""
    spatial = "toy/spatial-linear" if fidelity == "toy/fidelity" else "toy/spatial"
    composer = mixed(fidelity, spatial, scheduler=scheduler, balancer="core/fixed")
    fine = mixed(fidelity, spatial, num_inference_steps=100, balancer="core/fixed")
    ours, exact = (one(PROMPT, TWO, seed=5, output_type="latent").latents for one in (composer, fine))
    assert float((ours - exact).abs().mean()) < (0.8 if composer._solver(20).draws else 0.12)
    both = composer([PROMPT, "a dog and a cat"], TWO, seed=[5, 6], output_type="latent").latents
    torch.testing.assert_close(both[:1], ours, rtol=1e-6, atol=1e-6)


def test_a_shift_of_the_latents_and_a_flow() -> None:
    """A branch that moves z beside a flow: the shift is in the variance-preserving scale for both."""
    moved = {"name": "toy/spatial", "options": {"shift": 0.2}}
    for scheduler in ("ddim", "unipc"):
        shifted = mixed(spatial=moved, scheduler=scheduler)(PROMPT, TWO, seed=0, output_type="latent").latents  # type: ignore[arg-type]
        plain = mixed(scheduler=scheduler)(PROMPT, TWO, seed=0, output_type="latent").latents
        assert shifted.isfinite().all() and float((shifted - plain).abs().max()) > 0.05


def test_the_probe_at_the_next_timestep_is_told_in_each_process() -> None:
    composer = mixed(probe={"timestep": "t_prev"}, balancer_options={"warmup": 0.0})
    seen: list[Step] = []
    branch, attend = composer.branches[1], composer.branches[1].attend

    def watched(z: Tensor, step: Step, conditioning: ToyConditioning) -> Tensor:
        seen.append(step)
        return attend(z, step, conditioning)

    branch.attend = watched  # type: ignore[method-assign]
    composer(PROMPT, TWO, seed=0, output_type="latent")
    steps = composer._solver(20).steps
    for told, step in zip(seen, steps, strict=False):
        assert told.t == SD.timestep(SD.nearest(step.alpha_bar_prev))


def test_a_branch_told_anothers_timestep_says_so() -> None:
    branch, conditioning = composer_branch()
    z, step = torch.zeros(1, 4, 8, 8), Step(0, 10, 901, 801, SD.bars[901], SD.bars[801])
    branch.predict(z, step, conditioning)
    branch.predict(z, step.seen_by(SD), conditioning)
    with pytest.raises(WrongLevel, match=r"toy/spatial: it was told timestep 893.* of another process.* its own timestep 901") as error:
        branch.predict(z, step.seen_by(FlowSchedule()), conditioning)
    assert "seen_by" in (error.value.mend or "")
    with pytest.raises(WrongLevel, match=r"toy/spatial: it was told ᾱ = 0.001, and was trained from 0.00466"):
        branch.attend(z, replace(step, alpha_bar=0.001, schedule=SD), conditioning)


def composer_branch() -> tuple[Any, Any]:
    from realcompo.interfaces import Regions

    branch = toy_registry().branch("toy/spatial", {}, device="cpu", dtype=torch.float32)
    return branch, branch.encode(Request((PROMPT,), ("",), Regions(((),)), (None,), (64, 64), 1.0))


def test_latent_spaces_must_agree_whatever_the_processes() -> None:
    other = timed("flow", "fidelity")
    other.traits = replace(other.traits, latent=LatentSpace("other"))
    with pytest.raises(rc.errors.Incompatible, match="latent spaces differ"):
        rc.Composer(other, timed("eps", "spatial"), device="cpu")
