"""A second pass over what the first drew, made larger: its steps, its cost, a stop in either, and upscalers that break their contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import realcompo as rc
from realcompo.errors import PluginProblem
from realcompo.interfaces import Upscaler
from realcompo.testing import samples
from realcompo.testing.toys import toy_registry
from tests.toyworld import PROMPT, TWO, toys


def pixels(image: Any) -> np.ndarray[Any, Any]:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("upscaler", ["core/latent", "core/lanczos"])
def test_a_second_pass_draws_over_the_first_made_larger(upscaler: str) -> None:
    composer = toys(dtype="float32")
    first = composer(PROMPT, TWO, seed=0)
    weak, strong = (composer(PROMPT, TWO, seed=0, hires={"scale": 2, "strength": s, "steps": 20, "upscaler": upscaler}) for s in (0.1, 1.0))
    assert first.image.size == (64, 64) and weak.image.size == strong.image.size == (128, 128)
    assert [len(r.trace.entries) for r in (first, weak, strong)] == [10, 12, 30]
    larger = pixels(first.image.resize((128, 128), Image.Resampling.BICUBIC))
    assert np.abs(pixels(weak.image) - larger).mean() < 0.6 * np.abs(pixels(strong.image) - larger).mean()
    assert [entry.step.index for entry in weak.trace.entries] == list(range(12)) and weak.trace.entries[0].step.count == 12
    assert weak.recipe.hires is not None and first.recipe.hires is None


def test_two_traces_are_one_in_the_unit_of_the_first() -> None:
    from dataclasses import replace

    from realcompo.pictures.trace import Cost

    one = toys()(PROMPT, TWO, seed=0).trace
    first = replace(one, cost=Cost({"predict a": 4.0, "decode": 1.0}, unit=10.0))
    second = replace(one, entries=[replace(e, spent=3.0) for e in one.entries], cost=Cost({"predict a": 3.0, "encode": 1.0}, unit=40.0))
    both = first.then(second)
    assert both.cost.parts == {"predict a": 16.0, "decode": 1.0, "encode": 4.0} and both.cost.unit == 10.0
    assert both.entries[-1].spent == 4.0 + 4 * 3.0 and both.predict_calls == 2 * one.predict_calls
    assert both.cost.sampling == 16.0, "encoding and decoding are no sampling"


def test_a_composer_keeps_its_second_pass_and_a_call_may_leave_it_out() -> None:
    composer = toys(hires={"height": 96, "width": 96})
    assert composer(PROMPT, TWO, seed=0).image.size == (96, 96)
    assert composer(PROMPT, TWO, seed=0, hires=False).image.size == (64, 64)
    import copy
    import pickle

    assert copy.deepcopy(composer).hires == composer.hires
    assert toys().hires is None and pickle.dumps(rc.Recipe(hires=1.5))


def test_a_second_pass_is_over_a_given_picture_too_and_tells_of_its_steps() -> None:
    seen: list[Any] = []
    photo = samples.photo(0, 64, 64)
    toys()(PROMPT, TWO, seed=0, image=photo, strength=0.5, hires=1.5, progress=lambda step, event: seen.append((step, event.passes)))
    assert [passes for _, passes in seen] == [(1, 2)] * 5 + [(2, 2)] * 5
    assert [step.index for step, _ in seen] == [0, 1, 2, 3, 4] * 2


@pytest.mark.parametrize("at", [3, 12], ids=["first pass", "second pass"])
def test_a_stop_in_either_pass_keeps_what_it_expected(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from realcompo.errors import Stopped

    count: list[int] = []

    def progress(step: Any, event: Any) -> None:
        count.append(step.index)
        if len(count) - 1 == at:
            event.stop(keep=True)

    with pytest.raises(Stopped) as caught:
        toys(dtype="float32")(PROMPT, TWO, seed=0, hires=2, progress=progress)
    image = caught.value.result.image
    assert image.size == ((64, 64) if at == 3 else (128, 128)) and image.facts["stopped"] == at
    for module in ("realcompo.draw.kept", "realcompo.draw.reproduce", "realcompo.compose.ensemble"):
        monkeypatch.setattr(f"{module}.installed", toy_registry)
    image.save(tmp_path / "a.png")
    assert rc.reproduce(tmp_path / "a.png").same


class Stubborn(Upscaler):
    """Returns its pictures as they are."""

    def __call__(self, what: Any, size: tuple[int, int]) -> Any:
        return what


class StubbornLatents(Stubborn):
    works_on = "latents"


@pytest.mark.parametrize("cls", [Stubborn, StubbornLatents])
def test_an_upscaler_that_breaks_its_contract_is_told(cls: type[Upscaler], monkeypatch: pytest.MonkeyPatch) -> None:
    composer = toys()
    monkeypatch.setattr(composer.registry, "upscaler", lambda name, options: cls())
    with pytest.raises(PluginProblem, match=f"the upscaler {cls.__name__} returned"):
        composer(PROMPT, TWO, seed=0, hires=2)
