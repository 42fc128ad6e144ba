"""Which numbers a reply's boxes are in. Shares of the picture are asked for; other readings are used only where exactly one is possible."""

from __future__ import annotations

from collections.abc import Sequence

from realcompo.conditions import Box

from .errors import shown
from .reply import RawObject, Unreadable

LEAST_SIDE, LEAST_AREA = 0.01, 0.0004
"""Shares of the picture: a smaller box holds nothing that a network could draw."""
_SLACK = 0.005
"""A box may stick out by a rounding error; it is cut back."""

ASKED = "shares x0 y0 x1 y1"
READINGS = {
    ASKED: ("share", "corners"),
    "shares x y width height": ("share", "sides"),
    "pixels x0 y0 x1 y1": ("pixel", "corners"),
    "pixels x y width height": ("pixel", "sides"),
    "0-1000 x0 y0 x1 y1": ("mille", "corners"),
    "0-1000 x y width height": ("mille", "sides"),
}


def to_boxes(objects: Sequence[RawObject], size: tuple[int, int]) -> tuple[list[Box], str | None]:
    """Boxes in shares of the picture, and the reading they were converted from (None: as asked).

    Args:
        size: (height, width) of the picture in pixels.

    Raises:
        Unreadable: no reading, or several, under which all boxes are legal.
    """
    forms = {one.form for one in objects}
    if len(forms) > 1:
        raise Unreadable("the boxes are written in different ways")
    form = forms.pop() if forms else "corners"
    if form == "corners" and all(fault(_read(one, ASKED, size)) is None for one in objects):
        return [_cut(_read(one, ASKED, size)) for one in objects], None
    legal = [name for name in READINGS if _possible(objects, name, form, size)]
    if len(legal) == 1:
        return [_cut(_read(one, legal[0], size)) for one in objects], None if legal[0] == ASKED else legal[0]
    if legal:
        raise Unreadable(f"the numbers could be {' or '.join(legal)}; write x0, y0, x1, y1 as shares of the picture, each between 0 and 1")
    said: list[str] = []
    for one in objects:
        wrong = fault(_read(one, ASKED, size))
        if wrong is not None and len(said) < 4:
            numbers = ", ".join(f"{value:g}" for value in one.numbers)
            said.append(f"the box ({numbers}) of {shown(one.phrase, 60)!r} {wrong}")
    raise Unreadable("; ".join(said) + "; write x0 < x1 and y0 < y1, each between 0 and 1")


def _possible(objects: Sequence[RawObject], name: str, form: str, size: tuple[int, int]) -> bool:
    """Whether all boxes are legal under a reading, and nothing the reply says speaks against it."""
    unit, kind = READINGS[name]
    if form == "sides" and kind != "sides":
        return False
    if any(fault(_read(one, name, size)) is not None for one in objects):
        return False
    if form == "corners" and kind == "sides":
        # One bad corner among good ones is a slip, not another way of writing; and all swapped corners are swapped corners.
        corners = [_read(one, next(n for n, r in READINGS.items() if r == (unit, "corners")), size) for one in objects]
        swapped = all(fault((c, d, a, b)) is None for a, b, c, d in corners)
        return not swapped and all(fault(box) is not None for box in corners)
    return True


def fault(box: Box) -> str | None:
    """What is wrong with a box in shares of the picture."""
    x0, y0, x1, y1 = box
    if min(box) < -_SLACK or max(box) > 1 + _SLACK:
        return "lies outside the picture"
    if x1 <= x0 or y1 <= y0:
        return "has no area"
    if x1 - x0 < LEAST_SIDE or y1 - y0 < LEAST_SIDE or (x1 - x0) * (y1 - y0) < LEAST_AREA:
        return "is too small to be drawn"
    return None


def _read(one: RawObject, reading: str, size: tuple[int, int]) -> Box:
    unit, form = READINGS[reading]
    height, width = {"share": (1.0, 1.0), "pixel": (float(size[0]), float(size[1])), "mille": (1000.0, 1000.0)}[unit]
    a, b, c, d = one.numbers
    if form == "sides":
        c, d = a + c, b + d
    return a / width, b / height, c / width, d / height


def _cut(box: Box) -> Box:
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in box)
    return x0, y0, x1, y1
