"""One rule for every argument: numbers of other types are taken as what they are, and what cannot be meant is refused by name before
weights are loaded; copies of a composer."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import realcompo as rc
from realcompo import arguments
from realcompo.errors import BadOption, BadRecipe, Incompatible, RealCompoError, Remark
from realcompo.recipes.configuration import resolve
from realcompo.recipes.recipe import PictureEntry, plain_data
from tests import examples, sliced
from tests.toyworld import PROMPT, TWO, toys

pytestmark = pytest.mark.filterwarnings("ignore::realcompo.errors.Remark")

MEANS_NO_STEPS = [0, -1, -3, 2.5, 4.0, np.float64(4), "4", True, np.True_, [4], math.nan]
NO_SEEDS = [1.5, 2.0, "3x", True, 2**64, -(2**63) - 1, np.float64(3), np.bool_(True), math.inf, b"3"]


@pytest.fixture(scope="module")
def composer() -> rc.Composer:
    """Of toys, two steps; no test changes it."""
    return toys(num_inference_steps=2)


def picture(composer: rc.Composer, **call: Any) -> torch.Tensor:
    return composer(PROMPT, TWO, output_type="latent", **call).latents


def test_numbers_of_numpy_are_the_numbers_that_they_are(composer: rc.Composer) -> None:
    plain = picture(composer, seed=3, num_inference_steps=3, height=64, guidance_scale=2.5, num_images_per_prompt=2)
    other = picture(
        composer,
        seed=np.int64(3),
        num_inference_steps=np.int32(3),
        height=np.uint16(64),
        guidance_scale=np.float32(2.5),
        num_images_per_prompt=np.array(2),
    )
    assert torch.equal(plain, other)
    assert torch.equal(
        picture(composer, seed=np.array([3, 4]), num_images_per_prompt=2), picture(composer, seed=range(3, 5), num_images_per_prompt=2)
    )
    made = toys(num_inference_steps=np.int64(2), height=np.int64(64), width=torch.tensor(64))
    assert made.size == (64, 64) and made.recipe().plain() == toys(num_inference_steps=2, height=64, width=64).recipe().plain()


def said(value: object) -> str:
    """An id that every process gives alike: without addresses."""
    return re.sub(r" at 0x\w+", "", str(value))


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**63, 2**64 - 1, np.int64(-5), np.uint64(2**64 - 1)])
def test_every_seed_that_a_generator_takes_is_in_the_recipe(composer: rc.Composer, seed: Any) -> None:
    result = composer(PROMPT, TWO, seed=seed, output_type="latent")
    (entry,) = result.recipe.pictures
    assert entry.seed == int(seed) and type(entry.seed) is int
    again = composer.compose([PictureEntry.model_validate(entry.model_dump_plain())], output_type="latent")
    assert torch.equal(result.latents, again.latents)


@pytest.mark.parametrize(
    "call",
    [
        *(dict(num_inference_steps=bad) for bad in (*MEANS_NO_STEPS, 1001)),
        *(dict(seed=bad) for bad in NO_SEEDS),
        dict(seed=[1, 2]),
        dict(seed=[None]),
        dict(seed=2**64 - 1, num_images_per_prompt=2),
        *(dict(height=bad) for bad in (0, -64, "64x", 64.0, True, 2**20, math.nan)),
        *(dict(width=bad) for bad in (0, -8, 60.5, [64])),
        *(dict(guidance_scale=bad) for bad in (math.nan, math.inf, -1, "7", True, [7.5], {"toy/fidelity": math.nan}, 1j)),
        *(dict(num_images_per_prompt=bad) for bad in (0, -1, 1.0, "2", True, None, 10**9)),
        *(dict(negative_prompt=bad) for bad in (7, ["a", "b"], [None], b"x", {"a": 1})),
        *(dict(output_type=bad) for bad in ("pill", None, 3, ["pil"])),
        *(dict(callback_on_step_end=bad) for bad in ("f", 3)),
        dict(progress=7),
        *(dict(generator=bad) for bad in (7, "cpu", np.random.default_rng(0), [torch.Generator()] * 2, [None], [])),
    ],
    ids=said,
)
def test_what_cannot_be_meant_is_refused_by_name(call: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = toys(num_inference_steps=2)
    monkeypatch.setattr(type(fresh), "branches", property(lambda self: pytest.fail("weights were loaded first")))
    with pytest.raises(BadOption) as caught:
        fresh(PROMPT, TWO, **call)
    name = next(iter(call)).removeprefix("num_").split("_")[-1]
    assert name in str(caught.value) and len(str(caught.value)) < 400 and caught.value.mend


@pytest.mark.parametrize(
    "latents",
    [
        np.zeros((1, 4, 8, 8), dtype=np.float32),
        torch.zeros(1, 4, 8, 9),
        torch.zeros(4, 8, 8),
        torch.zeros(1, 4, 8, 8, dtype=torch.int64),
        torch.zeros(1, 4, 8, 8, dtype=torch.complex64),
        torch.full((1, 4, 8, 8), math.nan),
        torch.full((1, 4, 8, 8), math.inf),
        "noise",
    ],
    ids=["numpy", "shape", "axes", "ints", "complex", "nan", "inf", "text"],
)
def test_latents_that_no_run_can_start_from(composer: rc.Composer, latents: Any) -> None:
    with pytest.raises(RealCompoError, match="latents"):  # NaN: of that picture alone, see test_finite.py
        composer(PROMPT, TWO, height=64, width=64, latents=latents)


def test_latents_of_another_precision_or_with_a_graph_are_taken(composer: rc.Composer) -> None:
    noise = torch.randn(1, 4, 8, 8).half()
    plain = picture(composer, height=64, width=64, latents=noise)
    assert torch.equal(plain, picture(composer, height=64, width=64, latents=noise.double().requires_grad_()))


@pytest.mark.parametrize("prompt", [None, 7, b"a cat", ["a cat", None], [["a cat"]], {"a": 1}, [], ()])
def test_prompts_that_are_none(composer: rc.Composer, prompt: Any) -> None:
    with pytest.raises(BadOption, match="prompt"):
        composer(prompt, TWO)


def test_prompts_of_other_containers_and_empty_ones() -> None:
    alone = toys(spatial=None, num_inference_steps=2)
    both = alone(["", "a cat"], seed=0, output_type="latent").latents
    assert torch.equal(both, alone(np.array(["", "a cat"]), seed=0, output_type="latent").latents)
    assert torch.equal(both, alone((one for one in ("", "a cat")), seed=0, output_type="latent").latents)


@pytest.mark.parametrize("returned", [[], 7, {"latents": None}, {"latents": torch.zeros(1)}, {"latents": torch.zeros(1, 4, 16, 16).long()}])
def test_what_a_callback_may_not_return(composer: rc.Composer, returned: Any) -> None:
    with pytest.raises(BadOption, match="callback_on_step_end returned"):
        composer(PROMPT, TWO, height=128, width=128, callback_on_step_end=lambda *_: returned)


def test_a_generator_that_was_drawn_from_leaves_no_seed(composer: rc.Composer) -> None:
    """Also in a list: a seed in the recipe would draw another picture."""
    used, fresh, twice = (torch.Generator().manual_seed(n) for n in range(3))
    torch.randn(1, generator=used)
    seeds = [p.seed for p in composer([PROMPT] * 4, TWO, generator=[used, fresh, twice, twice]).recipe.pictures]
    assert seeds == [None, 1, None, None]


def test_pictures_that_are_none(composer: rc.Composer) -> None:
    for bad in ([], None, "a cat", [7], ["a cat"], 3, {"prompt": "a cat"}):
        with pytest.raises(BadOption):
            composer.compose(bad)  # type: ignore[arg-type]
    entry = PictureEntry(prompt=PROMPT, seed=0, conditions={"boxes": TWO})
    one = composer.compose(entry, output_type="latent")  # type: ignore[arg-type]
    assert torch.equal(one.latents, composer.compose([entry.model_dump_plain()], output_type="latent").latents)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        *((dict(num_inference_steps=bad), "num_inference_steps") for bad in (*MEANS_NO_STEPS, 1001)),
        *((dict(height=bad), "height") for bad in (0, -64, "64", 64.5)),
        (dict(offload="no"), "offload"),
        (dict(scheduler=None), "scheduler"),
        (dict(scheduler=7), "scheduler"),
        (dict(scheduler_options=[1]), "scheduler_options"),
        (dict(balancer=None), "balancer"),
        (dict(balancer=7), "balancer"),
        (dict(balancer_options=[1]), "balancer"),
        (dict(probe=7), "probe"),
        (dict(probe=[1]), "probe"),
        (dict(probe={"every": 1.5}), "every"),
        (dict(planner=7), "planner"),
        (dict(device=3.5), "device"),
        (dict(device="warp"), "device"),
        (dict(dtype=7), "dtype"),
        (dict(dtype=[1]), "dtype"),
        (dict(fidelity=None), "fidelity"),
        (dict(spatial=[None]), "spatial"),
        (dict(spatial=7), "spatial"),
    ],
    ids=said,
)
def test_composers_that_cannot_be_made(made: dict[str, Any], words: str) -> None:
    with pytest.raises(RealCompoError) as caught:
        toys(**{"num_inference_steps": 2, **made})
    assert words in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "data",
    [
        *({"num_inference_steps": bad} for bad in (*MEANS_NO_STEPS, None)),
        *({"pictures": [{"prompt": "x", "seed": bad}]} for bad in NO_SEEDS),
        *({"height": bad} for bad in (0, -1, "64", 64.0, True)),
        *({"branches": [{"name": "mini/fidelity", "guidance_scale": bad}]} for bad in (-1, "7", True, math.nan, math.inf)),
        {"offload": "no"},
        {"offload": 1},
        {"probe": {"every": True}},
        {"scheduler_options": {"sigma_min": math.nan}},
    ],
    ids=said,
)
def test_a_recipe_takes_what_a_call_takes(data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadRecipe):
        resolve(data, folder=tmp_path, user_file=tmp_path / "none.toml")


def test_a_recipe_takes_numpys_numbers_as_pythons() -> None:
    data = {
        "num_inference_steps": np.int64(7),
        "branches": [{"name": "mini/fidelity", "guidance_scale": np.float32(2.5), "options": {"lora_scale": np.float64(1)}}],
    }
    recipe = rc.Recipe.model_validate(data)
    assert recipe.num_inference_steps == 7 and type(recipe.branches[0].guidance_scale) is float
    assert plain_data({"a": np.int64(3), "b": [np.bool_(True)]}) == {"a": 3, "b": [True]}
    assert type(plain_data(np.float32(0.5))) is float and type(plain_data(np.bool_(True))) is bool


@settings(max_examples=examples(200))
@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.binary(max_size=3),
        st.lists(st.integers(), max_size=2),
        st.complex_numbers(),
    )
)
def test_a_rule_gives_its_type_or_an_error_that_names_the_argument(value: Any) -> None:
    for rule, kind in ((arguments.steps, int), (arguments.seed, int), (arguments.guidance, float)):
        try:
            found = rule(value, "it")
        except BadOption as error:
            assert "it =" in str(error) and error.mend
        else:
            assert type(found) is kind and found == kind(value) and not isinstance(value, (bool, str))


# -- steps --------------------------------------------------------------------------------------------------------------------


SOLVERS = ("pndm", "ddim", "euler", "euler-ancestral", "dpm++-2m", "dpm++-2m-karras", "unipc")


@pytest.mark.parametrize("scheduler", sliced([(solver,) for solver in SOLVERS], 3))
def test_every_scheduler_does_one_step_and_none_does_more_than_were_trained(scheduler: str) -> None:
    one = toys(scheduler=scheduler, num_inference_steps=1)
    assert picture(one, seed=0).isfinite().all()
    assert picture(one, seed=0, num_inference_steps=999 if scheduler == "ddim" else 40).isfinite().all()
    for bad in (1001, 10**9):
        with pytest.raises(BadOption, match="num_inference_steps"):
            toys(scheduler=scheduler, num_inference_steps=bad)
        with pytest.raises(BadOption, match="num_inference_steps"):
            picture(one, num_inference_steps=bad)


def test_steps_that_fall_beside_the_trained_ones_are_refused_and_late_ones_told() -> None:
    """1,000 steps of "leading" spacing begin past the last trained timestep; 600 begin at the 600th."""
    for scheduler in ("ddim", "pndm", "euler", "dpm++-2m", "unipc"):
        with pytest.raises(BadOption, match="1000 steps"):
            toys(scheduler=scheduler, num_inference_steps=1000)
    with pytest.raises(BadOption, match="499 steps"):  # diffusers would tell the networks timestep -1
        toys(scheduler="ddim", num_inference_steps=499, scheduler_options={"timestep_spacing": "trailing"})
    late = toys(num_inference_steps=600)
    assert any("begin at timestep 600 of 1000" in remark for remark in late.remarks())
    assert not toys(num_inference_steps=50).remarks()
    with pytest.warns(Remark, match="1 steps of ddim begin at timestep 1 "):
        assert toys(num_inference_steps=1)(PROMPT, TWO, seed=0).remarks


# -- copies -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(checkpoint: Callable[[str], Path]) -> tuple[rc.Composer, torch.Tensor]:
    made = rc.Composer(
        {"name": "sd/v1-5", "source": str(checkpoint("sd1")), "guidance_scale": 3},
        [{"name": "gligen/box", "source": str(checkpoint("gligen"))}],
        scheduler="euler",
        scheduler_options={"use_karras_sigmas": True},
        num_inference_steps=2,
        height=64,
        width=64,
        device="cpu",
        balancer="core/balance",
        balancer_options={"rate": 0.1},
    )
    return made, made(PROMPT, TWO, seed=0, output_type="latent").latents


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))], ids=["copy", "deepcopy", "pickle"])
def test_a_copy_of_a_composer_draws_the_same(drawn: tuple[rc.Composer, torch.Tensor], make: Callable[[Any], Any]) -> None:
    composer, latents = drawn
    other = make(composer)
    assert other is not composer and other.recipe().plain() == composer.recipe().plain()
    assert torch.equal(other(PROMPT, TWO, seed=0, output_type="latent").latents, latents)


def test_a_deep_copy_goes_its_own_way(drawn: tuple[rc.Composer, torch.Tensor]) -> None:
    composer, latents = drawn
    other = copy.deepcopy(composer).to(dtype="float64")
    assert other.branches[0].dtype == torch.float64 and composer.branches[0].dtype == torch.float32
    assert torch.equal(composer(PROMPT, TWO, seed=0, output_type="latent").latents, latents)


def test_what_no_pickle_can_hold_is_said_in_a_line(checkpoint: Callable[[str], Path]) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(str(checkpoint("sd1")), safety_checker=None)
    held = rc.Composer(pipeline, num_inference_steps=2, device="cpu", height=64, width=64)
    latents = held("a cat", seed=0, output_type="latent").latents
    assert torch.equal(copy.deepcopy(held)("a cat", seed=0, output_type="latent").latents, latents)
    for wrong in (held, toys(), rc.Composer(held.branches[0], num_inference_steps=2, device="cpu")):
        with pytest.raises(BadOption, match=r"a composer that holds .* cannot be pickled"):
            pickle.dumps(wrong)
    branch = held.branches[0]
    assert copy.copy(branch).unet is branch.unet  # type: ignore[attr-defined]
    for make in (copy.deepcopy, pickle.dumps):
        with pytest.raises(BadOption, match="holds networks"):
            make(branch)


def test_results_are_copied_and_pickled_whole(composer: rc.Composer) -> None:
    result = composer(PROMPT, TWO, seed=0)
    for again in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert torch.equal(again.latents, result.latents) and again.recipe == result.recipe
        assert again.image.text() == result.image.text() and again.image.tobytes() == result.image.tobytes()
        assert [r.box for r in again.regions] == [r.box for r in result.regions] and again.trace.losses == result.trace.losses


def test_errors_are_pickled_whole() -> None:
    """A process pool sends them."""
    error = pickle.loads(pickle.dumps(Incompatible("it does not fit", where="there", mend="mend it")))
    assert (error.what, error.where, error.mend, str(error)) == (
        "it does not fit",
        "there",
        "mend it",
        "there: it does not fit\n  mend: mend it",
    )
