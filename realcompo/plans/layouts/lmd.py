"""The text form of LMD (LLM-grounded Diffusion): what its language model writes and its programs read.

    Caption: a cat and a dog in a park
    Objects: [('a cat', [26, 154, 205, 307]), ('a dog', [281, 154, 205, 307])]
    Background prompt: a park
    Negative prompt:

Boxes are [x, y, width, height] on a canvas of 512 × 512, whatever the picture's shape. Caption and the word Objects may be missing.
Several layouts follow each other with a free line between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...conditions import Box, BoxItem
from ...conditions.values import number as number_of
from ...errors import BadCondition
from .base import CANVAS, Layout
from .boxes import corners, item_of, items_of
from .coco import to_pixels
from .literal import read_literal, write_text

FINE = 3
"""Decimals of a box that whole pixels cannot hold, because it is thinner than one."""

_LABEL = re.compile(r"[ \t]*(caption|objects|background prompt|negative prompt)[ \t]*:[ \t]*", re.I)
_MEND = "write Caption:, Objects: [('a cat', [x, y, width, height]), …], Background prompt:, Negative prompt:"


def dump(layouts: Sequence[Layout]) -> tuple[str, list[str]]:
    """LMD's text of layouts, and what it does not hold."""
    blocks: list[str] = []
    lost: list[str] = []
    for number, layout in enumerate(layouts, start=1):
        where = f"picture {number}"
        held = {
            "seed": layout.seed is not None,
            "name": layout.name,
            f"size, {layout.size[1]}×{layout.size[0]} (its canvas is 512×512)": layout.size != CANVAS,
        }
        lost += [f"{where}: its {what}" for what, there in held.items() if there]
        lost += [f"{where}: the ids of its boxes"] if layout.own_ids() else []
        lost += [f"{where}: the spans of its phrases"] if any(item.span is not None for item in layout.items) else []
        lines = {"prompt": layout.prompt, "background": layout.background, "negative prompt": layout.negative_prompt}
        told = {name: " ".join(text.split()) for name, text in lines.items()}
        lost += [f"{where}: line breaks and double blanks of its {name}" for name, text in lines.items() if told[name] != text]
        rows = ", ".join(f"({write_text(item.phrase)}, {_numbers(item.box)})" for item in layout.items)
        blocks.append(
            f"Caption: {told['prompt']}".rstrip()
            + f"\nObjects: [{rows}]\n"
            + f"Background prompt: {told['background']}".rstrip()
            + f"\nNegative prompt: {told['negative prompt']}".rstrip()
            + "\n"
        )
    return "\n".join(blocks), lost


def load(text: str, where: str) -> list[Layout]:
    """Layouts of LMD's text.

    Raises:
        BadCondition: a line that is none of its own, or a box that cannot be drawn; says which line.
    """
    layouts: list[Layout] = []
    parts: dict[str, Any] = {}
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            break
        label = _LABEL.match(text, at)
        name = label.group(1).lower() if label else "objects"
        at = label.end() if label else at
        if name in parts or (name == "caption" and parts):
            layouts.append(_layout(parts, where))
            parts = {}
        if name == "objects":
            if text[at : at + 1] != "[":
                line = text.count("\n", 0, at) + 1
                raise BadCondition(f"line {line}: {text[at : at + 20]!r} is no part of a layout", where=where, mend=_MEND)
            parts[name], at = read_literal(text, where, at)
        else:
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            parts[name], at = " ".join(text[at:end].split()), end
    if parts or not layouts:
        layouts.append(_layout(parts, where))
    return layouts


def _layout(parts: dict[str, Any], where: str) -> Layout:
    if "objects" not in parts:
        raise BadCondition("it holds no list of objects", where=where, mend=_MEND)
    items: list[BoxItem] = []
    remarks: list[str] = []
    for place, row in enumerate(parts["objects"]):
        at = f"{where}, object {place}"
        good = isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], list) and len(row[1]) == 4
        numbers = [number_of(one) for one in row[1]] if good else [None]
        if any(one is None for one in numbers):
            raise BadCondition("it is not a name and four numbers", where=at, mend="write ('a cat', [x, y, width, height])")
        box = corners([one for one in numbers if one is not None], CANVAS)
        items.append(item_of(row[0], box, CANVAS, at, "boxes are [x, y, width, height] in pixels of a 512 × 512 canvas", remarks))
    told = (parts.get("caption", ""), items_of(items, where), parts.get("negative prompt", ""), parts.get("background prompt", ""))
    return Layout(*told, remarks=tuple(remarks))


def _numbers(box: Box) -> str:
    """Whole pixels where they can hold the box, each edge to half a pixel."""
    x, y, w, h = to_pixels(box, CANVAS, 0)
    edges = zip((x, y, x + w, y + h), box, strict=True)
    if any(abs(edge - share * CANVAS[0]) > 0.5 for edge, share in edges):
        x, y, w, h = to_pixels(box, CANVAS, FINE)
    return f"[{x}, {y}, {w}, {h}]"
