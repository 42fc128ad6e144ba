"""Several noises a picture: the best placed goes on as if it had been drawn alone, the others are asked no more; each with its control."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import realcompo as rc
from realcompo.compose.candidates import Noises, noise_seed
from realcompo.compose.decided import Decided
from realcompo.draw.reproduce import reproduce
from realcompo.errors import BadOption, NotFinite, RealCompoError, Remark, Stopped
from realcompo.interfaces import Prediction, Step
from realcompo.testing.toys import toy_registry
from tests.toyworld import PROMPT, TWO, final_loss, toys

ONE = rc.Boxes({"a cat": (0.1, 0.1, 0.5, 0.9)})
SMALL = rc.Boxes({"a cat": (0.6, 0.55, 0.85, 0.9)})
LAYOUTS = (TWO, ONE, SMALL)
N, AT = 4, 3
"""Noises a picture, and the step before which one is chosen: 0.3 of 10."""
GUIDED = {"name": "toy/fidelity", "guidance_scale": 3.0}
WAYS: dict[str, dict[str, Any]] = {
    "default": {"balancer": "core/guided"},
    "lagged": {"balancer": "core/guided", "balancer_options": {"lagged": True}},
    "feedback": {"balancer": "core/feedback"},
    "balance": {},
    "lagged-probe": {"probe": {"lagged": True}},
    "shared": {"fidelity": GUIDED, "spatial": {"name": "toy/spatial", "guidance_scale": 2.0}, "guidance": {"unconditional": "shared"}},
    "shift": {"spatial": {"name": "toy/spatial", "options": {"shift": 0.2}}},
    "offload": {"offload": True},
    "unipc": {"scheduler": "unipc"},
    "pndm": {"scheduler": "pndm", "balancer": "core/guided"},
    "euler-ancestral": {"scheduler": "euler-ancestral"},
}


def drawn(composer: rc.Composer, **more: Any) -> rc.Result:
    return composer([PROMPT] * 3, list(LAYOUTS), seed=[4, 5, 6], output_type="latent", **more)


def alone(composer: rc.Composer, b: int, number: int, **more: Any) -> rc.Result:
    """Picture b of `drawn`, by one noise."""
    return composer(PROMPT, LAYOUTS[b], seed=noise_seed(4 + b, number), output_type="latent", **more)


@pytest.mark.parametrize("way", sorted(WAYS))
def test_what_is_chosen_is_drawn_as_if_it_were_alone(way: str) -> None:
    """Whatever balances, probes, moves and solves: also where several steps are remembered, and noise is drawn on the way."""
    result, plain = drawn(toys(candidates=N, **WAYS[way])), toys(**WAYS[way])
    chosen = result.trace.chosen
    assert len(set(chosen)) > 1 and any(chosen), "the control: other noises than the first were chosen"
    for b, number in enumerate(chosen):
        own = alone(plain, b, number)
        assert torch.allclose(result.latents[b], own.latents[0], atol=1e-6), b
        assert result.facts["decided"][b]["candidate"] == number
        assert not torch.allclose(result.latents[b], alone(plain, b, (number + 1) % N).latents[0], atol=1e-2), "the control"
        entries = zip(result.trace.entries, own.trace.entries, strict=True)
        assert all(torch.allclose(mine.weights[:, b], one.weights[:, 0]) for mine, one in entries)


def test_the_choice_is_by_the_worst_region_of_the_fidelity_branch_s_maps() -> None:
    """λ is what the first move of a picture drawn alone reads at the same z, over what attention that knows nothing has."""
    options = {"plant": AT / 10, "until": 0.6, "moves": 6}
    result = drawn(toys(candidates=N, balancer="core/guided", balancer_options=options))
    plain = toys(balancer="core/guided", balancer_options=options)
    for b in range(3):
        told = []
        for number in range(N):
            own = alone(plain, b, number)
            loss = own.trace.entries[AT].move_loss
            assert loss is not None
            even = 1 - own.batch_regions.masks(8, 8).mean(dim=(-2, -1))[0]
            told.append(float((loss[0, 0] / even).max()))
        assert list(result.trace.candidates[b]) == pytest.approx(told, abs=1e-6)
        assert result.trace.chosen[b] == told.index(min(told))


def test_the_best_placed_ends_better_than_one_noise_and_the_worst_placed_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = list(range(8))
    how: dict[str, Any] = {"balancer": "core/hand-over", "balancer_options": {"share": 0.3}}

    def loss(**more: Any) -> float:
        composer = toys(**how, **more)
        result = composer([PROMPT] * len(seeds), [TWO] * len(seeds), seed=seeds, output_type="latent")
        return float(final_loss(composer, result).mean())

    one, best = loss(), loss(candidates=N)
    choose = Noises.choose
    monkeypatch.setattr(Noises, "choose", lambda self, worst, told=(): choose(self, -worst, told))
    worst = loss(candidates=N)
    assert best < one < worst, (best, one, worst)


def test_the_others_are_asked_no_more_and_the_text_is_encoded_once() -> None:
    composer = toys(candidates=N, balancer="core/guided")
    seen: dict[str, list[tuple[int, int]]] = {"predict": [], "attend": []}
    encoded: list[int] = []
    for branch in composer.branches:
        encode = branch.encode
        branch.encode = lambda request, encode=encode: encoded.append(len(request.prompts)) or encode(request)  # type: ignore[method-assign]
        for name, calls in seen.items():
            call = getattr(branch, name)

            def spy(z: Tensor, step: Step, *rest: Any, call: Any = call, calls: list[tuple[int, int]] = calls, **more: Any) -> Any:
                calls.append((step.index, len(z)))
                return call(z, step, *rest, **more)

            setattr(branch, name, spy)
    drawn(composer)
    assert encoded == [3, 3]
    assert [count for _, count in seen["predict"]] == [3 * N] * AT + [3] * (10 - AT)
    assert (AT, 3 * N) in seen["attend"] and all(count <= 3 for index, count in seen["attend"] if index > AT)


def test_one_candidate_is_none_and_the_first_noise_is_the_seed_s() -> None:
    plain, one = drawn(toys()), drawn(toys(candidates=1))
    assert torch.equal(plain.latents, one.latents) and not one.trace.chosen and "decided" not in one.facts
    assert noise_seed(7, 0) == 7 and len({noise_seed(7, n) for n in range(64)} | {noise_seed(8, n) for n in range(64)}) == 128


def test_when_it_is_chosen() -> None:
    """After the share of the run, after one step at the earliest, and in a run of one step before it."""
    seen: list[int] = []
    for until, steps in ((0.3, 10), (0.0, 10), (0.99, 10), (0.5, 1)):
        composer = toys(candidates={"count": 2, "until": until}, num_inference_steps=steps)
        attend = composer.branches[0].attend
        first: list[int] = []

        def spy(z: Tensor, step: Step, conditioning: Any, attend: Any = attend, first: list[int] = first) -> Tensor:
            first += [step.index] if len(z) == 6 and not torch.is_grad_enabled() else []
            found: Tensor = attend(z, step, conditioning)
            return found

        composer.branches[0].attend = spy  # type: ignore[method-assign]
        drawn(composer)
        seen.append(first[-1])
    assert seen == [3, 1, 9, 0]


def test_progress_sees_pictures_and_a_stopped_run_keeps_them() -> None:
    sizes: list[tuple[int, ...]] = []

    def watch(step: Step, event: Any) -> None:
        told = event.acts.shape[1], len(event.preview()), len(event.clean), event.weights.shape[1], len(event.spent_each)
        sizes.append(told)

    result = drawn(toys(candidates=N), progress=watch)
    assert set(sizes) == {(3, 3, 3, 3, 3)} and len(sizes) == 10
    for last in (1, 6):  # before the choice the first noise is shown, after it the chosen one

        def stop(step: Step, event: Any, last: int = last) -> None:
            if step.index == last:
                event.stop(keep=True)

        with pytest.raises(Stopped) as stopped:
            drawn(toys(candidates=N), progress=stop)
        kept = stopped.value.result
        chosen = result.trace.chosen if last > AT else (0, 0, 0)
        assert kept is not None and kept.trace.chosen == (chosen if last > AT else ())
        for b in range(3):
            with pytest.raises(Stopped) as own:
                alone(toys(), b, chosen[b], progress=stop)
            assert own.value.result is not None
            assert torch.allclose(kept.latents[b], own.value.result.latents[0], atol=1e-6)


def test_a_callback_is_given_all_noises() -> None:
    sizes = []

    def callback(_: Any, index: int, t: float, told: dict[str, Any]) -> dict[str, Any]:
        sizes.append(len(told["latents"]))
        return told

    result = drawn(toys(candidates=N), callback_on_step_end=callback)
    assert set(sizes) == {3 * N} and len(result.latents) == 3


@pytest.mark.parametrize("with_mask", [False, True], ids=["image", "mask"])
def test_over_a_picture(with_mask: bool) -> None:
    image, mask = Image.new("RGB", (64, 64), (200, 120, 40)), Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 48, 64))
    over: dict[str, Any] = {"image": image, "mask_image": mask} if with_mask else {"image": image, "strength": 0.8}
    result = drawn(toys(candidates=N), **over)
    assert any(result.trace.chosen), "the control"
    for b, number in enumerate(result.trace.chosen):
        assert torch.allclose(result.latents[b], alone(toys(), b, number, **over).latents[0], atol=1e-6)
    pictures = toys(candidates=N)([PROMPT] * 3, list(LAYOUTS), seed=[4, 5, 6], **over).images
    assert len(pictures) == 3 and (not with_mask or pictures[0].getpixel((60, 30)) == (200, 120, 40))


def test_a_second_pass_goes_on_with_the_chosen() -> None:
    """Also what is drawn on the way, there and here, is the chosen noise's own."""
    settings: dict[str, Any] = {"hires": 2, "scheduler": "euler-ancestral"}
    result = drawn(toys(candidates=N, **settings))
    assert any(result.trace.chosen) and len(result.trace.entries) > 10
    for b, number in enumerate(result.trace.chosen):
        own = alone(toys(**settings), b, number)
        assert torch.allclose(result.latents[b], own.latents[0], atol=1e-6)


def test_a_noise_that_fails_is_not_chosen_and_fails_no_picture() -> None:
    composer = toys(candidates=N)
    clean = drawn(composer)
    broken = [b * N + number for b, number in enumerate(clean.trace.chosen)]
    predict = composer.branches[1].predict

    def spoilt(z: Tensor, step: Step, conditioning: Any, read: bool = False) -> Prediction:
        told = predict(z, step, conditioning, read)
        if len(z) == 3 * N:
            told.noise[broken] = math.nan
        return told

    composer.branches[1].predict = spoilt  # type: ignore[method-assign]
    result = drawn(composer)
    assert all(new != old for new, old in zip(result.trace.chosen, clean.trace.chosen, strict=True))
    for b, number in enumerate(result.trace.chosen):
        assert torch.allclose(result.latents[b], alone(toys(), b, number).latents[0], atol=1e-6)
        assert math.isinf(result.trace.candidates[b][clean.trace.chosen[b]])


def test_a_picture_fails_if_all_its_noises_do() -> None:
    composer = toys(candidates=N)
    predict = composer.branches[1].predict

    def spoilt(z: Tensor, step: Step, conditioning: Any, read: bool = False) -> Prediction:
        told = predict(z, step, conditioning, read)
        told.noise[N : 2 * N if len(z) > 3 else 0] = math.nan
        return told

    composer.branches[1].predict = spoilt  # type: ignore[method-assign]
    with pytest.raises(NotFinite) as failed:
        drawn(composer)
    assert list(failed.value.failed) == [1] and failed.value.result is not None
    assert [entry.seed for entry in failed.value.result.recipe.pictures] == [4, 6]


def test_what_was_chosen_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a PNG; the control, with the fact taken out and the choice turned round, is another picture."""
    composer = toys(candidates=N)
    result = composer(PROMPT, TWO, seed=5)
    result.image.save(path := tmp_path / "one.png")
    told = Decided.read(result.facts["decided"][0], "here")
    assert told is not None and told.candidate == result.trace.chosen[0]
    assert reproduce(path, registry=toy_registry()).same
    choose = Noises.choose
    monkeypatch.setattr(Noises, "choose", lambda self, worst, told=(): choose(self, -worst, told))
    assert reproduce(path, registry=toy_registry()).same
    monkeypatch.setattr(Decided, "read", classmethod(lambda cls, data, where: None))
    assert not reproduce(path, registry=toy_registry()).same


def test_a_picture_without_regions_has_one_noise_and_it_is_said() -> None:
    settings: dict[str, Any] = {"registry": toy_registry(), "num_inference_steps": 10, "device": "cpu"}
    with pytest.warns(Remark, match="without a condition"):
        result = rc.Composer("toy/fidelity", candidates=N, **settings)("a cat", seed=3, output_type="latent")
    plain = rc.Composer("toy/fidelity", **settings)("a cat", seed=3, output_type="latent")
    assert result.trace.chosen == (0,) and torch.equal(result.latents, plain.latents)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (0, "candidates"),
        (65, "candidates"),
        ("many", "candidates"),
        ({"count": 3, "until": 1}, "until"),
        ({"until": 0.3}, "count"),
        ({"count": 3, "number": 3}, "number"),
        (True, "candidates"),
    ],
    ids=str,
)
def test_what_is_no_number_of_candidates(given: Any, said: str) -> None:
    with pytest.raises(RealCompoError, match=said):
        toys(candidates=given)


def test_noises_need_seeds() -> None:
    composer = toys(candidates=N)
    with pytest.raises(BadOption, match="beside latents"):
        composer(PROMPT, TWO, latents=torch.randn(1, 4, 8, 8))
    with pytest.raises(BadOption, match="a generator that has no seed"):
        composer([PROMPT] * 2, [TWO] * 2, generator=torch.Generator().manual_seed(1))
    with pytest.raises(BadOption, match="noises in one batch"):
        composer([PROMPT] * 257, [TWO] * 257)
    assert composer._branches is None, "before weights are loaded"
    given = composer(PROMPT, TWO, generator=torch.Generator().manual_seed(5), output_type="latent")
    assert torch.equal(given.latents, composer(PROMPT, TWO, seed=5, output_type="latent").latents)


def test_a_recipe_holds_them() -> None:
    composer = toys(candidates={"count": 3, "until": 0.2})
    recipe = composer.recipe()
    assert recipe.plain()["candidates"] == {"count": 3, "until": 0.2} and "candidates" not in toys().recipe().plain()
    again = rc.Composer.from_recipe(recipe, toy_registry())
    assert again.candidates == composer.candidates
    assert torch.equal(drawn(again).latents, drawn(composer).latents)
