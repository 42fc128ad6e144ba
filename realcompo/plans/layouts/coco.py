"""COCO's boxes: images, annotations with ``bbox = [x, y, width, height]`` in pixels, categories by name.

COCO has no place for sentences. As files for grounding do, ours keep the prompt as ``caption`` of the image, and where a phrase
stands in it (characters) as ``tokens_positive`` of the annotation; other readers pass over both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...conditions import Box, Boxes, BoxItem, Size
from ...conditions.files import coco_picture
from ...errors import BadCondition
from .base import Layout

DIGITS = 2
"""Decimals of a pixel, as in COCO's own files."""


def dump(layouts: Sequence[Layout]) -> tuple[str, list[str]]:
    """COCO's JSON of layouts, and what it does not hold."""
    names = {phrase: number for number, phrase in enumerate(dict.fromkeys(i.phrase for one in layouts for i in one.items), start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    lost: list[str] = []
    for number, layout in enumerate(layouts, start=1):
        height, width = layout.size
        where, file = f"picture {number}", f"{layout.name or number}.png"
        if layout.name is not None and _stem(file, number) != layout.name:  # a name that is no file's
            lost.append(f"{where}: its name")
            file = f"{number}.png"
        images.append({"id": number, "file_name": file, "width": width, "height": height, "caption": layout.prompt})
        held = {"seed": layout.seed is not None, "negative prompt": layout.negative_prompt, "background": layout.background}
        lost += [f"{where}: its {what}" for what, there in held.items() if there]
        lost += [f"{where}: the ids of its boxes"] if layout.own_ids() else []
        for item in layout.items:
            x, y, w, h = to_pixels(item.box, layout.size, DIGITS)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": names[item.phrase],
                    "bbox": [x, y, w, h],
                    "area": round(w * h, 4),
                    "iscrowd": 0,
                    **({"tokens_positive": [list(item.span)]} if item.span is not None else {}),
                }
            )
    categories = [{"id": number, "name": phrase} for phrase, number in names.items()]
    return _rows({"images": images, "annotations": annotations, "categories": categories}), lost


def load(data: Any, where: str, size: Size | None = None) -> list[Layout]:
    """Layouts of COCO's data: a file of annotations, or a list of results with `size` (height, width).

    Raises:
        BadCondition: no such data, a size that nothing says, or a box that cannot be drawn.
    """
    tables = data if isinstance(data, Mapping) else {"annotations": data}
    if not all(isinstance(tables.get(key, []), list) for key in ("images", "annotations", "categories")):
        raise BadCondition(
            "it is not COCO's data", where=where, mend="it holds lists: images, annotations, categories; or is one of results"
        )
    listed = [one for key in ("images", "annotations") for one in tables.get(key) or () if isinstance(one, Mapping)]
    ids = dict.fromkeys(one.get("id" if "file_name" in one or "width" in one else "image_id") for one in listed)
    images = {one.get("id"): one for one in tables.get("images") or () if isinstance(one, Mapping)}
    found = []
    for id in ids or [None]:
        annotations, stated, names = coco_picture(data, id, where)
        place = f"{where}, image {id!r}"
        pixels = stated or size
        if pixels is None:
            raise BadCondition("nothing says how many pixels the picture has", where=place, mend="say it: --size 640x480")
        image = images.get(id, {})
        items = [_item(one, names, pixels, f"{place}, annotation {n}") for n, one in enumerate(annotations)]
        prompt, name = image.get("caption"), image.get("file_name")
        found.append(
            Layout(
                prompt if isinstance(prompt, str) else "",
                Boxes(items).items,
                size=pixels,
                name=_stem(name, id),
            )
        )
    return found


def to_pixels(box: Box, size: Size, digits: int) -> tuple[Any, Any, Any, Any]:
    """[x, y, width, height] in pixels to so many decimals. Corners are rounded, not sides, so that reading gives the same corners; a side
    that would vanish keeps one unit of the last decimal."""
    height, width = size
    x, w = _side(box[0] * width, box[2] * width, width, digits)
    y, h = _side(box[1] * height, box[3] * height, height, digits)
    return x, y, w, h


def from_pixels(numbers: Sequence[float], size: Size) -> Box:
    """Shares (x0, y0, x1, y1) of [x, y, width, height] in pixels; an edge that a rounding error put outside is put back."""
    x, y, w, h = numbers
    height, width = size
    x0, y0, x1, y1 = x / width, y / height, (x + w) / width, (y + h) / height
    slack = 0.5 / max(width, height)
    cut = [min(max(one, 0.0), 1.0) if -slack <= one <= 1 + slack else one for one in (x0, y0, x1, y1)]
    return cut[0], cut[1], cut[2], cut[3]


def _side(low: float, high: float, side: int, digits: int) -> tuple[Any, Any]:
    unit = 10**digits
    a, b = round(low * unit), round(high * unit)
    if a == b:
        a, b = (a, b + 1) if b < side * unit else (a - 1, b)
    start, length = a / unit, (b - a) / unit
    return (int(start), int(length)) if digits == 0 else (start, length)


def _item(one: Mapping[str, Any], names: Mapping[Any, str], size: Size, where: str) -> BoxItem:
    numbers = one.get("bbox")
    good = isinstance(numbers, list) and len(numbers) == 4 and all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    if not good:
        raise BadCondition("it has no bbox", where=where, mend="COCO writes bbox = [x, y, width, height] in pixels")
    phrase = names.get(one.get("category_id"))
    if not phrase:
        raise BadCondition(f"its category {one.get('category_id')!r} has no name", where=where, mend="add it to categories")
    tokens = one.get("tokens_positive")
    first = tokens[0] if isinstance(tokens, list) and tokens else None
    span = (first[0], first[1]) if isinstance(first, list) and len(first) == 2 and all(type(n) is int and n >= 0 for n in first) else None
    try:
        return Boxes([{"phrase": phrase, "box": from_pixels(numbers or (), size), "span": span}]).items[0].model_copy(update={"id": ""})
    except BadCondition as error:
        raise BadCondition(error.what, where=where, mend=error.mend) from None


def _stem(name: Any, id: Any) -> str | None:
    """The name of a picture from its file's; none where it is only the number that export gave it."""
    if not isinstance(name, str):
        return None
    stem = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
    return stem if stem and stem != str(id) else None


def _rows(tables: Mapping[str, Sequence[Any]]) -> str:
    """JSON with one entry a line."""
    parts = []
    for key, rows in tables.items():
        lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
        parts.append(f' "{key}": [\n{lines}\n ]' if rows else f' "{key}": []')
    return "{\n" + ",\n".join(parts) + "\n}\n"
