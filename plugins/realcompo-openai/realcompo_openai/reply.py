"""From a reply's text to data: think blocks and code fences off, a real JSON parser, nothing ever evaluated."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from .errors import shown

LIMIT = 10 * 1024 * 1024
"""Bytes of a reply that are read at most."""
PARSED = 512 * 1024
"""Characters that are searched for a layout, the last of the reply: hundreds of boxes take a tenth of that."""
_MOST = 500
"""Objects of a reply that are looked at."""

_THINK_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.I)
_THINK_START = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.I)
_FENCE = re.compile(r"```[\w-]*[ \t]*\r?\n?(.*?)```", re.S)


class Unreadable(Exception):
    """A reply that is no layout; the message says to the model what was wrong."""


@dataclass(frozen=True)
class RawObject:
    """An object as the reply has it: `form` is "corners" (named), "sides" (named x, y, w, h) or "list" (no names); `pose` and `label` (its
    key "class") are what it says, unchecked, and None where it says nothing."""

    phrase: str
    numbers: tuple[float, float, float, float]
    form: str
    pose: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class RawReply:
    """A reply's content.

    Attributes:
        counts: (phrase, count). relations: (subject, relation, object).
        backdrop: its key "background_class".
        stripped: what was taken off.
    """

    objects: tuple[RawObject, ...]
    counts: tuple[tuple[str, int], ...] = ()
    relations: tuple[tuple[str, str, str], ...] = ()
    background: str = ""
    negative: str = ""
    stripped: tuple[str, ...] = ()
    backdrop: str = ""


def parse_reply(text: str) -> RawReply:
    """What a reply says.

    Raises:
        Unreadable: no JSON, several layouts, another schema, numbers that are none.
    """
    data, stripped = _find(text)
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unreadable("a text in it holds half of a surrogate pair, which is no character") from None
    objects = data.get("objects")
    if not isinstance(objects, list):
        raise Unreadable('the JSON has no list "objects"')
    if len(objects) > _MOST:
        raise Unreadable(f"{len(objects)} objects are too many")
    return RawReply(
        tuple(_object(one, index) for index, one in enumerate(objects)),
        tuple(_counts(data.get("counts"))),
        tuple(_relations(data.get("relations"))),
        _words(data.get("background")),
        _words(data.get("negative")),
        stripped,
        _words(data.get("background_class")),
    )


def loads(text: str) -> Any:
    """Strict JSON: no NaN, no Infinity, no depth that ends the interpreter.

    Raises:
        ValueError: no JSON.
    """
    try:
        return json.loads(text, parse_constant=_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _find(text: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    stripped: list[str] = []
    body = text.lstrip("\ufeff").strip()
    bare = _THINK_END.split(body)[-1].strip()  # what comes last; some servers swallow the opening tag
    start = _THINK_START.search(bare)
    if start is not None and "{" not in bare[: start.start()]:
        raise Unreadable("the reply ends inside its reasoning, without a layout")
    if bare != body:
        stripped.append("think block")
    if not bare:
        raise Unreadable("the reply is empty")
    if len(bare) > PARSED:
        raise Unreadable(f"the reply is {len(bare):,} characters long; a layout is short")
    try:
        data = loads(bare)
    except ValueError as error:
        return _dig(bare, str(error), stripped)
    if not isinstance(data, dict):
        raise Unreadable(f"the JSON is a {_kind(data)}, not an object")
    return data, tuple(stripped)


def _dig(text: str, reason: str, stripped: list[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The one layout in a text that is not JSON as a whole."""
    for what, pieces in (("code fence", _FENCE.findall(text)), ("words around the JSON", [text])):
        found: list[dict[str, Any]] = []
        for piece in pieces:
            found += [one for one in _objects(piece) if one not in found]
        if len(found) > 1:
            raise Unreadable(f"the reply holds {len(found)} different layouts; give one")
        if found:
            return found[0], (*stripped, what)
    said = "the reply is no JSON" if "{" not in text else f"the reply is no valid JSON ({reason})"
    raise Unreadable(said)


def _objects(text: str) -> list[dict[str, Any]]:
    """JSON objects in a text that hold "objects"."""
    decoder = json.JSONDecoder(parse_constant=_constant)
    found, at = [], text.find("{")
    for _ in range(50):
        if at < 0:
            break
        try:
            data, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(data, dict) and "objects" in data:
                found.append(data)
        at = text.find("{", end)
    return found


def _object(data: Any, index: int) -> RawObject:
    where = f"objects[{index}]"
    if not isinstance(data, dict):
        raise Unreadable(f"{where} is a {_kind(data)}, not an object with phrase, x0, y0, x1, y1")
    phrase = data.get("phrase")
    if not isinstance(phrase, str) or not phrase.strip():
        raise Unreadable(f"{where} has no phrase")
    where += f" ({shown(phrase, 60)!r})"
    pose, label = (data[name] if isinstance(data.get(name), str) else None for name in ("pose", "class"))
    for form, names in (("corners", ("x0", "y0", "x1", "y1")), ("sides", ("x", "y", "w", "h")), ("sides", ("x", "y", "width", "height"))):
        if all(name in data for name in names):
            return RawObject(phrase, _numbers([data[name] for name in names], where), form, pose, label)
    for name in ("box", "bbox", "bounding_box"):
        value = data.get(name)
        if isinstance(value, list) and len(value) == 4:
            return RawObject(phrase, _numbers(value, where), "list", pose, label)
    raise Unreadable(f"{where} does not have the four numbers x0, y0, x1, y1")


def _numbers(values: list[Any], where: str) -> tuple[float, float, float, float]:
    read = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Unreadable(f"{where}: {shown(repr(value), 40)} is no number")
        try:
            read.append(float(value))
        except OverflowError:
            read.append(math.inf)
    if not all(math.isfinite(value) for value in read):
        raise Unreadable(f"{where}: a coordinate is not finite")
    return read[0], read[1], read[2], read[3]


def _counts(data: Any) -> list[tuple[str, int]]:
    rows = data if isinstance(data, list) else []
    return [
        (row["phrase"], row["count"])
        for row in rows[:_MOST]
        if isinstance(row, dict) and isinstance(row.get("phrase"), str) and type(row.get("count")) is int
    ]


def _relations(data: Any) -> list[tuple[str, str, str]]:
    rows, names = data if isinstance(data, list) else [], ("subject", "relation", "object")
    good = [row for row in rows[:_MOST] if isinstance(row, dict) and all(isinstance(row.get(name), str) for name in names)]
    return [(row["subject"], row["relation"], row["object"]) for row in good]


def _words(value: Any) -> str:
    return shown(value, 200) if isinstance(value, str) else ""


def _kind(value: Any) -> str:
    return {list: "list", str: "text", type(None): "null", bool: "true or false"}.get(type(value), "number")
