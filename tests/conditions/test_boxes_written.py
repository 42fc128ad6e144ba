"""How boxes and poses are written wrong the first time: each is told with the form that is meant, not by Python's own error."""

from __future__ import annotations

from typing import Any

import pytest

from realcompo import Boxes, Keypoints
from realcompo.conditions.skeletons import skeleton
from realcompo.errors import BadCondition

BOX = (0.1, 0.3, 0.5, 0.9)


@pytest.mark.parametrize("wrong", [[BOX], [("a cat", BOX, 1)], [(BOX, "a cat")], ["a cat"], "a cat"], ids=str)
def test_boxes_without_their_phrases_are_told(wrong: Any) -> None:
    with pytest.raises(BadCondition, match=r"is no phrase with its box\n  mend: write \{\"a cat\""):
        Boxes(wrong)


def test_boxes_with_their_phrases_are_taken() -> None:
    assert Boxes([("a cat", BOX), ("a cat", BOX)]).items[1].id == "a cat#2"
    assert Boxes([["a cat", list(BOX)]]) == Boxes({"a cat": BOX})


@pytest.mark.parametrize(
    "wrong",
    [[(0.1, 0.1)], [("a person", (0.1, 0.1))], {"a person": [[0.1, 0.1]] * 18}, {"a person": {"nose": (0.1, 0.1, 0.9)}}, [7]],
    ids=["points-alone", "one-point", "a-list-of-18", "with-confidence", "a-number"],
)
def test_poses_without_named_points_are_told(wrong: Any) -> None:
    with pytest.raises(BadCondition, match=r'is no person with named points.*\n  mend: write \{"a dancer"') as told:
        Keypoints(wrong)
    assert "from_openpose" in str(told.value.mend) and "pydantic" not in str(told.value)


def test_a_skeleton_needs_a_box_with_area() -> None:
    with pytest.raises(BadCondition, match="has no area"):
        skeleton("running", (0.2, 0.0, 0.2, 1.0))
    assert skeleton("running", (0.2, 0.0, 0.4, 1.0))["nose"] != skeleton("running", (0.2, 0.0, 0.4, 1.0))["neck"]
