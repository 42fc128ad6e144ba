"""NaN and infinity end in an error that names branch, step and part; of a batch, one picture alone fails, and the others keep their bits.

Every kind of branch that is installed is walked, on small checkpoints; `tests.poison` puts the numbers in.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import realcompo as rc
from realcompo.compose.finite import Finite, peaks
from realcompo.compose.probe import LossScale
from realcompo.errors import NotFinite
from realcompo.recipes.recipe import BranchEntry, read_condition
from realcompo.registry import installed
from realcompo.specs import BranchSpec
from realcompo.testing import small_source
from realcompo.testing.common import SAMPLE
from realcompo.testing.toys import ToyBranch, ToyOptions
from tests import sliced
from tests.poison import BRANCH_PARTS, SAID, poisoned, poisoned_solver, poisoned_vae, spoil
from tests.toyworld import PROMPT, TWO, toys

NAN, INF = math.nan, math.inf
STEPS = 3
TOY_STEPS = 10
PAIRS = [("sd/v1-5", id) for id in ("gligen/box", "layguide/sd", "controlnet/pose-sd15")]


def entry(id: str) -> BranchEntry:
    return BranchEntry(name=id, source=small_source(installed().find(BranchSpec, id)), guidance_scale=2.0)


@cache
def drawn(fidelity: str, spatial: str) -> tuple[rc.Composer, dict[str, Any], rc.Result]:
    """A pair, what three pictures are asked with, and what they are where nothing is wrong."""
    composer = rc.Composer(
        entry(fidelity),
        entry(spatial),
        balancer="core/balance",
        balancer_options={"warmup": 0.0, "finish": 1.0},
        num_inference_steps=STEPS,
        device="cpu",
        height=64,
        width=64,
    )
    spec = installed().find(BranchSpec, spatial)
    sample = spec.sample or SAMPLE
    kind = spec.condition or "boxes"
    asked = {
        "prompt": [sample["prompt"]] * 3,
        "condition": [read_condition(kind, sample[kind])] * 3,
        "seed": 0,
        "output_type": "latent",
    }
    return composer, asked, composer(**asked)


def fails(composer: rc.Composer, asked: dict[str, Any], *said: str) -> NotFinite:
    with pytest.raises(NotFinite) as caught:
        composer(**asked)
    for text in said:
        assert text in str(caught.value), (text, str(caught.value))
    assert len(str(caught.value)) < 600
    return caught.value


def others_are_as_ever(problem: NotFinite, good: rc.Result, failed: int = 1) -> None:
    """The result holds the other pictures, each the same to the bit, and everything about them."""
    rest = [b for b in range(3) if b != failed]
    assert list(problem.failed) == [failed]
    result = problem.result
    assert torch.equal(result.latents, good.latents[rest])
    assert [p.seed for p in result.recipe.pictures] == [good.recipe.pictures[b].seed for b in rest]
    assert len(result.images) == len(result.batch_regions) == 2
    for mine, theirs in zip(result.trace.entries, good.trace.entries, strict=True):
        assert torch.equal(mine.weights, theirs.weights[:, rest])
        if theirs.loss is not None:
            assert mine.loss is not None and torch.equal(mine.loss, theirs.loss[rest])
            assert mine.grad_latents is not None and torch.equal(mine.grad_latents, theirs.grad_latents[:, rest])
            assert all(torch.equal(a, b[rest]) for a, b in zip(mine.maps, theirs.maps, strict=True))


# -- every part of every kind of branch ---------------------------------------------------------------------------------------


BRANCHES = [(PAIRS[0], 0), *((pair, 1) for pair in PAIRS)]


@pytest.mark.parametrize(("pair", "which", "part"), sliced([(*one, part) for one in BRANCHES for part in BRANCH_PARTS], 3), ids=str)
def test_each_part_of_each_branch(pair: tuple[str, str], which: int, part: str) -> None:
    """Guards: a number that is none is named with its branch, step and part, and stays in its picture of three."""
    composer, asked, good = drawn(*pair)
    number = INF if part in ("prediction", "maps") else NAN
    step = {"text": 0, "shift": 0, "prediction": 1, "maps": STEPS - 1, "gradient": 1}[part]
    with poisoned(composer.branches[which], part, number, step, [1]):
        problem = fails(composer, asked, composer.members[which].name, SAID[part], "picture 1", "mend:")
    name = composer.members[which].name
    when = "before the first step" if part == "text" else f"step {step + 1} of {STEPS}"
    assert problem.failed[1].where == f"{name}, {when}"
    if part != "text":
        assert ("NaN" if math.isnan(number) else "infinity") in problem.failed[1].what
    others_are_as_ever(problem, good)


ASKED: dict[str, Any] = {"prompt": [PROMPT] * 3, "condition": [TWO] * 3, "seed": 0, "output_type": "latent"}
WHICH, NUMBERS = {"fidelity": 0, "spatial": 1}, {"nan": NAN, "inf": INF, "-inf": -INF}
PLACES = {"first": 0, "middle": TOY_STEPS // 2, "last": TOY_STEPS - 1}


@cache
def toys_drawn() -> rc.Result:
    """What the toys draw where nothing is wrong."""
    return toys(num_inference_steps=TOY_STEPS, balancer_options={"warmup": 0.0, "finish": 1.0})(**ASKED)


@pytest.mark.parametrize(("which", "part", "place", "number"), sliced(product(WHICH, BRANCH_PARTS[1:], PLACES, NUMBERS), 5))
def test_each_step(which: str, part: str, place: str, number: str) -> None:
    """Guards: the first, a middle and the last step, on the toys; and that the picture itself, drawn alone, has no result."""
    composer = toys(num_inference_steps=TOY_STEPS, balancer_options={"warmup": 0.0, "finish": 1.0})
    step, member = PLACES[place], WHICH[which]
    said = f"{composer.members[member].name}, step {step + 1} of"
    with poisoned(composer.branches[member], part, NUMBERS[number], step, [1]):
        problem = fails(composer, ASKED, f"{said} {TOY_STEPS}", SAID[part])
    others_are_as_ever(problem, toys_drawn())
    with poisoned(composer.branches[member], part, NUMBERS[number], step, [0]):
        alone = fails(composer, {"prompt": PROMPT, "condition": TWO, "seed": 1}, said)
    assert alone.result is None and list(alone.failed) == [0] and "picture" not in str(alone)


@pytest.mark.parametrize("number", [NAN, INF], ids=["nan", "inf"])
@pytest.mark.parametrize("step", [0, TOY_STEPS // 2, TOY_STEPS - 1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("part", ["solver", "callback", "latents", "weights"])
def test_what_no_branch_made(part: str, step: int, number: float) -> None:
    """Guards: latents that the caller gives, a callback's, the scheduler's own and the balancer's weights."""
    composer = toys(num_inference_steps=TOY_STEPS)
    start = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(b)) for b in range(3)]).double()
    asked = {"prompt": [PROMPT] * 3, "condition": [TWO] * 3, "latents": start, "output_type": "latent"}
    good = composer(**asked)
    when = f"step {step + 1} of {TOY_STEPS}"
    if part == "solver":
        with poisoned_solver(number, step, [1]):
            problem = fails(composer, asked, SAID[part], when)
    elif part == "weights":
        before = composer.balancer.weights

        def weights(state: Any, now: Any) -> Tensor:
            found = before(state, now)
            return spoil(found.transpose(0, 1), number, [1]).transpose(0, 1) if now.index == step else found

        composer.balancer.weights = weights  # type: ignore[method-assign]
        problem = fails(composer, asked, SAID[part], when)
    elif part == "latents":
        problem = fails(composer, {**asked, "latents": spoil(start, number, [1])}, SAID[part], "before the first step", "torch.randn")
    else:

        def callback(_: Any, index: int, __: float, told: dict[str, Any]) -> dict[str, Any]:
            return {"latents": spoil(told["latents"], number, [1])} if index == step else {}

        problem = fails(composer, {**asked, "callback_on_step_end": callback}, SAID[part], when, "callback")
    others_are_as_ever(problem, good)


def test_a_callback_that_writes_into_the_latents() -> None:
    """Guards: a callback need not return what it spoilt."""

    def callback(_: Any, index: int, __: float, told: dict[str, Any]) -> None:
        told["latents"][0, 0] = NAN

    fails(toys(), {"prompt": PROMPT, "condition": TWO, "seed": 0, "callback_on_step_end": callback}, "after callback_on_step_end hold NaN")


def test_text_of_a_branch_that_shows_no_embeddings() -> None:
    """Guards: a stranger's branch without `embeddings` is named at its first prediction."""
    composer = toys()
    branch: Any = composer.branches[1]
    encode = branch.encode

    def bad(request: Any) -> Any:
        conditioning = encode(request)
        conditioning.mean[1] = NAN
        return conditioning

    branch.encode = bad
    asked = {"prompt": [PROMPT] * 3, "condition": [TWO] * 3, "seed": 0, "output_type": "latent"}
    problem = fails(composer, asked, "toy/spatial, step 1 of 10: its prediction holds NaN")
    others_are_as_ever(problem, toys()(**asked))


def test_the_run_ends_where_no_picture_is_left() -> None:
    """Guards: fifty steps are not drawn for nothing."""
    composer = toys()
    steps: list[int] = []
    with poisoned(composer.branches[0], "prediction", NAN, 4, [0]), pytest.raises(NotFinite):
        composer(PROMPT, TWO, seed=0, progress=lambda step, _: steps.append(step.index))
    assert steps == list(range(5))


def test_ragged_regions_stay_with_their_pictures() -> None:
    """Guards: regions, conditions, prompts and seeds of the rest, where pictures have different numbers of them."""
    layouts = [TWO, rc.Boxes({"a dog": (0.5, 0.1, 0.9, 0.9)}), rc.Boxes({"a cat": (0.1, 0.1, 0.5, 0.9)})]
    composer, asked = toys(), {"prompt": [PROMPT, "a dog", "a cat"], "condition": layouts, "seed": [5, 6, 7]}
    with poisoned(composer.branches[0], "prediction", NAN, 9, [0]):
        problem = fails(composer, asked, "1 of 3 pictures failed: picture 0, toy/fidelity, step 10 of 10")
    result = problem.result
    assert [[r.id for r in regions] for regions in result.batch_regions.pictures] == [["a dog"], ["a cat"]]
    assert [p.prompt for p in result.recipe.pictures] == ["a dog", "a cat"]
    for image, seed, place in zip(result.images, (6, 7), (1, 2), strict=True):
        assert image.recipe.pictures[0].seed == seed and image.facts["batch"] == {"index": place, "size": 3}
    again = rc.Composer.from_recipe(result.images[0].recipe, composer.registry).compose(result.images[0].recipe.pictures)
    assert again.image.tobytes() == result.images[0].tobytes(), "its recipe draws it again"


@pytest.mark.parametrize(("number", "output"), [(NAN, "pil"), (INF, "np"), (-INF, "pt")])
def test_a_decoded_picture(number: float, output: str) -> None:
    """Guards: no black picture of NaN, no white one of infinity; and the others are decoded."""
    composer, asked, good = drawn(*PAIRS[0])
    whole = composer(**{**asked, "output_type": output}).images
    with poisoned_vae(composer.branches[0], number, good.latents[1]):
        problem = fails(composer, {**asked, "output_type": output}, "picture 1, sd/v1-5, after the last step", "VAE", "mend:")
        with pytest.raises(NotFinite, match="VAE"):
            composer.branches[0].decode(good.latents)
    for mine, theirs in zip(problem.result.images, (whole[0], whole[2]), strict=True):
        assert mine.tobytes() == theirs.tobytes() if output == "pil" else bool((mine == theirs).all())
    others_are_as_ever(problem, good)


@pytest.mark.parametrize("scheduler", ["ddim", "pndm", "euler", "euler-ancestral", "dpm++-2m", "unipc"])
def test_no_solver_spreads_it(scheduler: str) -> None:
    """Guards: multistep histories and drawn noise of the other pictures."""
    asked = {"prompt": [PROMPT] * 3, "condition": [TWO] * 3, "seed": 0, "output_type": "latent"}
    composer = toys(scheduler=scheduler)
    good = composer(**asked)
    with poisoned(composer.branches[1], "prediction", NAN, 3, [1]):
        problem = fails(composer, asked, "toy/spatial, step 4 of")
    others_are_as_ever(problem, good)


@pytest.mark.parametrize("balancer", ["core/balance", "core/paper", "core/fixed"])
def test_no_balancer_spreads_it(balancer: str) -> None:
    """Guards: the state that a balancer carries from step to step."""
    asked = {"prompt": [PROMPT] * 3, "condition": [TWO] * 3, "seed": 0, "output_type": "latent"}
    composer = toys(balancer=balancer)
    good = composer(**asked)
    with poisoned(composer.branches[1], "prediction", INF, 5, [1]):
        problem = fails(composer, asked, "toy/spatial, step 6 of")
    others_are_as_ever(problem, good)


# -- gradients of float16 -----------------------------------------------------------------------------------------------------


def half_toys(monkeypatch: pytest.MonkeyPatch) -> rc.Composer:
    """Toys whose networks say that they are float16: their losses are scaled."""
    monkeypatch.setattr(ToyBranch, "dtype", torch.float16)
    return toys(balancer_options={"warmup": 0.0, "finish": 1.0})


def overflows(branch: Any, above: float, picture: int) -> None:
    """Gradients of the maps of one picture are infinite while the loss scale is larger than `above`, which its gradient shows."""
    attend = branch.attend
    told: list[float] = []

    def bad(z: Tensor, now: Any, conditioning: Any) -> Tensor:
        maps: Tensor = attend(z, now, conditioning) * 1.0

        def grow(grad: Tensor) -> Tensor:
            told.append(float(grad[picture].abs().max()))
            if told[-1] > told[0] / 4096 * above:
                grad = grad.clone()
                grad[picture] = INF
            return grad

        if maps.requires_grad:
            maps.register_hook(grow)
        return maps

    branch.attend = bad


def test_an_overflow_of_float16_is_dropped_by_design(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: the loss scale goes down, no picture fails, and the others do not feel it."""
    asked = {"prompt": [PROMPT] * 3, "condition": [TWO] * 3, "seed": 0, "output_type": "latent"}
    plain = half_toys(monkeypatch)(**asked)
    composer = half_toys(monkeypatch)
    overflows(composer.branches[1], 64, 1)
    result = composer(**asked)
    assert len(result.images) == 3 and torch.equal(result.latents[[0, 2]], plain.latents[[0, 2]])
    felt = [bool(e.grad_latents[1, 1] == 0) for e in result.trace.entries if e.grad_latents is not None]
    assert felt[0] and not felt[-1], "dropped at first, there once the scale is small enough"


def test_at_the_smallest_loss_scale_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: a gradient that no loss scale mends."""
    composer = half_toys(monkeypatch)
    asked = {"prompt": [PROMPT] * 3, "condition": [TWO] * 3, "seed": 0, "output_type": "latent", "num_inference_steps": 20}
    plain = composer(**asked)
    overflows(composer.branches[1], -1, 1)
    problem = fails(composer, asked, "toy/spatial, step 13 of 20: the gradient", "bfloat16")
    others_are_as_ever(problem, plain)


# -- cost ---------------------------------------------------------------------------------------------------------------------


def test_looking_reads_nothing_back() -> None:
    """Guards: no check waits for the device. A meta tensor has no numbers: whatever reads one raises."""
    meta = torch.device("meta")
    finite, step = Finite(("a", "b"), (torch.float16,) * 2, 2, meta), None
    z = torch.empty(2, 4, 8, 8, device=meta, dtype=torch.float16)
    finite.see("text", z, step, 0)
    finite.see("weights", torch.empty(2, 2, 1, 8, 8, device=meta), step, dim=1)
    assert finite.clean("prediction", z, step, 1).shape == z.shape
    scale, factors = LossScale(), torch.empty(2, device=meta)
    scale.halve(factors, peaks(z).isfinite())
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(z[0, 0, 0, 0] > 0)  # it would have raised


# -- the message ------------------------------------------------------------------------------------------------------------------


def test_a_guidance_scale_that_no_number_outlives() -> None:
    """Guards: all pictures of a batch fail, and what is to be done is what made them fail."""
    composer, asked, _ = drawn(*PAIRS[0])
    fails(composer, {**asked, "guidance_scale": 1e39}, "3 of 3 pictures failed", "sd/v1-5, step 1 of 3", "smaller guidance_scale")


def test_toy_options_are_as_they_were() -> None:
    """Guards: a shift that is finite fails nothing."""
    composer = toys("toy/fidelity", {"name": "toy/spatial", "options": ToyOptions(shift=0.1).model_dump()})
    assert bool(composer(PROMPT, TWO, seed=0, output_type="latent").latents.isfinite().all())
