"""The gradient of passes that run anyway: the lagged probe and lagged moves, each beside its exact form and its control."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import realcompo as rc
from realcompo.builtin.balance import softmax_gradient
from realcompo.builtin.guided import Guided, moves_at
from realcompo.builtin.options import GuidedOptions
from realcompo.compose.cost import OperationCount
from realcompo.compose.moves import move_latents
from realcompo.compose.probe import LossScale, placement_slope
from realcompo.errors import BadRecipe, PluginProblem
from realcompo.interfaces import Balancer, Branch, Move, Needs, Prediction, Setting, Step
from realcompo.noise.diffusion import Transition
from realcompo.specs import BranchSpec, NoOptions
from realcompo.testing.sources import small_checkpoint
from realcompo.testing.toys import TOY_TRAITS, ToyBranch
from tests import lacking
from tests.compose.test_moves import NOISE, RAGGED, B, asks, latents, reader
from tests.toyworld import PROMPT, TWO, final_loss, toys

LAGGED = {"lagged": True}
THREE = ("toy/fidelity", ["toy/spatial", {"name": "toy/spatial-v", "options": {"contrast": 0.7}}])


def small(**settings: Any) -> rc.Composer:
    """Small random UNets; the spatial one has gates."""
    sd = {"name": "sd/v1-5", "source": str(small_checkpoint("sd1"))}
    gligen = {"name": "gligen/box", "source": str(small_checkpoint("gligen"))}
    settings.setdefault("num_inference_steps", 5)
    return rc.Composer(sd, gligen, device="cpu", height=64, width=64, **settings)


def rows_of(composer: rc.Composer, **asked: Any) -> tuple[rc.Result, list[tuple[int, int]]]:
    """A picture, and (branch, rows) of every forward pass."""
    rows: list[tuple[int, int]] = []
    handles = [
        branch.unet.register_forward_pre_hook(  # type: ignore[attr-defined]
            lambda _, args, k=k: rows.append((k, len(args[0])))
        )
        for k, branch in enumerate(composer.branches)
    ]
    try:
        return composer(PROMPT, TWO, seed=1, **asked), rows
    finally:
        for handle in handles:
            handle.remove()


# -- the probe ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fidelity", "spatial"), [("toy/fidelity", "toy/spatial"), THREE], ids=["two", "three"])
def test_the_lagged_gradient_is_the_chain_rule_at_z(fidelity: Any, spatial: Any) -> None:
    """∂/∂Coe of L along the line that z's slope spans, by autograd: the trial's z with the slope of the z it starts from."""
    composer = toys(fidelity, spatial, balancer="core/balance", balancer_options={"warmup": 0.0, "smoothing": 0.0}, probe=LAGGED)
    seen: list[tuple[Tensor, Any]] = []
    update = composer.balancer.update

    def spy(state: Any, step: Step, probe: Any) -> Any:
        weights = composer.balancer.weights(state, step)
        seen.append((softmax_gradient(weights, probe(weights).grad_weights), (state.coe, step, probe)))
        return update(state, step, probe)

    composer.balancer.update = spy  # type: ignore[method-assign,assignment]
    result = composer(PROMPT, TWO, seed=1, output_type="latent")
    for gradient, (coe, step, probe) in seen[:3]:
        leaf = coe.clone().requires_grad_()
        with torch.enable_grad():
            noise = (leaf.softmax(dim=0) * torch.stack(list(probe.noises))).sum(dim=0)
            slope = sum(one for _, one, _ in probe.slopes)
            (slope * Transition.of(step).b * noise).sum().backward()
        torch.testing.assert_close(gradient, leaf.grad)
        assert float(gradient.abs().max()) > 0
    assert result.trace.probe_calls == 0 and all(entry.loss is not None for entry in result.trace.entries)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++-2m", "unipc"])
@pytest.mark.parametrize(("fidelity", "spatial"), [("toy/fidelity", "toy/spatial"), THREE], ids=["two", "three"])
def test_the_lagged_balance_lowers_the_loss_as_the_exact_one_does(fidelity: Any, spatial: Any, scheduler: str) -> None:
    """Paired: the same noise, the exact form and no gradient beside it; and its control, a rate that is negated."""
    loss = {}
    for name, rate, probe in (("lagged", 0.3, LAGGED), ("exact", 0.3, {}), ("none", 0.0, LAGGED), ("control", -0.3, LAGGED)):
        options = {"warmup": 0.0, "rate": rate}
        composer = toys(fidelity, spatial, balancer="core/balance", balancer_options=options, probe=probe, scheduler=scheduler)
        result = composer([PROMPT] * 2, [TWO, rc.Boxes({"a cat": (0.1, 0.1, 0.5, 0.9)})], seed=3, output_type="latent")
        loss[name] = float(final_loss(composer, result).sum())
    assert loss["lagged"] < loss["none"] < loss["control"], loss
    gained, exact = loss["none"] - loss["lagged"], loss["none"] - loss["exact"]
    assert gained > 0.7 * exact, loss


def test_no_pass_is_the_probe_s_own_and_f_says_so() -> None:
    """Rows of the networks by hooks, and all operations of the run to 1%: two branches with guidance, and a way back."""
    settings: dict[str, Any] = {"balancer": "core/balance", "balancer_options": {"warmup": 0.4}}
    lagged, rows = rows_of(small(probe=LAGGED, **settings))
    assert rows == [(1, 2)] * 2 + [(0, 1), (0, 1), (1, 1), (1, 1)] * 3
    exact, more = rows_of(small(**settings))
    assert more == [(1, 2)] * 2 + [(0, 2), (1, 2), (0, 1), (1, 1)] * 3
    with sdpa_kernel(SDPBackend.MATH), OperationCount() as counter:
        small(probe=LAGGED, **settings)(PROMPT, TWO, seed=1)
    assert lagged.cost.total * lagged.cost.unit == pytest.approx(counter.total, rel=0.01)
    assert lagged.cost.unit == pytest.approx(exact.cost.unit, rel=1e-6), "one F is one row of a plain pass"
    assert lagged.cost.by_kind()["predict"] == pytest.approx(exact.cost.by_kind()["predict"], rel=0.03)
    assert 0 < lagged.cost.by_kind()["probe"] < 0.6 * exact.cost.by_kind()["probe"]


def test_one_unconditional_pass_beside_it() -> None:
    """The cheapest balance: the fidelity branch's halves apart, and the conditional half of the other."""
    guidance = {"unconditional": "shared"}
    result, rows = rows_of(small(probe=LAGGED, guidance=guidance, balancer="core/balance", balancer_options={"warmup": 0.4}))
    assert rows == [(1, 2)] * 2 + [(0, 1), (0, 1), (1, 1)] * 3
    assert result.trace.entries[-1].loss is not None


def test_the_first_lagged_step_differs_from_the_exact_by_the_slope_alone() -> None:
    """Same branches, same noises: before the first update both forms see the same weights; afterwards they part, but little."""
    exact, lagged = (
        small(balancer="core/balance", balancer_options={"warmup": 0.4}, probe=probe)(PROMPT, TWO, seed=1) for probe in ({}, LAGGED)
    )
    ends = [entry.weights for entry in exact.trace.entries], [entry.weights for entry in lagged.trace.entries]
    for a, b in zip(*ends, strict=True):
        assert float((a - b).abs().max()) < 0.5
    assert torch.equal(ends[0][1], ends[1][1]) and not torch.equal(ends[0][2], ends[1][2])


def test_detached_branches_leave_no_slope() -> None:
    """As the published code has it: the fidelity branch's maps give no gradient, and cost no way back."""
    settings: dict[str, Any] = {"balancer": "core/balance", "balancer_options": {"warmup": 0.4}}
    told = small(probe={"lagged": True, "detach": ["fidelity"]}, **settings)(PROMPT, TWO, seed=1)
    entry = told.trace.entries[-1]
    assert entry.grad_latents is not None and float(entry.grad_latents[0].abs().max()) == 0 < float(entry.grad_latents[1].min())
    assert told.cost.parts["probe sd/v1-5"] == 0 < told.cost.parts["probe gligen/box"]


def test_a_picture_without_regions_and_half_precision() -> None:
    empty = small(balancer="core/balance", probe=LAGGED)("a cat", rc.Boxes({}), seed=1)
    assert empty.trace.entries[-1].loss is not None and float(empty.trace.entries[-1].loss[0]) == 0


@pytest.mark.parametrize("wrong", [{"guided": False}, {"timestep": "t_prev"}])
def test_a_lagged_probe_has_no_trial_step(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRecipe, match="makes no trial step"):
        toys(probe={"lagged": True, **wrong})


# -- moves -------------------------------------------------------------------------------------------------------------------


def test_a_lagged_move_is_one_step_down_the_slope_that_was_left() -> None:
    """Three moves at once are three lengths; without a slope there is none; and no pass is made."""
    read, z = reader(1), latents()
    left = placement_slope(read, z, RAGGED, None)

    def never(_: Tensor) -> Tensor:
        raise AssertionError("a pass")

    later = latents(7)
    end, moved = move_latents(later, [Move(3, 0.1, lagged=True)], asks([never]), RAGGED, NOISE, slopes={0: left})
    for b in range(2):
        unit = left[1][b] / left[1][b].norm()
        torch.testing.assert_close(later[b] - end[b], 0.3 * NOISE * math.sqrt(z[b].numel()) * unit)
    assert moved.made.tolist() == [[3, 3, 0]] and moved.passes == (0,) and torch.equal(moved.loss[0], left[0])
    end, moved = move_latents(later, [Move(3, 0.1, lagged=True)], asks([never]), RAGGED, NOISE)
    assert torch.equal(end, later) and moved.shift is None and moved.made.tolist() == [[0] * B]


def test_passes_end_when_no_picture_moves_and_stop_asks_no_more() -> None:
    """A pass at a z that did not move says the same again: the pictures are the same, and fewer passes made them."""
    read, z = reader(3), latents()
    loss = placement_slope(read, z, RAGGED, None)[0].sum(dim=1) / RAGGED.present().sum(dim=1).clamp(min=1)
    above, between = float(loss.max()) + 0.01, float(loss[:2].mean())
    _, moved = move_latents(z, [Move(5, 0.1, above)], asks([read]), RAGGED, NOISE)
    assert moved.passes == (1,) and moved.shift is not None and float(moved.shift.abs().max()) == 0
    _, moved = move_latents(z, [Move(5, 0.1, 0.0)], asks([read]), RAGGED, NOISE)
    assert moved.passes == (5,), "the control"
    standing = torch.zeros(1, B, dtype=torch.bool)
    stop = Move(1, 0.1, between, stop=True)
    move_latents(z, [stop], asks([read]), RAGGED, NOISE, standing=standing)
    assert standing[0].tolist() == [bool(one <= between) for one in loss[:2]] + [True] and int(standing.sum()) == 2
    worse = z + 0.2 * z.flip(-1)
    end, moved = move_latents(worse, [Move(1, 0.1, 0.0, stop=True)], asks([read]), RAGGED, NOISE, standing=standing)
    assert [not torch.equal(end[b], worse[b]) for b in range(B)] == (~standing[0]).tolist()
    standing[:] = True
    _, moved = move_latents(worse, [Move(1, 0.1, 0.0, stop=True)], asks([read]), RAGGED, NOISE, standing=standing)
    assert moved.passes == (0,)


def guided(**options: Any) -> dict[str, Any]:
    return {"balancer": "core/guided", "balancer_options": {"plant": 0.2, "until": 0.8, "moves": 12, "threshold": 0.0, **options}}


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("steps", [8, 20, 50])
def test_every_k_th_step_makes_all_moves(steps: int, every: int) -> None:
    asked = [moves_at(Step(i, steps, 0, 0, 0.5, 0.6), 16, 0.2, 0.6, every) for i in range(steps)]
    first, last = round(0.2 * steps), round(0.6 * steps)
    assert sum(asked) == 16 and all((i - first) % every == 0 and first <= i < last for i, most in enumerate(asked) if most)


def test_slopes_are_left_a_step_before_they_are_used() -> None:
    """The same moves as in the exact form, a step later; where the fidelity branch predicts nothing yet, exact ones."""

    def run(*kinds: str, **options: Any) -> list[tuple[int, bool, bool]]:
        balancer = Guided(GuidedOptions(plant=0.2, until=0.6, hold=0.7, moves=8, lagged=True, **options))
        roles = ("fidelity", *("spatial" for _ in kinds))
        setting = Setting(tuple("abc"[: len(roles)]), roles, torch.zeros(1, 1, 2, 2), torch.zeros(len(roles), 1, 1), (), (None, *kinds))
        found = []
        for index in range(10):
            needs = balancer.needs(balancer.start(setting), Step(index, 10, 0, 0, 0.5, 0.6))
            move = needs.moves[0] if needs.moves else None
            found.append((move.most if move else 0, bool(move and move.lagged), any(needs.slopes)))
        return found

    still, leaves = (0, False, False), (0, False, True)
    assert run("boxes") == [still, still, leaves, *[(2, True, True)] * 3, (2, True, False), still, still, still]
    assert run("boxes", every=2) == [still, still, leaves, (4, True, False), leaves, (4, True, False), *[still] * 4]
    assert run("keypoints") == [still] * 10
    assert run("boxes", "segmentation") == [still, still, *[(2, False, False)] * 4, *[still] * 4]


@pytest.mark.parametrize("scheduler", ["ddim", "pndm", "euler", "dpm++-2m", "unipc"])
def test_lagged_moves_lower_the_loss_of_the_finished_picture(scheduler: str) -> None:
    """Paired with exact moves, with none, and with the control: moves up the slope."""
    loss = {}
    for name, options in {
        "exact": {"length": 0.1},
        "lagged": {"length": 0.1, "lagged": True},
        "every": {"length": 0.1, "lagged": True, "every": 2},
        "none": {"length": 0.0, "lagged": True},
        "control": {"length": -0.1, "lagged": True},
    }.items():
        composer = toys(scheduler=scheduler, **guided(**options))
        result = composer(PROMPT, TWO, seed=3, output_type="latent")
        loss[name] = float(final_loss(composer, result).sum())
        assert result.trace.move_calls == (12 if name == "exact" else 0)
    assert max(loss["lagged"], loss["every"]) < loss["none"] - 1e-4 < loss["control"] - 2e-4, loss
    assert loss["none"] - loss["lagged"] > 0.5 * (loss["none"] - loss["exact"]), loss


@pytest.mark.deep
def test_lagged_moves_cost_a_way_back_and_f_says_so() -> None:
    lagged, rows = rows_of(small(num_inference_steps=10, **guided(moves=6, lagged=True)))
    assert rows == [(1, 2)] * 2 + [(0, 1), (0, 1)] * 6 + [(0, 2)] * 2
    with sdpa_kernel(SDPBackend.MATH), OperationCount() as counter:
        small(num_inference_steps=10, **guided(moves=6, lagged=True))(PROMPT, TWO, seed=1)
    assert lagged.cost.total * lagged.cost.unit == pytest.approx(counter.total, rel=0.01)
    exact = small(num_inference_steps=10, **guided(moves=6))(PROMPT, TWO, seed=1)
    assert lagged.cost.unit == pytest.approx(exact.cost.unit, rel=1e-6)
    assert 0 < lagged.cost.parts["move sd/v1-5"] < 0.6 * exact.cost.parts["move sd/v1-5"]
    assert [entry.moves is not None for entry in lagged.trace.entries] == [3 <= i <= 8 for i in range(10)]
    assert [int(entry.moves[0, 0]) for entry in lagged.trace.entries if entry.moves is not None] == [1] * 6


def test_stop_and_batches() -> None:
    """A picture is moved in a batch as alone, whenever the others' regions stand."""
    layouts = [TWO, rc.Boxes({"a cat": (0.0, 0.0, 1.0, 1.0)})]  # a box that fills the picture stands at once
    for lagged in (False, True):
        composer = toys(**guided(lagged=lagged, stop=True, threshold=0.05, length=0.1))
        both = composer([PROMPT, "a cat"], layouts, seed=[3, 4], output_type="latent")
        alone = composer(PROMPT, TWO, seed=3, output_type="latent")
        torch.testing.assert_close(both.latents[:1], alone.latents)
        made = [entry.moves[0].tolist() for entry in both.trace.entries if entry.moves is not None]
        assert sum(one[0] for one in made) > 0 == sum(one[1] for one in made)


# -- strangers ---------------------------------------------------------------------------------------------------------------


class Deaf(ToyBranch):
    """Gives no maps, whatever it is asked."""

    def predict(self, z: Tensor, step: Step, conditioning: Any, read: bool = False) -> Prediction:
        return super().predict(z, step, conditioning)


class Eager(Balancer):
    """Wants slopes of a branch that does not act."""

    def start(self, setting: Setting) -> Setting:
        return setting

    def needs(self, state: Setting, step: Step) -> Needs:
        return Needs((True, False), slopes=(False, True))

    def weights(self, state: Setting, step: Step) -> Tensor:
        one = state.masks.new_ones(state.masks.shape[0], 1, *state.masks.shape[2:])
        return torch.stack([one, 0 * one])


def test_what_a_stranger_does_wrong_is_told() -> None:
    spec = BranchSpec(id="stranger/deaf", summary="", role="spatial", condition="boxes", traits=TOY_TRAITS, guidance_scale=1.0)
    deaf: Branch = Deaf(spec, NoOptions(), dtype=torch.float64)
    with pytest.raises(PluginProblem, match="stranger/deaf gave no maps"):
        toys("toy/fidelity", deaf, balancer_options={"warmup": 0.0}, probe=LAGGED)(PROMPT, TWO, seed=1)
    assert toys("toy/fidelity", deaf, balancer_options={"warmup": 0.0})(PROMPT, TWO, seed=1).trace.probe_calls == 20, "the control"
    with pytest.raises(PluginProblem, match="the slope of branch 1 at step 0 of 10, at which it does not act"):
        toys(balancer=Eager())(PROMPT, TWO, seed=1)


def test_a_scale_halves_for_the_picture_that_overflowed() -> None:
    """fp16's loss scale is that of the exact probe: a slope that is not finite is none, and the next scale smaller."""
    from realcompo.compose.probe import slope_of_maps

    z = latents().requires_grad_()
    with torch.enable_grad():
        kink = (z[:1] - z[:1].detach()).abs().sqrt().sum() * torch.tensor([1.0, 0.0, 0.0]).to(z)
        maps = reader(3)(z) * (1 + kink[:, None, None, None] * RAGGED.masks(*z.shape[2:]).to(z))
        scale = LossScale()
        before = scale.value
        _, slope, _ = slope_of_maps(maps, z, RAGGED, scale)
    assert scale.of(z).tolist() == [before / 2, before, before]
    assert not bool(slope[0].any()) and bool(slope[1].any()) and not slope.requires_grad


@pytest.mark.skipif(bool(lacking("fidelity", "boxes")), reason=lacking("fidelity", "boxes"))
@pytest.mark.deep
def test_pictures_keep_their_forms(tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "prompt": "a red cat and a blue dog",
        "condition": rc.Boxes({"a red cat": (0.1, 0.3, 0.45, 0.8), "a blue dog": (0.55, 0.3, 0.9, 0.8)}),
        "seed": 2,
    }
    for n, settings in enumerate(
        (
            {"balancer": "core/balance", "probe": {"lagged": True}},
            {"balancer": "core/guided", "balancer_options": {"lagged": True, "every": 2, "stop": True, "moves": 4}},
        )
    ):
        result = rc.Composer("mini/fidelity", "mini/boxes", num_inference_steps=6, device="cpu", **settings)(**asked)
        again = rc.reproduce(result.save(tmp_path / str(n))[0])
        assert again.same and again.result.cost.parts == pytest.approx(result.cost.parts)
