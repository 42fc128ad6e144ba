"""The page in a browser, in every run: two boxes by mouse, drawn, and the picture is what the page said it would be."""

from __future__ import annotations

from typing import Any

import pytest
from driver import Tab, expect

from realcompo.draw.reproduce import reproduce
from realcompo.pictures.png import read_recipe

CAT, CAR = "a cat", "a red car"


def test_two_boxes_are_drawn_named_and_become_a_picture_that_reproduces(tab: Tab, registry: Any) -> None:
    """Guards the whole way: pointer → document → recipe → server → events → previews → picture → file."""
    tab.box((0.08, 0.42), (0.46, 0.9), CAT)
    tab.box((0.56, 0.5), (0.94, 0.88), CAR)
    expect(tab.page.get_by_label("Prompt", exact=True)).to_have_value("a cat and a red car")
    tab.steps(5)
    tab.watch_the_stage()
    tab.draw()
    path = tab.done()
    seen = tab.seen_on_the_stage()
    assert len({address for address, _ in seen if "/previews/" in address}) >= 3, seen
    assert seen[-1][0].endswith("/image")
    assert len({str(place) for _, place in seen}) == 1, f"the stage moved while the picture grew: {seen}"

    recipe = read_recipe(path).recipe
    (picture,) = recipe.pictures
    assert (picture.prompt, picture.seed, recipe.num_inference_steps) == ("a cat and a red car", 7, 5)
    assert [one.name for one in recipe.branches] == ["mini/fidelity", "mini/boxes"]
    drawn = {item.phrase: item.box for item in picture.conditions["boxes"].items}
    assert drawn == {phrase: tuple(box) for phrase, box in tab.boxes.items()}
    assert drawn[CAT] == pytest.approx((0.08, 0.42, 0.46, 0.9), abs=0.02)
    assert drawn[CAR] == pytest.approx((0.56, 0.5, 0.94, 0.88), abs=0.02)
    again = reproduce(path, registry=registry)
    assert again.same, again
