"""What the shell offers after a Tab: ids of components with their summaries, and recipe files. Imports no torch, and fails silently: a word
that cannot be completed must not fill the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable

Offers = list[tuple[str, str]]
"""(word, its help)."""

_RECIPES = (".toml", ".yaml", ".yml", ".json")


def ids(*nouns: str, role: str | None = None, plugins: bool = False) -> Callable[[str], Offers]:
    """What completes to ids of components.

    Args:
        nouns: tables of the registry (``"branches"`` …); all of them by default.
        role: of branches: those that have it, or either.
        plugins: names of plugins, too.
    """

    def complete(incomplete: str) -> Offers:
        try:
            return [one for one in _offers(nouns, role, plugins) if one[0].startswith(incomplete)]
        except Exception:  # a stranger's plugin may raise anything
            return []

    return complete


def _offers(nouns: tuple[str, ...], role: str | None, plugins: bool) -> Offers:
    from ..registry import installed
    from ..specs import BranchSpec

    registry = installed()
    found = []
    for noun, specs in registry.tables.items():
        for id in sorted(specs if not nouns or noun in nouns else ()):
            spec = specs[id]
            if role is not None and isinstance(spec, BranchSpec):
                try:
                    spec = registry.find(BranchSpec, id)  # its role may be its base's
                except Exception:  # a base that is not there
                    continue
                if spec.role not in (role, None):
                    continue
            found.append((id, spec.summary))
    return [*found, *((name, "a plugin, all of it") for name in sorted(registry.modules) if plugins)]


def recipes(incomplete: str) -> Offers:
    """Recipe files of the folder that is being written; nothing where folders go on from there, so that the shell completes them."""
    folder, start = os.path.split(incomplete)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            fitting = [one for one in entries if one.name.startswith(start) and (start or not one.name.startswith("."))]
            if any(one.is_dir() for one in fitting):
                return []
            return [
                (os.path.join(folder, one.name), "") for one in sorted(fitting, key=lambda one: one.name) if one.name.endswith(_RECIPES)
            ]
    except OSError:
        return []


def words(*known: str) -> Callable[[str], list[str]]:
    """What completes to some words."""
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]
