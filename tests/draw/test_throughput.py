"""The throughput that tools/throughput.py tells is counted as its page says: by planted moments, and once in truth, of a toy."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import pytest

from realcompo.recipes.recipe import PictureEntry, Recipe
from tests import ROOT
from tools.throughput import END, RECORD, START, by_workers, drawn_into, rate_of, summary, turns

PAGE = ROOT / "docs" / "scale.md"


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


def test_the_page_tells_the_record() -> None:
    """docs/scale.md has what docs/results/throughput.json says, and no other figure; the record is the sum of its rounds and keeps what is
    promised. The control: another record is another page."""
    page, record = PAGE.read_text("utf-8"), json.loads((ROOT / RECORD).read_text("utf-8"))
    assert START in page and END in page
    assert drawn_into(page, record) == page, "docs/scale.md is stale: make reference"
    assert summary(record["pictures_a_second"]) == {name: record[name] for name in ("two over one", "engine's share")}
    assert record["two over one"]["median"] >= 1.9 and record["engine's share"]["median"] <= 0.05
    assert f"**{record['two over one']['median']:.2f} times**" in page and "none that can be seen" in page
    other = copy.deepcopy(record)
    other["pictures_a_second"] = [{"bare": 1.0, "one": 0.96, "two": 1.44}] * 3
    other |= summary(other["pictures_a_second"])
    told = drawn_into(page, other)
    assert "3 rounds) two workers draw **1.50 times** what one does (1.50 to 1.50). The engine's share is 4.0% (4.0% to 4.0%)." in told
    assert drawn_into(told, record) == page, "drawn anew over what stood there"


@pytest.mark.deep
@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_every_picture_has_its_moment(tmp_path: Path) -> None:
    cats = tuple(PictureEntry(prompt=f"a cat {n}") for n in range(4))
    recipe = Recipe(branches=("mini/fidelity",), num_inference_steps=2, device="cpu", pictures=cats)  # type: ignore[arg-type]
    stamps = by_workers(recipe, tmp_path, 2)
    assert len(stamps) == len(list(tmp_path.glob("*.png"))) == 4 and stamps == sorted(stamps)
