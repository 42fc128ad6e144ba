"""A condition in a window of its picture: the same things at the same places of the picture, what is outside left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realcompo.conditions import Boxes, Condition, Keypoints, Segmentation
from realcompo.conditions.cutting import cut
from realcompo.conditions.runs import encode
from realcompo.errors import BadCondition

WINDOW = (0.25, 0.5, 0.75, 1.0)
SIZE = (100, 200)


def test_boxes_are_moved_cut_and_left_out() -> None:
    boxes = Boxes([("a cat", (0.25, 0.5, 0.5, 0.75)), ("a dog", (0.5, 0.25, 1.0, 0.75)), ("a cat", (0.0, 0.0, 0.2, 0.4))])
    found = cut(boxes, WINDOW, SIZE)
    assert isinstance(found, Boxes)
    assert [(item.id, item.box) for item in found.items] == [("a cat", (0.0, 0.0, 0.5, 0.5)), ("a dog", (0.5, 0.0, 1.0, 0.5))]


@given(st.tuples(*[st.floats(0, 1, width=32)] * 4), st.tuples(*[st.floats(-0.5, 1.5, width=32)] * 4))
def test_a_cut_box_is_the_part_inside(box: tuple[float, ...], window: tuple[float, ...]) -> None:
    x0, x1 = sorted(box[:2])
    y0, y1 = sorted(box[2:])
    left, right = sorted(window[:2])
    top, bottom = sorted(window[2:])
    if x1 - x0 < 1e-3 or y1 - y0 < 1e-3 or right - left < 1e-2 or bottom - top < 1e-2:
        return
    found = cut(Boxes([("a cat", (x0, y0, x1, y1))]), (left, top, right, bottom), SIZE)
    assert isinstance(found, Boxes)
    wide, high = min(x1, right) - max(x0, left), min(y1, bottom) - max(y0, top)
    if not found.items:
        assert wide <= 1e-3 * (right - left) or high <= 1e-3 * (bottom - top)
        return
    a, b, c, d = found.items[0].box
    there = (left + a * (right - left), top + b * (bottom - top), left + c * (right - left), top + d * (bottom - top))
    assert np.allclose(there, (max(x0, left), max(y0, top), min(x1, right), min(y1, bottom)), atol=1e-6)


def test_people_keep_the_points_that_are_inside() -> None:
    people = Keypoints({"a dancer": {"nose": (0.5, 0.6), "neck": (0.5, 0.75), "right_wrist": (0.1, 0.9)}, "a runner": {"nose": (0.1, 0.1)}})
    found = cut(people, WINDOW, SIZE)
    assert isinstance(found, Keypoints)
    (dancer,) = found.items
    assert dancer.id == "a dancer" and set(dancer.points) == {"nose", "neck"}
    assert np.allclose(dancer.points["nose"], (0.5, 0.2)) and np.allclose(dancer.points["neck"], (0.5, 0.5))
    with pytest.raises(BadCondition, match="aspect"):
        cut(Keypoints(people.items, size=(200, 100)), WINDOW, SIZE)


@pytest.mark.parametrize("window", [WINDOW, (0.5, -0.5, 1.5, 0.5)], ids=["inside", "beyond the picture"])
def test_maps_show_the_same_pixels(window: tuple[float, float, float, float]) -> None:
    shape = np.zeros((100, 200), bool)
    shape[60:90, 80:140] = True
    corner = np.zeros((100, 200), bool)
    corner[:40, 150:] = True
    told = Segmentation([{"phrase": "a cat", "rle": encode(shape)}], size=(100, 200), backdrop=[{"label": "sky", "rle": encode(corner)}])
    found = cut(told, window, SIZE)
    assert isinstance(found, Segmentation)
    height, width = found.size
    assert abs(width / height - 200 * (window[2] - window[0]) / (100 * (window[3] - window[1]))) < 0.02
    for segments, whole in ((found.items, shape), (found.backdrop, corner)):
        mask = found.mask(segments[0]) if segments else np.zeros(found.size, bool)
        for row in range(0, height, 7):
            for column in range(0, width, 7):
                y = (window[1] + (row + 0.5) / height * (window[3] - window[1])) * 100
                x = (window[0] + (column + 0.5) / width * (window[2] - window[0])) * 200
                inside = 0 <= x < 200 and 0 <= y < 100 and whole[int(y), int(x)]
                assert mask[row, column] == inside


def test_a_kind_of_a_plugin_may_say_how_it_is_cut() -> None:
    class Dots(Condition):
        kind = "dots"

    with pytest.raises(BadCondition, match="dots cannot be cut"):
        cut(Dots(), WINDOW, SIZE)

    class Known(Dots):
        def within(self, window: tuple[float, ...]) -> Condition:
            return Boxes({"a dot": window})

    assert cut(Known(), WINDOW, SIZE) == Boxes({"a dot": WINDOW})
