"""A hint: a picture that stands in the condition itself, with boxes for its regions or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from realcompo.conditions import Hint
from realcompo.conditions.hint import SAMPLE
from realcompo.errors import BadCondition
from realcompo.recipes.configuration import resolve
from realcompo.recipes.recipe import dump_condition, read_condition

BOXES = {"a cat": (0.1, 0.1, 0.5, 0.9), "a dog": (0.5, 0.1, 0.9, 0.9)}


@pytest.fixture
def edges() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))


def test_a_recipe_carries_its_pixels(edges: Image.Image) -> None:
    hint = Hint.from_picture(edges, "canny", BOXES)
    again = read_condition("hint", dump_condition(hint))
    assert isinstance(again, Hint) and again == hint and again.size == (40, 60)
    assert np.array_equal(np.asarray(again.image((40, 60))), np.asarray(edges))
    assert again.image((80, 120)).size == (120, 80)


def test_a_recipe_names_its_file(edges: Image.Image, tmp_path: Path) -> None:
    edges.save(tmp_path / "edges.png")
    (tmp_path / "scene.toml").write_text(
        'version = 1\n[[branches]]\nname = "sd/v1-5"\n[[pictures]]\nprompt = "a cat and a dog"\n'
        '[pictures.conditions.hint]\nfile = "edges.png"\nof = "depth"\nboxes = { "a cat" = [0.1, 0.1, 0.5, 0.9] }\n',
        encoding="utf-8",
    )
    found = resolve(tmp_path / "scene.toml").recipe.pictures[0].conditions["hint"]
    assert isinstance(found, Hint) and (found.of, found.items[0].phrase) == ("depth", "a cat")
    assert np.array_equal(np.asarray(found.image((40, 60))), np.asarray(edges))


def test_the_first_regions_alone(edges: Image.Image) -> None:
    """Black where the others' boxes are, so that a picture with fewer regions is another hint."""
    one = Hint.from_picture(edges, "tile", BOXES).only(1)
    pixels = np.asarray(one.image((40, 60)))
    assert [item.phrase for item in one.items] == ["a cat"]
    assert not pixels[8:32, 34:50].any() and np.array_equal(pixels[:, :28], np.asarray(edges)[:, :28])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"of": "cany"}, "no kind of hint is called 'cany'"),
        ({"png": "AAAA"}, "no PNG in base64"),
        ({"png": "not base64!"}, "no PNG in base64"),
        ({"items": [{"phrase": "a cat", "box": [0.5, 0.1, 0.2, 0.9]}]}, "has no area"),
    ],
    ids=["another kind", "no picture", "no base64", "a bad box"],
)
def test_bad_input(told: dict[str, Any], said: str) -> None:
    with pytest.raises(BadCondition, match=said) as caught:
        Hint({**SAMPLE, **told})
    assert caught.value.mend


def test_another_shape_and_no_file(edges: Image.Image, tmp_path: Path) -> None:
    with pytest.raises(BadCondition, match="the hint is 60×40"):
        Hint.from_picture(edges, "canny").image((64, 64))
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(BadCondition, match="cannot be read as a picture"):
        Hint.from_file(tmp_path / "text.png", "canny")
