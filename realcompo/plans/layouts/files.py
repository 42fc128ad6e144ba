"""Files of layouts. They are not trusted: bounded in size, nothing in them is evaluated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...conditions import Size
from ...conditions.files import MAX_JSON
from ...errors import BadCondition, BadOption, nearest
from . import coco, lmd, plain
from .base import Layout

FORMATS = ("json", "coco", "lmd")
"""Plain JSON with our schema, COCO's boxes, LMD's text."""


def read_layouts(path: str | Path, form: str | None = None, size: Size | None = None) -> list[Layout]:
    """The layouts of a file.

    Args:
        form: one of `FORMATS`; told from what the file holds where it is missing.
        size: (height, width) in pixels of the pictures, where the file does not say it (COCO's results).

    Raises:
        BadCondition: not there, too large, or no such layout.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise BadCondition("there is no such file", where=str(path), mend="check the path")
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_JSON + 1)
        if len(raw) > MAX_JSON:
            raise BadCondition(f"it is larger than {MAX_JSON >> 20} MiB", where=str(path), mend="split it")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise BadCondition(f"it cannot be read: {error.strerror}", where=str(path), mend="check its permissions") from None
    except UnicodeDecodeError:
        raise BadCondition("it is no text", where=str(path), mend="layout files are UTF-8 text") from None
    return parse_layouts(text, form, str(path), size)


def parse_layouts(text: str, form: str | None = None, where: str = "the layout", size: Size | None = None) -> list[Layout]:
    """The layouts of a text; see `read_layouts`."""
    if form is not None:
        _check(form)
    data: Any = None
    if form != "lmd":
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            if form is not None or text.lstrip()[:1] == "{":
                raise BadCondition(f"it is no JSON: {error}", where=where, mend="is it the right file?") from None
    if form is None:
        form = "lmd" if data is None else "json" if isinstance(data, dict) and "pictures" in data else "coco"
    if form == "lmd":
        return lmd.load(text, where)
    return plain.load(data, where) if form == "json" else coco.load(data, where, size)


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
        Path(path).expanduser().write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadOption(f"it cannot be written: {error.strerror}", where=str(path), mend="choose another place") from None
    return lost


def _check(form: str) -> None:
    if form not in FORMATS:
        raise BadOption(f"no format of layouts is called {form!r}", mend=nearest(form, FORMATS))
