"""Small pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from realcompo.cli.show import toml_value, type_name

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤", "multiple_of": "multiple of"}


def cell(text: object) -> str:
    """A text that a table's cell shows as it is."""
    flat = " ".join(str(text).split())
    pieces = re.split(r"(`[^`]*`)", flat)
    return "".join(one if one.startswith("`") else _plain(one) for one in pieces).replace("|", "\\|")


def _plain(text: str) -> str:
    """Without what Markdown would read as emphasis, a link or a tag; an underscore inside a word is none."""
    text = re.sub(r"[*\[]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)
    return text.replace("<", "&lt;")


def code(text: object) -> str:
    """As code; nothing for nothing."""
    flat = " ".join(str(text).split()).replace("`", "'")
    return f"`{flat}`" if flat else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells that are Markdown already."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def field_rows(cls: type[BaseModel], defaults: dict[str, Any] | None = None, guarded: frozenset[str] = frozenset()) -> list[list[str]]:
    """name, type, default, meaning of a model's fields.

    Raises:
        SystemExit: one without a description.
    """
    rows = []
    for name, field in cls.model_fields.items():
        if not field.description:
            raise SystemExit(f"{cls.__module__}.{cls.__name__}.{name} has no description")
        note = " Set by you alone: `--set`, the user file, or Python; a recipe file that sets it is refused." if name in guarded else ""
        rows.append([code(name), kind_of(field), default_of(name, field, defaults or {}), cell(field.description) + note])
    return rows


def kind_of(field: FieldInfo) -> str:
    """Type and bounds."""
    bounds = [f"{sign} {getattr(one, name)}" for one in field.metadata for name, sign in _BOUNDS.items() if hasattr(one, name)]
    return cell(", ".join([type_name(field.annotation).replace(" | ", " or "), *bounds]))


def default_of(name: str, field: FieldInfo, defaults: dict[str, Any]) -> str:
    """A default as a recipe writes it."""
    if name in defaults:
        return code(shown(defaults[name]))
    return "required" if field.is_required() else code(shown(field.get_default(call_default_factory=True)))


def shown(value: Any) -> str:
    """A default in TOML's notation; a model by its own fields that were set."""
    if isinstance(value, BaseModel):
        stated = value.model_dump(exclude_defaults=True)
        return toml_value(stated["name"]) if set(stated) == {"name"} else "{}" if not stated else shown(stated)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {shown(one)}" for key, one in value.items()) + " }" if value else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(shown(one) for one in value)}]"
    return toml_value(value)


def summary(doc: str | None) -> str:
    """What a docstring says before its sections, in one line."""
    text = (doc or "").strip()
    text = re.split(r"\n\s*\n?\s*(?:Args|Attributes|Raises|Returns):\s*\n", f"{text}\n")[0]
    return " ".join(text.replace("``", "`").split())


def attributes(doc: str | None, section: str = "Attributes") -> dict[str, str]:
    """name → meaning, of a docstring's section. "height, width: pixels" speaks of both."""
    lines = (doc or "").expandtabs().splitlines()
    start = next((number for number, line in enumerate(lines) if line.strip() == f"{section}:"), None)
    if start is None:
        return {}
    depth = len(lines[start]) - len(lines[start].lstrip())
    found: dict[str, str] = {}
    names: list[str] = []
    inner = None
    for line in lines[start + 1 :]:
        here = len(line) - len(line.lstrip())
        if line.strip() and here <= depth:
            break
        inner = here if inner is None and line.strip() else inner
        opens = re.match(r"\s*(\w+(?:, \w+)*): (.*)", line)
        if opens and here == inner:
            names, text = opens[1].split(", "), opens[2]
        elif line.strip():
            text = line.strip()
        else:
            continue
        for name in names:
            found[name] = f"{found[name]} {text}" if name in found else text
    return {name: text.replace("``", "`") for name, text in found.items()}
