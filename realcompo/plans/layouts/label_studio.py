"""Label Studio's exports: tasks with annotations, or its short form (JSON-MIN). Places are percent of the picture; a rectangle turns
clockwise about its upper left corner. Rectangles, ellipses and polygons become their bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...conditions import Size
from ...conditions.values import number, side
from ...errors import BadCondition
from .base import CANVAS, Layout
from .boxes import MOST_PICTURES, bounds, item_of, items_of, stem

_LABELS = ("rectanglelabels", "ellipselabels", "polygonlabels", "labels", "brushlabels", "keypointlabels")
_PROMPTS = ("prompt", "caption", "text")
_MEND = "Label Studio writes x, y, width and height in percent, and rectanglelabels = ['cat']"


def is_label_studio(data: Any) -> bool:
    """Whether plain data is of this format: a task, or a list of tasks."""
    return any(isinstance(one, Mapping) and (_full(one) or bool(_short(one))) for one in (data if isinstance(data, list) else [data]))


def load(data: Any, where: str, size: Size | None = None) -> list[Layout]:
    """Layouts of an export, one a task; tasks without boxes are left out.

    Args:
        size: (height, width) in pixels, where the file does not say it.

    Raises:
        BadCondition: no such data, no boxes, or one that cannot be drawn.
    """
    tasks = data if isinstance(data, list) else [data]
    if len(tasks) > MOST_PICTURES:
        raise BadCondition(f"it holds {len(tasks)} tasks", where=where, mend=f"keep at most {MOST_PICTURES}")
    found = []
    for n, task in enumerate(tasks):
        place = where if len(tasks) == 1 else f"{where}, task {n}"
        if not isinstance(task, Mapping) or not (_full(task) or "annotations" in task or "data" in task or _short(task) or "image" in task):
            raise BadCondition("it is no task of Label Studio", where=place, mend=_MEND)
        layout = _task(task, place, size)
        if layout.items:
            found.append(layout)
    if not found:
        raise BadCondition("it holds no boxes", where=where, mend="export tasks that are annotated with rectangles, ellipses or polygons")
    return found


def _full(task: Mapping[str, Any]) -> bool:
    return any(
        isinstance(task.get(name), list) and any(isinstance(one, Mapping) and isinstance(one.get("result"), list) for one in task[name])
        for name in ("annotations", "completions", "predictions")
    )


def _short(task: Mapping[str, Any]) -> list[Any]:
    """The results of the short form: a list under the name of the labels' tag."""
    for value in task.values():
        if isinstance(value, list) and any(isinstance(one, Mapping) and any(name in one for name in _LABELS) for one in value):
            return value
    return []


def _task(task: Mapping[str, Any], where: str, size: Size | None) -> Layout:
    remarks: list[str] = []
    results = _results(task, where, remarks) if _full(task) else [{"value": one, **one} for one in _short(task) if isinstance(one, Mapping)]
    told = task.get("data")
    data = told if isinstance(told, Mapping) else task
    labels = {one["id"]: _label(one) for one in results if isinstance(one.get("id"), str) and _label(one)}
    items, stated, boxed = [], size, set()
    for n, one in enumerate(results):
        place = f"{where}, result {n}"
        value = one.get("value")
        kind = _kind(one, value)
        if kind is None or not isinstance(value, Mapping):
            if _label(one) and str(one.get("type", "")) not in ("labels", "choices"):
                remarks.append(f"{place}: {str(one.get('type'))!r} is no box and was left out")
            continue
        label = _label(one) or (labels.get(one["id"], "") if isinstance(one.get("id"), str) else "")
        if isinstance(one.get("id"), str):  # a region stands once for its place and once for each of its tags
            if one["id"] in boxed:
                continue
            boxed.add(one["id"])
        height, width = side(one.get("original_height")), side(one.get("original_width"))
        pixels = (height, width) if height is not None and width is not None else size
        stated = stated if stated is not None else pixels
        box, turned = _bounds(kind, value, pixels, place)
        items.append(item_of(label, box, pixels, place, _MEND, remarks, always=turned))
    if stated is None and items:
        remarks.append(f"{where}: nothing says the picture's shape, taken as {CANVAS[1]}×{CANVAS[0]} (say it: --size 640x480)")
    prompt = next((data[name] for name in _PROMPTS if isinstance(data.get(name), str)), "")
    name = next((stem(value) for key, value in data.items() if key in ("image", "img", "photo", "url") and isinstance(value, str)), None)
    return Layout(prompt, items_of(items, where), size=stated or CANVAS, name=name, remarks=tuple(remarks))


def _results(task: Mapping[str, Any], where: str, remarks: list[str]) -> list[Mapping[str, Any]]:
    """The results of the first annotation that was not cancelled; else of the first prediction."""
    for name in ("annotations", "completions", "predictions"):
        told = [one for one in task.get(name) or () if isinstance(one, Mapping) and isinstance(one.get("result"), list)]
        told = [one for one in told if not one.get("was_cancelled") and one["result"]]
        if told:
            if len(told) > 1 or name == "predictions":
                remarks.append(f"{where}: the first of its {len(told)} {name} was taken")
            return [one for one in told[0]["result"] if isinstance(one, Mapping)]
    return []


def _kind(one: Mapping[str, Any], value: Any) -> str | None:
    """rectangle, ellipse or polygon; None for what has no box."""
    if not isinstance(value, Mapping):
        return None
    if isinstance(value.get("points"), list):
        return "polygon"
    if "radiusX" in value:
        return "ellipse"
    return "rectangle" if "width" in value and "height" in value and "rle" not in value and "keypoint" not in str(one.get("type")) else None


def _label(one: Mapping[str, Any]) -> str:
    """The first label of a result."""
    value = one.get("value")
    if not isinstance(value, Mapping):
        return ""
    for name in _LABELS:
        told = value.get(name)
        first = told[0] if isinstance(told, list) and told else told
        if isinstance(first, str):
            return first
    return ""


def _bounds(kind: str, value: Mapping[str, Any], size: Size | None, where: str) -> tuple[tuple[float, ...], bool]:
    """(x0, y0, x1, y1) in shares, and whether a turn made them."""
    if kind == "polygon":
        points = [tuple(number(part) for part in one) if isinstance(one, list) else () for one in value["points"]]
        if len(points) < 3 or any(len(one) != 2 or None in one for one in points):
            raise BadCondition("its points are no polygon", where=where, mend="Label Studio writes points = [[x, y], …] in percent")
        return bounds([(float(x or 0) / 100, float(y or 0) / 100) for x, y in points]), False
    names = ("x", "y", "radiusX", "radiusY") if kind == "ellipse" else ("x", "y", "width", "height")
    told = [number(value.get(name)) for name in names]
    turn = number(value.get("rotation", 0) or 0)
    if any(one is None for one in told) or turn is None:
        raise BadCondition("its place is not four finite numbers", where=where, mend=_MEND)
    x, y, w, h = (float(one or 0) / 100 for one in told)
    turned = abs(math.remainder(turn, 360)) > 1e-6
    if turned and size is None:
        raise BadCondition("it is turned, and nothing says the picture's shape", where=where, mend="say it: --size 640x480")
    if kind == "ellipse":
        ring: Sequence[tuple[float, float]] = [(w * math.cos(a), h * math.sin(a)) for a in (math.tau * n / 720 for n in range(720))]
        ring = [*ring, (w, 0), (-w, 0), (0, h), (0, -h)] if not turned else ring
    else:
        ring = [(0, 0), (w, 0), (w, h), (0, h)]
    return bounds([(x + a, y + b) for a, b in _turned(ring, turn, size if turned else None)]), turned


def _turned(points: Sequence[tuple[float, float]], degrees: float, size: Size | None) -> Iterator[tuple[float, float]]:
    """Points about the origin turned clockwise, in pixels: shares across and down compare by the picture's sides."""
    if size is None:
        yield from points
        return
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    height, width = size
    for x, y in points:
        across, down = x * width, y * height
        yield (across * cos - down * sin) / width, (across * sin + down * cos) / height
