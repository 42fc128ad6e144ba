"""A condition of a whole picture as it is in a window of it, for runs that draw the window alone."""

from __future__ import annotations

from ..errors import BadCondition
from .base import Box, Condition, Size, check_aspect
from .boxes import Boxes
from .keypoints import Keypoints
from .runs import encode
from .segmentation import Segment, Segmentation

LEAST = 1e-4
"""Of a side of the window: what is thinner is not in it."""
FINE = 64
"""Rows of a cut map at least, so that its shape is the window's."""


def cut(condition: Condition, window: Box, size: Size) -> Condition:
    """The condition in shares of the window (x0, y0, x1, y1 in shares of the picture; it may reach beyond). What lies outside is left out,
    what lies across its edge is cut; ids and spans stay. A plugin's kind brings a method `within(window)`.

    Args:
        size: (height, width) of the whole picture.

    Raises:
        BadCondition: a kind that cannot be cut, or a condition that was measured on a picture of another shape.
    """
    if isinstance(condition, Boxes):
        moved = [(item, _cut_box(item.box, window)) for item in condition.items]
        return Boxes([item.model_copy(update={"box": box}) for item, box in moved if box is not None])
    if isinstance(condition, Keypoints):
        check_aspect(condition.size, size, "the pose's picture")
        people = []
        for person in condition.items:
            points = {name: _share(point, window) for name, point in person.points.items()}
            inside = {name: (x, y) for name, (x, y) in points.items() if 0 <= x <= 1 and 0 <= y <= 1}
            if len(inside) > 1:
                people.append(person.model_copy(update={"points": inside}))
        return Keypoints(items=tuple(people))
    if isinstance(condition, Segmentation):
        check_aspect(condition.size, size, "the map")
        return _cut_map(condition, window)
    own = getattr(condition, "within", None)
    if callable(own):
        found: Condition = own(window)
        return found
    raise BadCondition(
        f"{condition.kind} cannot be cut to the surroundings of a mask",
        where="padding_mask_crop",
        mend="leave padding_mask_crop out, or give its class a method within(window)",
    )


def _share(point: tuple[float, float], window: Box) -> tuple[float, float]:
    x0, y0, x1, y1 = window
    return (point[0] - x0) / (x1 - x0), (point[1] - y0) / (y1 - y0)


def _cut_box(box: Box, window: Box) -> Box | None:
    (left, top), (right, bottom) = _share((box[0], box[1]), window), _share((box[2], box[3]), window)
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)
    return (left, top, right, bottom) if right - left > LEAST and bottom - top > LEAST else None


def _cut_map(condition: Segmentation, window: Box) -> Segmentation:
    """Its pixels by the nearest, on a grid of the window's shape."""
    import numpy as np

    height, width = condition.size
    high = max(height, FINE)
    wide = max(1, round(high * (window[2] - window[0]) * width / ((window[3] - window[1]) * height)))
    rows = np.floor((window[1] + (np.arange(high) + 0.5) / high * (window[3] - window[1])) * height).astype(int)
    columns = np.floor((window[0] + (np.arange(wide) + 0.5) / wide * (window[2] - window[0])) * width).astype(int)
    there = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    grid = np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))

    def kept(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        parts = [(segment, condition.mask(segment)[grid] & there) for segment in segments]
        return tuple(one.model_copy(update={"polygons": None, "rle": encode(mask)}) for one, mask in parts if mask.any())

    return Segmentation(items=kept(condition.items), backdrop=kept(condition.backdrop), size=(high, wide))
