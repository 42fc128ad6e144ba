"""labelme's JSON: shapes with labels, in pixels. Rectangles (corners in any order), polygons, circles and masks become their bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...conditions import Size
from ...conditions.values import number, side
from ...errors import BadCondition
from .base import Layout
from .boxes import bounds, item_of, items_of, stem

_MEND = "labelme writes shapes, each with label and points in pixels"
_FLAT = ("point", "points", "line", "linestrip")
"""Shapes that have no area."""


def is_labelme(data: Any) -> bool:
    """Whether plain data is of this format: a picture's, or a list of such."""
    first = data[0] if isinstance(data, list) and data else data
    return isinstance(first, Mapping) and isinstance(first.get("shapes"), list)


def load(data: Any, where: str, size: Size | None = None) -> list[Layout]:
    """Layouts of labelme's data.

    Args:
        size: (height, width) in pixels, where the file does not say it.

    Raises:
        BadCondition: no such data, a size that nothing says, a box that cannot be drawn.
    """
    tables = data if isinstance(data, list) else [data]
    return [_picture(one, where if len(tables) == 1 else f"{where}, picture {n}", size) for n, one in enumerate(tables)]


def _picture(table: Any, where: str, size: Size | None) -> Layout:
    if not is_labelme(table):
        raise BadCondition("it is not labelme's data", where=where, mend=_MEND)
    height, width = side(table.get("imageHeight")), side(table.get("imageWidth"))
    pixels = (height, width) if height is not None and width is not None else size
    if pixels is None:
        raise BadCondition("nothing says how many pixels the picture has", where=where, mend="say it: --size 640x480")
    items, remarks = [], []
    for n, shape in enumerate(table["shapes"]):
        place = f"{where}, shape {n}"
        if not isinstance(shape, Mapping):
            raise BadCondition("it is no shape", where=place, mend=_MEND)
        kind = str(shape.get("shape_type") or "polygon")
        label = shape.get("label")
        if kind in _FLAT:
            remarks.append(f"{place}: a {kind} ({label!r}) has no area and was left out")
            continue
        points = _points(shape.get("points"), place)
        if kind == "circle" and len(points) == 2:
            (x, y), (a, b) = points
            reach = math.hypot(a - x, b - y)
            points = [(x - reach, y - reach), (x + reach, y + reach)]
        x0, y0, x1, y1 = bounds(points)
        box = (x0 / pixels[1], y0 / pixels[0], x1 / pixels[1], y1 / pixels[0])
        phrase = str(label) if isinstance(label, str | int | float) else ""
        mend = f"labelme writes points in pixels of the picture, {pixels[1]}×{pixels[0]}, two or more apart"
        items.append(item_of(phrase, box, pixels, place, mend, remarks, always=kind == "circle"))
    return Layout("", items_of(items, where), size=pixels, name=stem(table.get("imagePath")), remarks=tuple(remarks))


def _points(value: Any, where: str) -> list[tuple[float, float]]:
    found = []
    for one in value if isinstance(value, list) else ():
        x, y = (number(part) for part in one) if isinstance(one, list) and len(one) == 2 else (None, None)
        if x is None or y is None:
            raise BadCondition("a point is not two finite numbers", where=where, mend="write points = [[x, y], …]")
        found.append((x, y))
    if len(found) < 2:
        raise BadCondition(f"it has {len(found)} points", where=where, mend="a rectangle has two corners, a polygon three or more")
    return found
