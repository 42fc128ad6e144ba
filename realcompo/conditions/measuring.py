"""Points of a file as shares of the picture: pixels are divided by its size, points outside are hidden, and both are said."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from ..errors import BadCondition
from .base import Size, remark
from .joints import OPENPOSE_18, Point
from .poses import Body, PoseFile

_NEAR = (-1.0, 2.0)
"""A coordinate in here is a share, of a point in or beside the picture: in pixels the whole figure would be three pixels large."""
_MOST = 0.75
"""The points of a file are shares where so many of them look like it; the others are outliers."""
_CENTRED = 0.25
"""They run from -1 to 1 about the middle (OpenPose's keypoint_scale 4) where so many coordinates are negative and none is above 1."""
_SLACK = 1.0
"""Pixels by which a point may lie outside and still be put onto the border: rounding."""
_SLACK_OF_SHARES = 0.002


def in_shares(file: PoseFile, size: Size | None, chosen: Collection[int] | None = None) -> tuple[PoseFile, Size | None]:
    """The file with shares for points, and the (height, width) that they were measured on, where it is known.

    Args:
        size: in pixels, where the file does not say it.
        chosen: which people's points outside are spoken of; all by default.

    Raises:
        BadCondition: pixels of nothing that is known, or more than half of the points outside.
    """
    size = file.size or size
    points = [point for body in file.people for point in body.values()]
    if not points:
        return file, size
    near = sum(all(_NEAR[0] <= one <= _NEAR[1] for one in point) for point in points)
    numbers = [one for point in points for one in point]
    if near >= _MOST * len(points):
        if max(map(abs, numbers)) <= 1 and sum(one < 0 for one in numbers) >= _CENTRED * len(numbers):
            remark("its points run from -1 to 1 about the middle: they were read so", file.where)
            people = [{name: ((x + 1) / 2, (y + 1) / 2) for name, (x, y) in body.items()} for body in file.people]
        else:
            people = [dict(body) for body in file.people]
        slack = (_SLACK_OF_SHARES, _SLACK_OF_SHARES)
    elif size is None:
        raise BadCondition(
            "its points are in pixels, and nothing says of what size", where=file.where, mend="give size = (height, width) of the photo"
        )
    else:
        height, width = size
        people = [{name: (x / width, y / height) for name, (x, y) in body.items()} for body in file.people]
        slack = (_SLACK / width, _SLACK / height)
    kept = [_inside(body, slack) for body in people]
    _tell_hidden(people, kept, size, file, chosen)
    return replace(file, people=tuple(kept)), size


def _tell_hidden(before: list[Body], after: list[Body], size: Size | None, file: PoseFile, chosen: Collection[int] | None) -> None:
    """Say which points lie outside and were hidden; refuse where they are most, for then the size is not that of the photo."""
    spoken = [n for n in range(len(before)) if chosen is None or n in chosen]
    hidden = {n: [name for name in before[n] if name not in after[n]] for n in spoken}
    count, total = sum(map(len, hidden.values())), sum(len(before[n]) for n in spoken)
    if count > total / 2:
        shown = "the picture" if size is None else f"a picture of {size[1]}×{size[0]} pixels"
        raise BadCondition(
            f"{count} of its {total} points lie outside of {shown}",
            where=file.where,
            mend="give the size (height, width) of the photo that they were measured on",
        )
    if count:
        named = "; ".join(f"{file.noun} {n}: {', '.join(names)}" for n, names in hidden.items() if names)
        remark(f"{count} of {total} points lie outside the picture and are hidden ({named[:300]})", file.where)


def _inside(body: Mapping[str, Point], slack: tuple[float, float]) -> Body:
    """The points in the picture, in OpenPose's order; a rounding error past the border is put onto it."""
    found = {}
    for name in OPENPOSE_18:
        if name in body and all(-room <= one <= 1 + room for one, room in zip(body[name], slack, strict=True)):
            x, y = body[name]
            found[name] = (min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))
    return found
