"""How boxes are written wrong the first time: each is told with the form that is meant, not by Python's own error."""

from __future__ import annotations

from typing import Any

import pytest

from realcompo import Boxes
from realcompo.errors import BadCondition

BOX = (0.1, 0.3, 0.5, 0.9)


@pytest.mark.parametrize("wrong", [[BOX], [("a cat", BOX, 1)], [(BOX, "a cat")], ["a cat"], "a cat"], ids=str)
def test_boxes_without_their_phrases_are_told(wrong: Any) -> None:
    with pytest.raises(BadCondition, match=r"is no phrase with its box\n  mend: write \{\"a cat\""):
        Boxes(wrong)


def test_boxes_with_their_phrases_are_taken() -> None:
    assert Boxes([("a cat", BOX), ("a cat", BOX)]).items[1].id == "a cat#2"
    assert Boxes([["a cat", list(BOX)]]) == Boxes({"a cat": BOX})
