"""Algorithm 1 as a whole, on toys whose answer is known. Each claim carries its control."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import realcompo as rc
from realcompo.builtin.balance import Balance, blur
from realcompo.builtin.options import BalanceOptions
from realcompo.errors import BadCondition, BadOption, Incompatible, UnknownName
from realcompo.interfaces import ProbeResult, Region, Regions, Setting, Step
from realcompo.noise.diffusion import GRADUAL
from realcompo.recipes.recipe import BranchEntry
from realcompo.testing.toys import toy_registry
from tests import examples
from tests.toyworld import PROMPT, TWO, final_loss, toys

PAPER = {"warmup": 0.0, "smoothing": 0.0}


@pytest.mark.parametrize("seed", range(20))
def test_the_balance_lowers_the_loss_and_its_negative_raises_it(seed: int) -> None:
    def loss(balancer: str, **options: Any) -> float:
        composer = toys(balancer=balancer, balancer_options=options)
        return float(final_loss(composer, composer(PROMPT, TWO, seed=seed)))

    half = loss("core/fixed", spatial=0.5)
    assert loss("core/balance", rate=0.3, **PAPER) < half - 0.01
    assert loss("core/balance", rate=-0.3, **PAPER) > half + 0.01


def test_identical_branches_keep_one_half_exactly() -> None:
    registry = toy_registry()
    one = registry.branch("toy/spatial", dtype=torch.float64)
    two = registry.branch("toy/spatial", dtype=torch.float64)
    two.spec = registry.find(type(one.spec), "toy/fidelity")  # it plays the other role, and is the same network
    encode = two.encode
    two.encode = lambda request: encode.__func__(one, request)  # type: ignore[attr-defined,method-assign]
    composer = toys(two, one, balancer_options={"rate": 10.0, **PAPER})
    trace = composer(PROMPT, TWO, seed=0).trace
    assert all((entry.weights == 0.5).all() for entry in trace.entries)
    assert max(float(entry.grad_latents.max()) for entry in trace.entries if entry.grad_latents is not None) > 0
    other = toys(balancer_options={"rate": 10.0, **PAPER})(PROMPT, TWO, seed=0).trace
    assert not all((entry.weights == 0.5).all() for entry in other.entries)


def test_a_box_that_fills_the_picture_leaves_the_coefficients() -> None:
    trace = toys(balancer_options={"rate": 10.0, **PAPER})("a cat", rc.Boxes({"a cat": (0, 0, 1, 1)}), seed=0).trace
    assert all((entry.weights == 0.5).all() for entry in trace.entries)


PICTURES = [
    ("a cat", {"a cat": (0.1, 0.1, 0.6, 0.6)}),
    ("a cat and a dog", {"a cat": (0, 0, 0.5, 1), "a dog": (0.5, 0, 1, 1)}),
    ("a cat a dog a cow", {"a cat": (0, 0, 0.3, 1), "a dog": (0.3, 0, 0.6, 1), "a cow": (0.6, 0, 1, 1)}),
    ("a cat a dog a cow a hen", {"a cat": (0, 0, 0.5, 0.5), "a dog": (0.5, 0, 1, 0.5), "a cow": (0, 0.5, 0.5, 1),
                                 "a hen": (0.5, 0.5, 1, 1)}),
]  # fmt: skip


@pytest.mark.parametrize("scheduler", list(GRADUAL))
def test_a_batch_equals_its_pictures_alone(scheduler: str) -> None:
    options = {"inside": (0.9, 0.5), "outside": (0.7, 0.1), "finish": 0.8}
    composer = toys(scheduler=scheduler, dtype="float32", balancer_options=options)
    prompts, boxes = [p for p, _ in PICTURES], [rc.Boxes(b) for _, b in PICTURES]
    together = composer(prompts, boxes, seed=[3, 1, 4, 1])
    for b in range(4):
        alone = composer(prompts[b], boxes[b], seed=[3, 1, 4, 1][b])
        torch.testing.assert_close(together.latents[b], alone.latents[0], rtol=1e-4, atol=1e-4)
        assert together.images[b].tobytes() == alone.image.tobytes() or together.latents[b].sub(alone.latents[0]).abs().max() > 0


@pytest.mark.parametrize("scheduler", list(GRADUAL))
def test_epsilon_and_v_branches_compose_to_the_same_picture(scheduler: str) -> None:
    latents = [
        toys(f, s, scheduler=scheduler)(PROMPT, TWO, seed=0).latents
        for f in ("toy/fidelity", "toy/fidelity-v")
        for s in ("toy/spatial", "toy/spatial-v")
    ]
    for other in latents[1 : 3 if scheduler == "pndm" else 4]:  # PLMS averages what the blend predicts: v's mean is not ε's
        torch.testing.assert_close(other, latents[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheduler,steps", [("ddim", 50), ("ddim", 10), ("pndm", 10), ("euler", 10)])
def test_calls_are_as_in_the_cost_model(scheduler: str, steps: int) -> None:
    composer = toys(scheduler=scheduler, num_inference_steps=steps, balancer="core/paper", dtype="float32")
    counts = {"predict": 0, "attend": 0}
    for branch in composer.branches:
        for name in counts:

            def counted(*args: Any, _name: str = name, _call: Any = getattr(branch, name), **kwargs: Any) -> Any:
                counts[_name] += 1
                return _call(*args, **kwargs)

            setattr(branch, name, counted)
    trace = composer(PROMPT, TWO, seed=0).trace
    s = len(trace.entries)
    w, k, spatial = round(0.4 * s), 2, 1
    assert s == (steps + 1 if scheduler == "pndm" else steps)
    assert counts["predict"] == w * spatial + (s - w) * k == trace.predict_calls
    assert counts["attend"] == (s - w) * k == trace.probe_calls


def test_phases_cost_only_what_they_use() -> None:
    trace = toys(num_inference_steps=20, balancer_options={"warmup": 0.3, "finish": 0.7})(PROMPT, TWO, seed=0).trace
    acting = [entry.acting for entry in trace.entries]
    assert acting[:6] == [("toy/spatial",)] * 6 and acting[14:] == [("toy/fidelity",)] * 6
    assert acting[6:14] == [("toy/fidelity", "toy/spatial")] * 8
    assert [entry.loss is not None for entry in trace.entries] == [False] * 6 + [True] * 8 + [False] * 6
    hand_over = toys(num_inference_steps=20, balancer="core/hand-over", balancer_options={"share": 0.25})(PROMPT, TWO, seed=0).trace
    assert [entry.acting for entry in hand_over.entries] == [("toy/spatial",)] * 5 + [("toy/fidelity",)] * 15
    assert hand_over.predict_calls == 20 and hand_over.probe_calls == 0


def test_fixed_at_either_end_is_that_branch_alone() -> None:
    alone = toys(spatial=(), balancer="core/fixed")(PROMPT, seed=0)
    fidelity = toys(balancer="core/fixed", balancer_options={"spatial": 0.0})(PROMPT, TWO, seed=0)
    spatial = toys(balancer="core/fixed", balancer_options={"spatial": 1.0})(PROMPT, TWO, seed=0)
    assert torch.equal(alone.latents, fidelity.latents)
    assert fidelity.trace.predict_calls == spatial.trace.predict_calls == 10
    assert (spatial.latents - fidelity.latents).abs().max() > 0.1


def test_every_kth_probe_and_the_control_of_none() -> None:
    def trace(every: int) -> Any:
        return toys(probe={"every": every}, balancer_options=PAPER)(PROMPT, TWO, seed=0).trace

    assert [trace(k).probe_calls for k in (1, 3, 100)] == [20, 8, 2]
    assert len(trace(3).losses) == 4


def test_probe_options_name_the_published_codes_behaviour() -> None:
    def weights(**probe: Any) -> torch.Tensor:
        guidance = {"toy/fidelity": 3.0, "toy/spatial": 3.0}
        dull = BranchEntry(name="toy/fidelity", options={"sharpness": 0.5})  # else both give one gradient, and half of it says the same
        return toys(dull, probe=probe, balancer_options=PAPER)(PROMPT, TWO, seed=0, guidance_scale=guidance).trace.entries[-1].weights

    ours = weights()
    for probe in ({"detach": ("fidelity",)}, {"guided": False}, {"timestep": "t_prev", "detach": ("toy/spatial",)}):
        assert (weights(**probe) - ours).abs().max() > 1e-4, probe


def test_a_shift_is_blended_into_the_run() -> None:
    still = toys(balancer="core/mean")(PROMPT, TWO, seed=0).latents
    spatial = BranchEntry(name="toy/spatial", options={"shift": 0.5})
    moved = toys(spatial=spatial, balancer="core/mean")(PROMPT, TWO, seed=0).latents
    assert (moved - still).abs().max() > 1e-2


# -- balancers on their own --------------------------------------------------------------------------------------------------


def setting(k: int = 2, h: int = 8) -> Setting:
    regions = Regions((
        (Region("a", "a", box=(0, 0, 0.5, 1)), Region("b", "b", box=(0.5, 0, 1, 0.5))),
        (Region("a", "a", box=(0.25, 0.25, 0.75, 0.75)),),
    ))  # fmt: skip
    owners = torch.zeros(k, 2, 2, dtype=torch.bool)
    owners[1, :, 0] = True
    owners[-1, :, 1] = True
    return Setting(
        tuple(f"b{i}" for i in range(k)), ("fidelity", *("spatial",) * (k - 1)), regions.masks(h, h), owners,
        tuple(torch.Generator().manual_seed(i) for i in range(2)),
    )  # fmt: skip


def at(index: int, count: int = 10) -> Step:
    return Step(index, count, 900 - index, 800 - index, 0.1, 0.2)


@settings(max_examples=examples(60))
@given(
    k=st.integers(2, 4),
    inside=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
    outside=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
    warmup=st.floats(0, 0.5),
    finish=st.floats(0.5, 1),
    index=st.integers(0, 9),
    seed=st.integers(0, 9),
)
def test_weights_sum_to_one_at_every_pixel(k: int, inside: Any, outside: Any, warmup: float, finish: float, index: int, seed: int) -> None:
    balancer = Balance(BalanceOptions(inside=inside, outside=outside, warmup=warmup, finish=finish, rate=5.0))
    state = balancer.start(setting(k))
    g = torch.Generator().manual_seed(seed)
    draws = torch.randn(state.coe.shape, generator=g)
    result = ProbeResult(torch.zeros(2), torch.zeros(k, 2, 2), draws, torch.zeros(k, 2))
    state, _ = balancer.update(state, at(5), lambda weights: result)
    weights = balancer.weights(state, at(index))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=0), torch.ones_like(weights[0]))
    acts = balancer.needs(state, at(index)).branches
    for branch in range(k):
        assert acts[branch] or (weights[branch] == 0).all()


def test_the_prior_is_what_it_says() -> None:
    balancer = Balance(BalanceOptions(inside=(0.9, 0.5), outside=(0.7, 0.1), warmup=0.2, finish=0.8))
    state = balancer.start(setting())
    first, last = balancer.weights(state, at(2)), balancer.weights(state, at(7))
    assert first[1, 1, 0, 4, 4].item() == pytest.approx(0.9) and first[1, 1, 0, 0, 0].item() == pytest.approx(0.7)
    assert last[1, 1, 0, 4, 4].item() == pytest.approx(0.5) and last[1, 1, 0, 0, 0].item() == pytest.approx(0.1)
    middle = balancer.weights(state, at(4))[1, 1, 0, 4, 4].item()
    assert middle == pytest.approx(0.9 - 0.4 * 2 / 5)


def test_inside_a_region_the_prior_goes_to_its_owners() -> None:
    balancer = Balance(BalanceOptions(inside=(0.8, 0.8), outside=(0.6, 0.6), warmup=0.0))
    weights = balancer.weights(balancer.start(setting(3)), at(0))
    assert weights[:, 0, 0, 7, 0].tolist() == pytest.approx([0.2, 0.8, 0])  # region a: branch 1 alone
    assert weights[:, 0, 0, 0, 7].tolist() == pytest.approx([0.2, 0, 0.8])  # region b: branch 2 alone
    assert weights[:, 0, 0, 7, 7].tolist() == pytest.approx([0.4, 0.3, 0.3])  # outside: equal parts


@pytest.mark.parametrize("size", [8, 16, 64])
def test_one_rate_means_the_same_at_every_resolution_and_scale(size: int) -> None:
    moves = []
    for scale in (1e-6, 1.0):
        balancer = Balance(BalanceOptions(rate=0.1, smoothing=0.0, warmup=0))
        state = balancer.start(setting(2, size))
        draw = torch.randn(state.coe.shape, generator=torch.Generator().manual_seed(0)) * scale
        result = ProbeResult(torch.zeros(2), torch.zeros(2, 2, 2), draw, torch.zeros(2, 2))
        state, _ = balancer.update(state, at(0), lambda weights, result=result: result)
        moves.append(state.coe.square().mean().sqrt().item())
    assert moves == pytest.approx([0.1, 0.1], rel=1e-3)


def test_published_rate_and_independent_starts() -> None:
    balancer = toy_registry().balancer("core/published")
    state = balancer.start(setting())
    assert 0.5 < state.coe.std() < 2 and not torch.equal(state.coe[0], state.coe[1])
    draw = torch.zeros_like(state.coe)
    draw[0] = 1e-6
    result = ProbeResult(torch.zeros(2), torch.zeros(2, 2, 2), draw, torch.zeros(2, 2))
    xi = balancer.weights(state, at(9))
    moved, _ = balancer.update(state, at(9), lambda weights: result)
    torch.testing.assert_close(state.coe[0] - moved.coe[0], 0.5**0.5 * xi[0] * (1 - xi[0]), rtol=1e-3, atol=1e-6)


def test_blur_keeps_constants_and_spreads_points() -> None:
    assert torch.allclose(blur(torch.full((2, 1, 1, 5, 5), 3.0), 1.0), torch.full((2, 1, 1, 5, 5), 3.0))
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    spread = blur(point, 1.0)
    assert spread.sum() == pytest.approx(1, rel=1e-5) and 0.1 < spread[0, 0, 4, 4] < 0.2
    assert torch.equal(blur(point, 0.0), point)


# -- the call ----------------------------------------------------------------------------------------------------------------


def test_seeds_generators_and_latents_are_the_same_randomness() -> None:
    composer = toys()
    by_seed = composer(PROMPT, TWO, seed=5).latents
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(composer(PROMPT, TWO, generator=generator).latents, by_seed)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    assert torch.equal(composer(PROMPT, TWO, latents=noise, seed=5).latents, by_seed)
    several = composer(PROMPT, TWO, seed=4, num_images_per_prompt=3)
    assert torch.equal(several.latents[1], by_seed[0]) and len(several.images) == 3
    assert [p.seed for p in several.recipe.pictures] == [4, 5, 6]


def test_output_types() -> None:
    composer = toys()
    pil, np, pt, latent = (composer(PROMPT, TWO, seed=0, output_type=kind).images for kind in ("pil", "np", "pt", "latent"))
    assert pil[0].size == (64, 64) and np.shape == (1, 64, 64, 3) and pt.shape == (1, 3, 64, 64) and latent.shape == (1, 4, 8, 8)
    assert np.min() >= 0 and np.max() <= 1


def test_callback_sees_and_changes_latents() -> None:
    seen: list[int] = []

    def zero_at_the_end(composer: Any, index: int, t: float, kwargs: dict[str, Any]) -> dict[str, Any]:
        seen.append(index)
        return {"latents": torch.zeros_like(kwargs["latents"])} if index == 9 else {}

    result = toys()(PROMPT, TWO, seed=0, callback_on_step_end=zero_at_the_end)
    assert seen == list(range(10)) and (result.latents == 0).all()


def test_recipe_of_a_result_draws_it_again() -> None:
    result = toys(dtype="float32", balancer="core/paper")(PROMPT, TWO, seed=2)
    again = rc.Composer.from_recipe(result.recipe, toy_registry()).compose(result.recipe.pictures)
    assert torch.equal(again.latents, result.latents)


def test_several_spatial_branches_each_with_its_condition() -> None:
    registry = toy_registry()
    one, two = registry.branch("toy/spatial"), registry.branch("toy/spatial-v")
    conditions = {"toy/spatial": rc.Boxes({"a cat": (0, 0, 0.5, 1)}), "toy/spatial-v": rc.Boxes({"a dog": (0.5, 0, 1, 1)})}
    result = toys(spatial=[one, two], dtype="float32")(PROMPT, conditions, seed=0)
    assert [region.phrase for region in result.regions] == ["a cat", "a dog"]
    entry = result.trace.entries[-1]
    assert entry.region_loss is not None and entry.region_loss.shape == (3, 1, 2)
    torch.testing.assert_close(entry.weights.sum(0), torch.ones(1, 8, 8))


@pytest.mark.parametrize(
    "call,error,words",
    [
        (lambda c: c([], TWO), BadOption, "no prompt"),
        (lambda c: c(["a", "b"], [TWO]), BadOption, "1 values of condition for 2 prompts"),
        (
            lambda c: c(PROMPT, [TWO, rc.Keypoints({"a cat": {"nose": (0.5, 0.5)}})]),
            BadOption,
            r"are a table: \{'boxes': …, 'keypoints': …\}",
        ),
        (lambda c: c(PROMPT, rc.Keypoints({"a cat": {"nose": (0.5, 0.5)}})), BadCondition, "has no boxes; the picture brings keypoints"),
        (lambda c: c(PROMPT, TWO, seed=[1, 2]), BadOption, "2 seeds for 1"),
        (lambda c: c(PROMPT, TWO, seed=1, generator=torch.Generator()), BadOption, "both seed and generator"),
        (lambda c: c(PROMPT, TWO, latents=torch.zeros(1, 4, 9, 9)), BadOption, r"expected \(1, 4, 8, 8\)"),
        (lambda c: c(PROMPT, TWO, height=60), Incompatible, "multiples of 8"),
        (lambda c: c(PROMPT), BadCondition, "has no boxes"),
        (lambda c: c(PROMPT, TWO, guidance_scale={"toy/spatail": 2}), UnknownName, "toy/spatail"),
        (lambda c: c(PROMPT, 7), BadOption, "int"),
        (lambda c: c(PROMPT, TWO, num_images_per_prompt=0), BadOption, "num_images_per_prompt"),
    ],
)
def test_bad_calls(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        call(toys())
    assert "mend:" in str(caught.value)


@pytest.mark.parametrize(
    "box,words",
    [
        ((0, 0, 1.2, 1), "outside"),
        ((0.5, 0, 0.5, 1), "no area"),
        ((0, 0, float("nan"), 1), "finite"),
        ((0, 0, 1), "4 numbers"),
        ("left", "not four numbers"),
        (7, "not four numbers"),
        ({"prompt": "a grey cat"}, "box: Field required"),
    ],
)
def test_bad_boxes(box: Any, words: str) -> None:
    with pytest.raises(BadCondition, match=words):
        rc.Boxes({"a cat": box})


def test_a_box_with_words_of_its_own() -> None:
    """As a table in place of the numbers; the same as an item's."""
    told = rc.Boxes({"a cat": {"box": (0, 0, 0.5, 1), "prompt": "a grey cat"}, "a dog": (0.5, 0, 1, 1)})
    item = {"phrase": "a cat", "box": (0, 0, 0.5, 1), "prompt": "a grey cat"}
    assert told == rc.Boxes([item, ("a dog", (0.5, 0, 1, 1))]) != rc.Boxes({"a cat": (0, 0, 0.5, 1), "a dog": (0.5, 0, 1, 1)})


def test_bad_compositions() -> None:
    with pytest.raises(UnknownName, match="did you mean 'toy/spatial'"):
        toys(spatial="toy/spatail")
    with pytest.raises(BadOption, match="no option 'spred'"):
        toys(spatial=BranchEntry(name="toy/spatial", options={"spred": 1}))
    with pytest.raises(BadOption, match="is a spatial branch"):
        toys("toy/spatial", "toy/spatial-v")
    with pytest.raises(UnknownName, match="no fidelity branch takes a dict_keys"):
        toys({}.keys())
    with pytest.raises(BadOption, match="finish"):
        toys(balancer_options={"warmup": 0.9, "finish": 0.1})


def test_no_cuda_where_asked() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA: asking for it is right")
    from realcompo.errors import DeviceError

    with pytest.raises(DeviceError, match="no device cuda"):
        rc.Composer("toy/fidelity", registry=toy_registry(), device="cuda")


def test_ids_of_boxes_are_their_own() -> None:
    box = (0.0, 0.0, 0.5, 0.5)
    same = rc.Boxes([("apples", box), ("apples", box), {"phrase": "apples", "box": box, "id": "apples#2"}])
    assert [item.id for item in same.items] == ["apples", "apples#3", "apples#2"]
    with pytest.raises(BadCondition, match="used twice"):
        rc.Boxes([{"phrase": "a", "box": box, "id": "x"}, {"phrase": "b", "box": box, "id": "x"}])


def test_a_probe_without_all_branches_is_the_balancers_mistake() -> None:
    from realcompo.errors import PluginProblem
    from realcompo.interfaces import Needs

    class Greedy(Balance):
        def needs(self, state: Any, step: Step) -> Needs:
            return Needs((True, False), probe=True)

    with pytest.raises(PluginProblem, match="at which not all branches act"):
        toys(balancer=Greedy(BalanceOptions()))(PROMPT, TWO, seed=0)
