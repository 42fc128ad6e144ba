"""Pictures in a branch's options (`ip_adapter`), as copies: a recipe carries them, and names no file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .copies import PictureCopy

Read = Callable[[Any, str], Any]
"""(what the options hold, its name in messages) → what they shall hold."""


def with_pictures(options: Mapping[str, Any], read: Read) -> dict[str, Any]:
    """The options, also those of another branch within them (``base_options``), with every picture as `read` has it."""
    found = dict(options)
    for name, table in options.items():
        if not isinstance(table, Mapping):
            continue
        if name != "ip_adapter":
            found[name] = with_pictures(table, read) if name.endswith("options") else table
            continue
        made = dict(table)
        if made.get("image") is not None:
            made["image"] = read(made["image"], "ip_adapter.image")
        if isinstance(made.get("regions"), Mapping):
            made["regions"] = {key: read(value, f"ip_adapter.regions.{key}") for key, value in made["regions"].items()}
        found[name] = made
    return found


def copied(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a caller, whose paths and pictures are read once.

    Raises:
        BadPicture: not there, no picture, damaged, too large.
    """
    return with_pictures(options, lambda value, name: value if isinstance(value, Mapping) else PictureCopy.of(value, name=name))


def named_files(options: Mapping[str, Any]) -> list[str]:
    """Names of pictures that are paths."""
    found: list[str] = []

    def see(value: Any, name: str) -> Any:
        if isinstance(value, str):
            found.append(name)
        return value

    with_pictures(options, see)
    return found


def tables(branches: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, entry) of the branches of a recipe's plain data that have options."""
    for index, entry in enumerate(branches if isinstance(branches, list) else ()):
        if isinstance(entry, dict) and isinstance(entry.get("options"), dict):
            yield index, entry
