"""Boxes of files: from pixels or shares to boxes of a layout, with what had to be put right."""

from __future__ import annotations

from collections.abc import Sequence

from ...conditions import Box, Boxes, BoxItem, Size
from ...errors import BadCondition

SLACK = 0.01
"""Of a side: a box that reaches so far outside, or a pixel, is clipped, for programs and language models round; one that reaches farther is
refused."""
MOST = 1000
"""Boxes of a picture."""
MOST_PICTURES = 10_000


def clipped(box: Sequence[float], size: Size | None = None) -> Box:
    """A box in shares whose edges that reach a little outside are put onto the border; those that reach farther stay.

    Args:
        size: (height, width) in pixels, of which one is always allowed; None where there are none.
    """
    rooms = (SLACK, SLACK) if size is None else tuple(max(SLACK, 1 / side) for side in (size[1], size[0]))
    cut = [min(max(one, 0.0), 1.0) if -rooms[n % 2] <= one <= 1 + rooms[n % 2] + 1e-9 else one for n, one in enumerate(box)]
    return cut[0], cut[1], cut[2], cut[3]


def item_of(
    phrase: str,
    box: Sequence[float],
    size: Size | None,
    where: str,
    mend: str,
    remarks: list[str],
    span: tuple[int, int] | None = None,
    always: bool = False,
) -> BoxItem:
    """A box in shares as an item without an id.

    Args:
        size: (height, width) in pixels, if there are any.
        mend: what the format writes, for a box that cannot be drawn.
        remarks: gets a remark where the box was clipped.
        always: clip it however far it reaches: the bounds of something that lies inside.

    Raises:
        BadCondition: too far outside, without area, without a phrase.
    """
    cut = clipped(box, size)
    if always:
        cut = (min(max(cut[0], 0.0), 1.0), min(max(cut[1], 0.0), 1.0), min(max(cut[2], 0.0), 1.0), min(max(cut[3], 0.0), 1.0))
    if any(abs(a - b) > 1e-6 for a, b in zip(cut, box, strict=True)):
        remarks.append(f"{where}: the box of {phrase!r} reaches outside the picture and was clipped")
    try:
        return Boxes([{"phrase": phrase, "box": cut, "span": span}]).items[0].model_copy(update={"id": ""})
    except BadCondition as error:
        raise BadCondition(error.what, where=where, mend=error.mend if not phrase.strip() else mend) from None


def items_of(items: Sequence[BoxItem], where: str) -> tuple[BoxItem, ...]:
    """The boxes of one picture, each with an id.

    Raises:
        BadCondition: too many.
    """
    if len(items) > MOST:
        raise BadCondition(f"it holds {len(items)} boxes", where=where, mend=f"keep at most {MOST} of a picture")
    return Boxes(list(items)).items


def bounds(points: Sequence[tuple[float, float]]) -> Box:
    """The rectangle about points; corners may come in any order."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def stem(name: object) -> str | None:
    """The name of a picture from its file's: without folders and suffix."""
    if not isinstance(name, str):
        return None
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return last.rpartition(".")[0] or last or None


def corners(numbers: Sequence[float], size: Size) -> Box:
    """Shares (x0, y0, x1, y1) of [x, y, width, height] in pixels."""
    x, y, w, h = numbers
    height, width = size
    return x / width, y / height, (x + w) / width, (y + h) / height
