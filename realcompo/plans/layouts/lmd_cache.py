"""LMD's caches of layouts: a table prompt → replies of the language model, as one JSON or as lines of JSON. One picture a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...conditions.files import json_of
from ...errors import BadCondition
from . import lmd
from .base import Layout
from .boxes import MOST_PICTURES

_MEND = "LMD's cache is a table prompt → [text of the reply], or a line of such for each"
_PROMPTS, _REPLIES = ("prompt", "caption"), ("response", "reply", "layout", "output", "text")


def is_cache(data: Any) -> bool:
    """Whether plain data is of this format."""
    return isinstance(data, Mapping) and bool(data) and any(_replies(one) is not None for one in data.values())


def lines(text: str) -> list[Any] | None:
    """The tables of lines of JSON; None where a text is none."""
    found = []
    for line in text.splitlines():
        if not line.strip():
            continue
        if line.lstrip()[:1] != "{":
            return None
        try:
            found.append(json_of(line))
        except (ValueError, RecursionError):
            return None
    return found or None


def load(data: Any, where: str) -> list[Layout]:
    """Layouts of a table, or of a list of tables.

    Raises:
        BadCondition: no such data, or a prompt none of whose replies is a layout.
    """
    table: dict[str, list[str]] = {}
    for n, one in enumerate(data if isinstance(data, list) else [data]):
        if not isinstance(one, Mapping):
            raise BadCondition("it is not a table of prompts", where=f"{where}, entry {n}", mend=_MEND)
        for prompt, told in _pairs(one):
            replies = _replies(told)
            if replies is None:
                raise BadCondition("its reply is no text", where=f"{where}, prompt {prompt[:60]!r}", mend=_MEND)
            table.setdefault(prompt, []).extend(replies)
    if not table or len(table) > MOST_PICTURES:
        raise BadCondition(f"it holds {len(table)} prompts", where=where, mend=f"{_MEND}; from 1 to {MOST_PICTURES}")
    return [_layout(prompt, replies, f"{where}, prompt {prompt[:60]!r}") for prompt, replies in table.items()]


def _pairs(one: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(prompt, replies) of a table: by name, or the prompts themselves."""
    prompt = next((one[name] for name in _PROMPTS if isinstance(one.get(name), str)), None)
    reply = next((one[name] for name in _REPLIES if _replies(one.get(name)) is not None), None)
    if prompt is not None and reply is not None:
        yield prompt, reply
        return
    yield from one.items()


def _replies(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, list) and value and all(isinstance(one, str) for one in value) else None


def _layout(prompt: str, replies: list[str], where: str) -> Layout:
    failed: BadCondition | None = None
    for n, reply in enumerate(replies):
        try:
            found = lmd.load(reply, where)[0]
        except BadCondition as error:
            failed = failed or error
            continue
        told = [f"{where}: reply {n} of {len(replies)} was taken"] if len(replies) > 1 else []
        return replace(found, prompt=prompt, remarks=(*found.remarks, *told))
    raise failed or BadCondition("it has no reply", where=where, mend=_MEND)
