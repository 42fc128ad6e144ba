"""Plain data laid in layers: every value remembers the layer that it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadRecipe, UnknownName, nearest
from .files import Path_, RecipeFile, dotted
from .parts import plain_data


@dataclass(frozen=True)
class Layer:
    """Values from one place.

    Attributes:
        name: as shown to users.
        data: a part of a recipe.
        sets: (where, value) that are put into the merged data after `data`.
        trusted: whether it speaks for the user.
    """

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)
    sets: tuple[tuple[Path_, Any], ...] = ()
    file: RecipeFile | None = None
    trusted: bool = False

    def where(self, loc: Path_) -> str:
        return self.file.where(loc) if self.file is not None else self.name


class Merged:
    """Plain data of all layers so far, and the layer of each leaf."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.origins: dict[Path_, Layer] = {}

    def lay(self, layer: Layer) -> None:
        """Put a layer on top: tables are joined, other values and lists replaced, a component of another name replaced whole."""
        self._join(self.data, normal(layer.data), (), layer)
        for loc, value in layer.sets:
            self.put(loc, value, layer)

    def _join(self, base: dict[str, Any], top: Mapping[str, Any], at: Path_, layer: Layer) -> None:
        for key, value in top.items():
            old, here = base.get(key), (*at, key)
            if isinstance(value, Mapping) and isinstance(old, dict) and not _renamed(old, value):
                self._join(old, value, here, layer)
            else:
                base[key] = _plain(value, layer.where(here), here)
                if here == ("scheduler",) and value != old:
                    self._rescheduled(layer)
                self._own(here, base[key], layer)

    def _rescheduled(self, layer: Layer) -> None:
        """Settings belong to the scheduler that was named beside them: another begins without."""
        if self.data.pop("scheduler_options", None):
            self._own(("scheduler_options",), {}, layer)

    def _own(self, at: Path_, value: Any, layer: Layer) -> None:
        for loc in [loc for loc in self.origins if loc[: len(at)] == at or at[: len(loc)] == loc]:
            del self.origins[loc]
        for loc in _leaves(value, at):
            self.origins[loc] = layer

    def put(self, loc: Path_, value: Any, layer: Layer) -> None:
        """Set one value. A place in `branches` is a number or the branch's name.

        Raises:
            UnknownName, BadRecipe: there is no such place.
        """
        where = layer.where(("set",)) if layer.file is not None else layer.name
        at: list[str | int] = []
        node: Any = self.data
        for part in loc[:-1]:
            key = self._key(node, part, at, where)
            if isinstance(node, dict) and key not in node:
                node[key] = {}
            node = node[key]
            at.append(key)
        last = self._key(node, loc[-1], at, where)
        if last == "name" and isinstance(node, dict) and _renamed(node, {"name": value}):
            for key in [key for key in node if key != "role"]:
                del node[key]
            self._own(tuple(at), node, layer)
        changed = loc == ("scheduler",) and value != self.data.get("scheduler")
        node[last] = _plain(value, where, loc)
        if changed:
            self._rescheduled(layer)
        self.data = normal(self.data)
        here = (*at, last)
        self._own(here, value_at(self.data, here), layer)

    def _key(self, node: Any, part: str | int, at: Sequence[str | int], where: str) -> Any:
        if isinstance(node, dict):
            return str(part)
        name = dotted((*at, part))
        if not isinstance(node, list):
            raise BadRecipe(f"{name} cannot be set: {dotted(at)} is no table", where=where, mend="see docs/recipes.md for the keys")
        names = [str(one.get("name", "")) if isinstance(one, dict) else "" for one in node]
        if isinstance(part, str):
            hits = [index for index, known in enumerate(names) if part in (known, known.rpartition("/")[2])]
            if len(hits) == 1:
                return hits[0]
            raise UnknownName(
                f"{dotted(at)} has no place {part!r}",
                where=where,
                mend=nearest(part, [short for n in names if n for short in (n, n.rpartition("/")[2])] or map(str, range(len(node)))),
            )
        if part >= len(node):
            raise UnknownName(
                f"{dotted(at)} has no place {part}: it holds {len(node)}",
                where=where,
                mend=f"count from 0 to {max(len(node) - 1, 0)}",
            )
        return part

    def layer(self, loc: Path_) -> Layer:
        """The layer of a value, of something inside it, or of what it is inside of."""
        for known, layer in self.origins.items():
            if known[: len(loc)] == loc or loc[: len(known)] == known:
                return layer
        return self.layer(loc[:-1]) if loc else Layer("recipe")


def normal(data: Mapping[str, Any]) -> dict[str, Any]:
    """Bare names of branches, balancer and planner as tables."""
    data = dict(data)
    for key in ("balancer", "planner"):
        if isinstance(data.get(key), str):
            data[key] = {"name": data[key]}
    if isinstance(data.get("branches"), (list, tuple)):
        data["branches"] = [{"name": one} if isinstance(one, str) else one for one in data["branches"]]
    return data


def _renamed(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a component gives way to another, whose options are its own business."""
    a, b = old.get("name"), new.get("name")
    if not isinstance(a, str) or not isinstance(b, str) or a == b:
        return False
    return not ("/" not in (a if "/" in b else b) and a.rpartition("/")[2] == b.rpartition("/")[2])


def _leaves(value: Any, at: Path_) -> Iterable[Path_]:
    if at and at[0] == "pictures" and len(at) > 1:
        yield at
    elif isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _leaves(one, (*at, key))
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        for index, one in enumerate(value):
            yield from _leaves(one, (*at, index))
    else:
        yield at


def value_at(data: Any, loc: Path_) -> Any:
    for part in loc:
        try:
            data = data[str(part) if isinstance(data, Mapping) else part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _plain(value: Any, where: str, at: Path_) -> Any:
    """A value as files hold it.

    Raises:
        BadRecipe: none can.
    """
    try:
        return plain_data(value)
    except ValueError as error:
        raise BadRecipe(f"{'.'.join(map(str, at))}: {error}", where=where, mend="write finite numbers, and texts as names") from None
