"""YOLO's labels: a line for each box, class and then shares of the picture (centre, width and height); outlines and poses are read by their
bounds. Names of classes come from the caller, or from a file beside the labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ...conditions import BoxItem, Size
from ...conditions.files import read_bytes
from ...conditions.values import number
from ...errors import BadCondition
from .base import CANVAS, Layout
from .boxes import MOST, bounds, item_of, items_of

NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt", "data.yaml", "data.yml", "dataset.yaml")
"""Where names stand, in the labels' folder or the one above it."""
_MAX_NAMES = 1 << 18
_ROW = re.compile(r"\d+(?:\.0+)?(?:[ \t,]+[-+\d.eE]+){4,}[ \t]*", re.ASCII)
_MEND = "YOLO writes: class x-centre y-centre width height, as shares of the picture, or class and the corners of an outline"


def is_yolo(text: str) -> bool:
    """Whether a text is of this format, by its first line."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return _ROW.fullmatch(first.strip()) is not None


def load(text: str, where: str, size: Size | None = None, names: Sequence[str] | Mapping[int, str] | None = None) -> list[Layout]:
    """The layout of a file of labels.

    Args:
        size: (height, width) in pixels, which the format does not say.
        names: of the classes, from 0.

    Raises:
        BadCondition: no such file, a class without a name, a box that cannot be drawn.
    """
    known = dict(enumerate(names)) if isinstance(names, Sequence) else names
    items: list[BoxItem] = []
    remarks: list[str] = []
    for n, line in enumerate(text.splitlines(), start=1):
        place = f"{where}, line {n}"
        words = line.replace(",", " ").split()
        if not words:
            continue
        if len(items) >= MOST:
            raise BadCondition(f"it holds more than {MOST} boxes", where=where, mend="leave some out")
        values = [number(word) for word in words[1:]]
        if len(values) < 4 or any(value is None for value in values):
            raise BadCondition(f"{line.strip()[:60]!r} is no label", where=place, mend=_MEND)
        box = _box([value for value in values if value is not None], place)
        phrase = _phrase(words[0], known, place)
        items.append(item_of(phrase, box, None, place, _MEND, remarks))
    if not items:
        raise BadCondition("it is empty: it holds no boxes", where=where, mend=_MEND)
    if size is None:
        remarks.append(f"{where}: YOLO does not say the picture's shape, taken as {CANVAS[1]}×{CANVAS[0]} (say it: --size 640x480)")
    return [Layout("", items_of(items, where), size=size or CANVAS, remarks=tuple(remarks))]


def names_beside(path: Path) -> list[str] | dict[int, str] | None:
    """The names of classes that stand beside a file of labels, or in the folder above; None where there are none."""
    for folder in (path.parent, path.parent.parent):
        for name in NAME_FILES:
            if (folder / name).is_file() and (folder / name) != path:
                return read_names(folder / name)
    return None


def read_names(path: Path) -> list[str] | dict[int, str]:
    """Names of classes from a file: one a line, or `names` of a YAML file.

    Raises:
        BadCondition: no such file, or no names in it.
    """
    raw = read_bytes(path, _MAX_NAMES, "write one name a line")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadCondition("it is no text", where=str(path), mend="files of names are UTF-8 text") from None
    if path.suffix.lower() not in (".yaml", ".yml"):
        return text.rstrip().splitlines() if text.strip() else []
    try:
        tokens = yaml.scan(text, Loader=yaml.SafeLoader)
        if any(isinstance(token, yaml.AliasToken) for token in tokens):  # a few lines of them unfold to gigabytes
            raise BadCondition("aliases (*name) are not taken", where=str(path), mend="write the names out")
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, AttributeError, LookupError) as error:
        raise BadCondition(f"it is no YAML: {str(error)[:120]}", where=str(path), mend="write names: [cat, dog]") from None
    found = data.get("names") if isinstance(data, Mapping) else None
    if isinstance(found, list):
        return [str(one) for one in found]
    if isinstance(found, Mapping) and all(str(key).isdecimal() for key in found):
        return {int(str(key)): str(one) for key, one in found.items()}
    raise BadCondition("it holds no names", where=str(path), mend="write names: [cat, dog], or names: {0: cat, 1: dog}")


def _box(values: Sequence[float], where: str) -> Sequence[float]:
    """(x0, y0, x1, y1) of a row's numbers after the class: a box (with a confidence), a box with points of a pose, or an outline."""
    count = len(values)
    if count in (4, 5) or (count % 2 and (count - 4) % 3 == 0):
        x, y, w, h = values[:4]
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if count % 2:
        raise BadCondition(f"it has {count} numbers after the class", where=where, mend=_MEND)
    return bounds(list(zip(values[::2], values[1::2], strict=True)))


def _phrase(word: str, names: Mapping[int, str] | None, where: str) -> str:
    index = number(word)
    if index is None:
        return word  # some write the name itself
    if names is None:
        raise BadCondition(
            "nothing says how its classes are called",
            where=where,
            mend="say it: --names cat,dog, or a file classes.txt beside it, one name a line",
        )
    if index != int(index) or int(index) not in names:
        known = f"{len(names)} names are known: {', '.join(list(names.values())[:12])}"
        raise BadCondition(f"the class {word} has no name", where=where, mend=f"add it to --names or the file of names; {known}")
    return names[int(index)]
