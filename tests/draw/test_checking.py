"""What is known of a picture before it is drawn: its regions, the tokens they are read at, what a planner will make."""

from __future__ import annotations

import pytest

import realcompo as rc
from realcompo.errors import BadCondition
from realcompo.testing import toy_registry

BOXES = rc.Boxes({"a cat": (0.05, 0.3, 0.45, 0.9), "a dog": (0.55, 0.3, 0.95, 0.9)})


def composer(**more: object) -> rc.Composer:
    return rc.Composer("toy/fidelity", "toy/spatial", registry=toy_registry(), device="cpu", num_inference_steps=4, **more)


def test_regions_stand_in_the_order_of_a_trace_s_maps() -> None:
    found = rc.check_picture(composer(), rc.PictureEntry(prompt="a cat and a dog", conditions={"boxes": BOXES}))
    result = composer()("a cat and a dog", BOXES, seed=0)
    assert [region.id for region in found.regions] == [region.id for region in result.regions] == ["a cat", "a dog"]
    assert found.lacking == () and found.tokens == {"toy/fidelity": None, "toy/spatial": None}, "toys have no tokenizer"


def test_a_picture_that_lacks_its_condition_is_refused_or_planned() -> None:
    bare = rc.PictureEntry(prompt="a cat")
    with pytest.raises(BadCondition, match="picture 3: 'toy/spatial' has no boxes"):
        rc.check_picture(composer(), bare, 3)
    found = rc.check_picture(composer(planner="mini/planner"), bare)
    assert (found.regions, found.lacking) == ((), ("boxes",))


def test_tokens_are_those_of_each_branch() -> None:
    mini = rc.Composer("mini/fidelity", "mini/boxes", device="cpu")
    found = rc.check_picture(mini, rc.PictureEntry(prompt="a red cat", conditions={"boxes": rc.Boxes({"a red cat": (0, 0, 1, 1)})}))
    assert found.tokens["mini/boxes"] == {"a red cat": ("red", "cat")}
