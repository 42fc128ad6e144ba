"""Files of layouts. They are not trusted: bounded in size, nothing in them is evaluated."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...conditions import Size
from ...conditions.files import MAX_JSON, json_of, read_bytes
from ...errors import BadCondition, BadOption, nearest
from ...files import write_whole
from . import coco, label_studio, labelme, lmd, lmd_cache, plain, voc, yolo
from .base import Layout

FORMATS = ("json", "coco", "lmd")
"""What is written, and read: plain JSON with our schema, COCO's boxes, LMD's text."""
READ = (*FORMATS, "lmd-cache", "label-studio", "labelme", "voc", "yolo")
"""What is read."""

Names = Sequence[str] | Mapping[int, str]
_ENCODINGS = (
    "latin-1",
    "iso-8859-1",
    "iso-8859-15",
    "windows-1252",
    "cp1252",
    "gbk",
    "gb2312",
    "gb18030",
    "big5",
    "shift_jis",
    "euc-kr",
    "euc-jp",
)
"""What an XML file may say that it is written in, beside UTF-8 and UTF-16."""


def read_layouts(path: str | Path, form: str | None = None, size: Size | None = None, names: Names | None = None) -> list[Layout]:
    """The layouts of a file.

    Args:
        form: one of `READ`; told from what the file holds where it is missing.
        size: (height, width) in pixels of the pictures, where the file does not say it.
        names: of YOLO's classes, from 0; from a file beside it where they are missing (classes.txt, obj.names, data.yaml …).

    Raises:
        BadCondition: not there, too large, or no such layout.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() == ".toml":
        raise BadCondition(
            "it is a recipe, not a layout of another program",
            where=str(path),
            mend=f"draw it: realcompo run {path.name}; for other programs: realcompo export {path.name}",
        )
    raw = read_bytes(path, MAX_JSON, "split it (labelme: export without imageData)")
    text = _decoded(raw, str(path))
    if names is None and (form == "yolo" or (form is None and _form(text) == "yolo")):
        names = yolo.names_beside(path)
    return parse_layouts(text, form, str(path), size, names)


def parse_layouts(
    text: str, form: str | None = None, where: str = "the layout", size: Size | None = None, names: Names | None = None
) -> list[Layout]:
    """The layouts of a text; see `read_layouts`."""
    if form is not None and form not in READ:
        raise BadOption(f"no format of layouts is called {form!r}", mend=nearest(form, READ))
    form = form or _form(text)
    if form == "lmd":
        return lmd.load(text, where)
    if form == "voc":
        return voc.load(text, where, size)
    if form == "yolo":
        return yolo.load(text, where, size, names)
    if form == "lmd-cache" and (tables := lmd_cache.lines(text)) is not None:
        return lmd_cache.load(tables, where)
    try:
        data: Any = json_of(text)
    except (ValueError, RecursionError) as error:
        said = "it is empty" if not text.strip() else str(error)
        raise BadCondition(f"it is no JSON: {said}", where=where, mend="is it the right file?") from None
    form = form or _form_of(data)
    if form == "json":
        return plain.load(data, where)
    if form == "lmd-cache":
        return lmd_cache.load(data, where)
    readers = {"coco": coco.load, "label-studio": label_studio.load, "labelme": labelme.load}
    return readers[form](data, where, size)


def _form(text: str) -> str | None:
    """The format of a text; None where it is JSON, or was to be."""
    start = text.lstrip()[:1]
    if start == "<":
        return "voc"
    if yolo.is_yolo(text):
        return "yolo"
    if start == "{" and (tables := lmd_cache.lines(text)) is not None and len(tables) > 1:
        return "lmd-cache"
    if start == "{":
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "lmd"
    return None


def _form_of(data: Any) -> str:
    """The format of plain data."""
    if isinstance(data, dict) and "pictures" in data:
        return "json"
    if labelme.is_labelme(data):
        return "labelme"
    if label_studio.is_label_studio(data):
        return "label-studio"
    if isinstance(data, dict) and not {"images", "annotations", "categories"} & set(data) and lmd_cache.is_cache(data):
        return "lmd-cache"
    return "coco"


def _decoded(raw: bytes, where: str) -> str:
    """The text of a file: what its byte order mark or its XML declaration says, else UTF-8."""
    declared = re.match(rb"\s*<\?xml[^>]{0,200}encoding\s*=\s*[\"']([\w.-]{1,20})", raw)
    name = declared.group(1).decode("ascii", "replace").lower() if declared else ""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    elif name not in _ENCODINGS:
        name = "utf-8-sig"
    try:
        return raw.decode(name)
    except UnicodeDecodeError:
        raise BadCondition("it is no text", where=where, mend="layout files are UTF-8 text") from None


def dump_layouts(layouts: Sequence[Layout], form: str) -> tuple[str, list[str]]:
    """Layouts as a text of a format, and what the format does not hold of them: to be told, not dropped silently."""
    _check(form)
    writers = {"json": plain.dump, "coco": coco.dump, "lmd": lmd.dump}
    return writers[form](layouts)


def write_layouts(layouts: Sequence[Layout], path: str | Path, form: str) -> list[str]:
    """Write layouts; what the format does not hold of them is returned.

    Raises:
        BadOption: no such format, or a place that cannot be written to.
    """
    text, lost = dump_layouts(layouts, form)
    try:
        write_whole(Path(path).expanduser(), text)
    except OSError as error:
        raise BadOption(f"it cannot be written: {error.strerror}", where=str(path), mend="choose another place") from None
    return lost


def _check(form: str) -> None:
    if form not in FORMATS:
        raise BadOption(f"no format of layouts is called {form!r}", mend=nearest(form, FORMATS))
