"""The throughput that tools/throughput.py tells is counted as its page says: by planted moments, and once in truth, of a toy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from realcompo.recipes.recipe import PictureEntry, Recipe
from tools.throughput import by_workers, rate_of, summary, turns


def test_a_rate_begins_when_all_workers_have_begun() -> None:
    assert rate_of([10, 11, 12, 13]) == 1 and rate_of([10, 10, 11, 11, 12, 12], workers=2) == 2
    with pytest.raises(ValueError, match="2 pictures by 2 workers"):
        rate_of([1, 2], workers=2)


def test_rounds_are_compared_within_themselves() -> None:
    """A machine that is twice as slow in the second round changes neither figure; a slow engine changes both."""
    even = [{"bare": 1.0, "one": 0.98, "two": 1.9}, {"bare": 0.5, "one": 0.49, "two": 0.95}]
    assert summary(even)["engine's share"] == {"median": 0.02, "least": 0.02, "most": 0.02}
    assert summary(even)["two over one"]["least"] == summary(even)["two over one"]["most"] == round(1.9 / 0.98, 4)
    slow = [{**one, "one": one["one"] / 2} for one in even]
    assert summary(slow)["engine's share"]["median"] == 0.51 and summary(slow)["two over one"]["median"] > 3
    assert [way for _, way in turns(2)] == ["bare", "one", "two", "two", "one", "bare"]


@pytest.mark.deep
@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_every_picture_has_its_moment(tmp_path: Path) -> None:
    cats = tuple(PictureEntry(prompt=f"a cat {n}") for n in range(4))
    recipe = Recipe(branches=("mini/fidelity",), num_inference_steps=2, device="cpu", pictures=cats)  # type: ignore[arg-type]
    stamps = by_workers(recipe, tmp_path, 2)
    assert len(stamps) == len(list(tmp_path.glob("*.png"))) == 4 and stamps == sorted(stamps)
