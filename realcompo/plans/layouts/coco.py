"""COCO's boxes: images, annotations with ``bbox = [x, y, width, height]`` in pixels, categories by name.

COCO has no place for sentences. As files for grounding do, ours keep the prompt as ``caption`` of the image, and where a phrase
stands in it (characters) as ``tokens_positive`` of the annotation; other readers pass over both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...conditions import Box, BoxItem, Size
from ...conditions.coco import CocoTables, read_tables
from ...conditions.values import number as number_of
from ...errors import BadCondition
from .base import Layout
from .boxes import MOST_PICTURES, corners, item_of, items_of

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
    tables = read_tables(data, where)
    if len(tables.pictures) > MOST_PICTURES:
        raise BadCondition(f"it holds {len(tables.pictures)} pictures", where=where, mend=f"keep at most {MOST_PICTURES}")
    if not tables.pictures:
        raise BadCondition("it holds no picture", where=where, mend="COCO's data holds lists: images, annotations, categories")
    found = []
    for id, picture in tables.pictures.items():
        place = f"{where}, image {id!r}"
        pixels = picture.size or size
        if pixels is None:
            raise BadCondition("nothing says how many pixels the picture has", where=place, mend="say it: --size 640x480")
        remarks: list[str] = []
        items = [_item(one, tables, pixels, f"{place}, annotation {n}", remarks) for n, (_, one) in enumerate(picture.annotations)]
        prompt = picture.image.get("caption")
        found.append(
            Layout(
                prompt if isinstance(prompt, str) else "",
                items_of(items, place),
                size=pixels,
                name=_stem(picture.image.get("file_name"), id),
                remarks=tuple(remarks),
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


def _side(low: float, high: float, side: int, digits: int) -> tuple[Any, Any]:
    unit = 10**digits
    a, b = round(low * unit), round(high * unit)
    if a == b:
        a, b = (a, b + 1) if b < side * unit else (a - 1, b)
    start, length = a / unit, (b - a) / unit
    return (int(start), int(length)) if digits == 0 else (start, length)


def _item(one: Mapping[str, Any], tables: CocoTables, size: Size, where: str, remarks: list[str]) -> BoxItem:
    told = one.get("bbox")
    numbers = [number_of(value) for value in told] if isinstance(told, list) and len(told) == 4 else [None]
    if any(value is None for value in numbers):
        raise BadCondition("it has no bbox", where=where, mend="COCO writes bbox = [x, y, width, height] in pixels, four finite numbers")
    phrase = tables.name(one.get("category_id"))
    if not phrase:
        raise BadCondition(f"its category {one.get('category_id')!r} has no name", where=where, mend="add it to categories")
    tokens = one.get("tokens_positive")
    first = tokens[0] if isinstance(tokens, list) and tokens else None
    span = (first[0], first[1]) if isinstance(first, list) and len(first) == 2 and all(type(n) is int and n >= 0 for n in first) else None
    box = corners([value for value in numbers if value is not None], size)
    mend = f"COCO writes bbox = [x, y, width, height] in pixels of the picture, {size[1]}×{size[0]}"
    return item_of(phrase, box, size, where, mend, remarks, span)


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
