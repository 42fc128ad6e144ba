"""Parts of a condition that go with their box: a person's points, a segment's pixels."""

from __future__ import annotations

from .base import Box
from .keypoints import Person
from .runs import encode
from .segmentation import Segment, Segmentation


def moved_person(person: Person, old: Box, new: Box) -> Person:
    """The person with its points where they lie when the box `old` becomes `new`; the very same where it does not."""
    if old == new:
        return person
    points = {name: (_along(x, old, new, 0), _along(y, old, new, 1)) for name, (x, y) in person.points.items()}
    return person.model_copy(update={"points": points})


def moved_segment(whole: Segmentation, segment: Segment, old: Box, new: Box) -> Segment:
    """A segment of a map where it lies when the box `old` becomes `new`: corners move, pixels are taken from the nearest; the very same
    where nothing moves. It covers a pixel at least."""
    if old == new:
        return segment
    height, width = whole.size
    if segment.polygons is not None:
        sides = (width, height)  # x and y take turns
        corners = tuple(
            tuple(_along(value / sides[n % 2], old, new, n % 2) * sides[n % 2] for n, value in enumerate(one)) for one in segment.polygons
        )
        moved = segment.model_copy(update={"polygons": corners})
        if whole.mask(moved).any():
            return moved
    import numpy as np

    before = whole.mask(segment)
    rows = [min(int(_along((y + 0.5) / height, new, old, 1) * height), height - 1) for y in range(height)]
    columns = [min(int(_along((x + 0.5) / width, new, old, 0) * width), width - 1) for x in range(width)]
    inside = np.zeros_like(before)
    x0, x1 = pixel_range(new[0], new[2], width)
    y0, y1 = pixel_range(new[1], new[3], height)
    inside[y0:y1, x0:x1] = True
    after = before[np.ix_(rows, columns)] & inside
    return segment.model_copy(update={"polygons": None, "rle": encode(after if after.any() else inside)})


def _along(value: float, old: Box, new: Box, axis: int) -> float:
    """A share of the picture, moved along one axis as its box is, and kept in the picture."""
    low, side = old[axis], old[axis + 2] - old[axis]
    share = (value - low) / side if side > 0 else 0.5
    return min(max(new[axis] + share * (new[axis + 2] - new[axis]), 0.0), 1.0)


def pixel_range(low: float, high: float, pixels: int) -> tuple[int, int]:
    """The first and the end (exclusive) of the whole pixels that shares from `low` to `high` of a side take: one pixel at least."""
    start = min(round(low * pixels), pixels - 1)
    return start, min(max(round(high * pixels), start + 1), pixels)
