"""Files of poses as plain people: OpenPose's JSON and what is written like it, and COCO's keypoints. measuring.py makes shares of them.

What is read as OpenPose: its own JSON (18 or 25 points; in older files ``pose_keypoints``), with whole bodies (133, 134), lists of
frames (AnimateDiff, ComfyUI), the pose editors of the web UIs ({width, height, keypoints}), and DWPose's bodies (candidate, subset). As
COCO: annotations and results (17 points, or 17 with feet, hands and faces), and MMPose's predictions. Hands, feet and faces are
left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..errors import BadCondition
from .base import Size
from .coco import read_tables
from .joints import COCO_ORDERS, OPENPOSE_18, OPENPOSE_ORDERS, Point
from .values import number, side

_SIDES = (("canvas_height", "canvas_width"), ("height", "width"), ("image_height", "image_width"))
_MEND = "is it the JSON of a pose?"
_WRAPS = 8
"""Lists in lists that are taken off."""

Body = dict[str, Point]
"""Name → (x, y) as the file has them, pixels or shares; what is not visible is left out."""


@dataclass(frozen=True)
class PoseFile:
    """What a file of poses holds of one picture.

    Attributes:
        people: in the file's order; one without a visible point is there, and empty.
        size: (height, width) in pixels of the picture that was measured, if the file says it.
        where: the file's name in messages.
        noun: what the file calls a person.
    """

    people: tuple[Body, ...]
    size: Size | None
    where: str
    noun: str = "person"


def openpose_people(data: Any, where: str, frame: int | None = None, confidence: float = 0.0) -> PoseFile:
    """The people of OpenPose's JSON, or of a file that is written like it.

    Args:
        frame: which of several frames, from 0.
        confidence: points that are less sure are not visible.

    Raises:
        BadCondition: no such data, or several frames and none chosen.
    """
    table = _frame(data, frame, where)
    size = _stated(table)
    if "people" not in table and isinstance(table.get("bodies"), Mapping):
        return PoseFile(tuple(_candidates(table["bodies"], where)), size, where)
    if "people" not in table and isinstance(table.get("keypoints"), list):
        found = table["keypoints"]
        people = [found] if any(_is_point(one) for one in found) else found
        return PoseFile(tuple(_body(one, OPENPOSE_ORDERS, f"{where}, person {n}", confidence) for n, one in enumerate(people)), size, where)
    found = table.get("people")
    if not isinstance(found, list):
        raise BadCondition("it has no list of people", where=where, mend="is it OpenPose's JSON? For COCO's use from_coco")
    bodies = []
    for n, one in enumerate(found):
        place = f"{where}, person {n}"
        told = _table({} if one is None else one, place)
        bodies.append(_body(told.get("pose_keypoints_2d", told.get("pose_keypoints")), OPENPOSE_ORDERS, place, confidence))
    return PoseFile(tuple(bodies), size, where)


def coco_people(data: Any, where: str, image_id: Any = None, frame: int | None = None, confidence: float = 0.0) -> PoseFile:
    """The people of COCO's annotations or results, or of MMPose's predictions.

    Args:
        image_id: which of several pictures.
        frame, confidence: as for `openpose_people`; frames are MMPose's.

    Raises:
        BadCondition: no such data, or several pictures and none chosen.
    """
    if isinstance(data, Mapping) and isinstance(data.get("instance_info"), list):
        data = data["instance_info"]
    if isinstance(data, list):
        data = _unwrapped(data)
        if data and all(isinstance(one, Mapping) and isinstance(one.get("instances"), list) for one in data):
            data = _chosen([one["instances"] for one in data], frame, where)
        elif data and all(isinstance(one, list) for one in data):
            data = _chosen(data, frame, where)
        elif frame not in (None, 0):
            raise _no_frame(frame, 1, where)
    picture = read_tables(data, where).picture(image_id, where)
    bodies = []
    for n, (_, one) in enumerate(picture.annotations):
        place = f"{where}, annotation {n}"
        bodies.append(_body(one.get("keypoints"), COCO_ORDERS, place, confidence, one.get("keypoint_scores")))
    return PoseFile(tuple(bodies), picture.size, where, "annotation")


def is_openpose(data: Any) -> bool:
    """Whether plain data is of the kind that `openpose_people` reads."""
    if isinstance(data, list):
        data = _unwrapped(data)
        return bool(data) and any(isinstance(one, Mapping) and ("people" in one or "bodies" in one or _is_person(one)) for one in data)
    if not isinstance(data, Mapping):
        return False
    named = "people" in data or "bodies" in data or "frames" in data or ("keypoints" in data and "annotations" not in data)
    return named or _frames_by_name(data) is not None


# -- frames --------------------------------------------------------------------------------------------------------------------


def _frame(data: Any, frame: int | None, where: str) -> Mapping[str, Any]:
    """The table of one frame."""
    if isinstance(data, Mapping) and "people" not in data:
        listed = data.get("frames")
        data = listed if isinstance(listed, list) else _frames_by_name(data) or data
    if isinstance(data, list):
        data = _unwrapped(data)
        if data and all(isinstance(one, Mapping) and _is_person(one) for one in data):
            data = {"people": data}  # people without the table around them
    if isinstance(data, list):
        if not data:
            raise BadCondition("it holds no frame", where=where, mend="write the pose again: the list is empty")
        data = _chosen(data, frame, where)
    elif frame not in (None, 0):
        raise _no_frame(frame, 1, where)
    return _table(data, where)


def _chosen(frames: Sequence[Any], frame: int | None, where: str) -> Any:
    if frame is None and len(frames) > 1:
        raise BadCondition(f"it holds {len(frames)} frames", where=where, mend=f"choose one: frame = 0 to {len(frames) - 1}")
    place = 0 if frame is None else frame
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(frames):
        raise _no_frame(place, len(frames), where)
    return frames[place]


def _no_frame(frame: Any, count: int, where: str) -> BadCondition:
    return BadCondition(f"it has no frame {frame!r}", where=where, mend=f"it holds {count}, from 0")


def _unwrapped(data: list[Any]) -> list[Any]:
    for _ in range(_WRAPS):
        if len(data) != 1 or not isinstance(data[0], list):
            break
        data = data[0]
    return data


def _frames_by_name(data: Mapping[str, Any]) -> list[Any] | None:
    """Frames that are told by name ({"frame_0001": {people}, …})."""
    frames = [one for one in data.values() if isinstance(one, Mapping) and "people" in one]
    return frames if frames and len(frames) == len(data) else None


def _is_person(one: Mapping[str, Any]) -> bool:
    return "pose_keypoints_2d" in one or "pose_keypoints" in one


def _stated(table: Mapping[str, Any]) -> Size | None:
    """The size that a table states. A canvas of one pixel is none: it says that points are shares."""
    for high, wide in _SIDES:
        height, width = side(table.get(high)), side(table.get(wide))
        if height is not None and width is not None and (height, width) != (1, 1):
            return height, width
    return None


# -- people --------------------------------------------------------------------------------------------------------------------


def _candidates(bodies: Mapping[str, Any], where: str) -> Iterable[Body]:
    """DWPose's points of all people in one list, and for each person which they are (-1: none)."""
    points, people = bodies.get("candidate"), bodies.get("subset")
    if not isinstance(points, list) or not isinstance(people, list):
        raise BadCondition("its bodies have no candidate and subset", where=where, mend=_MEND)
    for n, one in enumerate(people):
        place = f"{where}, person {n}"
        body = {}
        for name, told in zip(OPENPOSE_18, one if isinstance(one, list) else (), strict=False):
            index = number(told)
            if index is None or index != int(index) or index >= len(points):
                raise BadCondition(f"{told!r} is no place in its candidates", where=place, mend=_MEND)
            point = (
                _point(points[int(index)][:2] if isinstance(points[int(index)], list) else points[int(index)], place, 0)
                if index >= 0
                else None
            )
            if point is not None:
                body[name] = point
        yield body


def _body(value: Any, orders: Mapping[int, Sequence[str]], where: str, confidence: float, scores: Any = None) -> Body:
    """The visible points of one person: a flat list (x, y, confidence), pairs or triples, {x, y} or null each; nothing is nobody. With a
    neck between the shoulders where the format has none."""
    if value is None or value == []:
        return {}
    if not isinstance(value, list):
        raise BadCondition("keypoints are a list of numbers: x, y and visibility of each", where=where, mend=_MEND)
    rows = (
        value if any(isinstance(one, list | Mapping) for one in value) or all(one is None for one in value) else _rows(value, orders, where)
    )
    if len(rows) not in orders:
        other = "COCO's 17: from_coco" if 17 not in orders else "OpenPose's: from_openpose"
        counts = ", ".join(map(str, orders))
        raise BadCondition(f"{len(rows)} keypoints", where=where, mend=f"read are {counts}, as x, y, confidence of each; {other}")
    if isinstance(scores, list) and len(scores) == len(rows):
        rows = [[*one[:2], score] if isinstance(one, list) else one for one, score in zip(rows, scores, strict=True)]
    names = orders[len(rows)]
    seen = {name: _point(row, f"{where}, {name}", confidence) for name, row in zip(names, rows, strict=False) if name}
    body = {name: point for name, point in seen.items() if point is not None}
    if "neck" not in names and {"left_shoulder", "right_shoulder"} <= set(body):
        (ax, ay), (bx, by) = body["left_shoulder"], body["right_shoulder"]
        body["neck"] = ((ax + bx) / 2, (ay + by) / 2)
    return body


def _rows(flat: Sequence[Any], orders: Mapping[int, Sequence[str]], where: str) -> list[Any]:
    """A flat list as a row a point: of threes, or of twos where only those are a known number of points."""
    count = len(flat)
    step = 2 if count % 2 == 0 and count // 2 in orders and not (count % 3 == 0 and count // 3 in orders) else 3
    if count % step:
        raise BadCondition(
            f"a list of {count} numbers, which are no x, y and visibility of each point: keypoints are a list of numbers by threes",
            where=where,
            mend=_MEND,
        )
    return [list(flat[at : at + step]) for at in range(0, count, step)]


def _is_point(one: Any) -> bool:
    """Whether an entry is a point, not a person."""
    if isinstance(one, Mapping):
        return "x" in one
    return isinstance(one, list) and len(one) in (2, 3) and not any(isinstance(part, list | Mapping) for part in one)


def _point(row: Any, where: str, confidence: float) -> Point | None:
    """(x, y) of a point that is visible: not null, sure enough, and not (0, 0), which all formats write for a point that was not found."""
    if isinstance(row, Mapping):
        sure = next((row[name] for name in ("confidence", "score", "visible", "visibility", "c", "v") if name in row), None)
        row = [row.get("x"), row.get("y"), sure]
    if row is None or row == []:
        return None
    if not isinstance(row, list) or len(row) not in (2, 3):
        raise BadCondition("a point is a list of numbers: x, y and visibility", where=where, mend=_MEND)
    x, y, sure = (*row, None)[:3]
    if x is None or y is None:
        return None
    parts = [_value(one, where) for one in (x, y, 1.0 if sure is None else sure)]
    if not all(math.isfinite(one) for one in parts) or parts[2] <= 0 or parts[2] < confidence or parts[0] == parts[1] == 0:
        return None
    return parts[0], parts[1]


def _value(value: Any, where: str) -> float:
    """A number, which may be infinite or none (NaN): such a point is not visible."""
    if isinstance(value, bool):
        return float(value)
    found = number(value)
    if found is not None:
        return found
    if isinstance(value, Real):
        return math.nan
    raise BadCondition(f"{str(value)[:40]!r} is no number, and keypoints are a list of numbers", where=where, mend=_MEND)


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadCondition(f"a table was expected, not a {type(value).__name__}", where=where, mend=_MEND)
    return value
