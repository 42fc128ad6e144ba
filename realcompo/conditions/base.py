"""What all kinds of condition share: the base class, ids of items, and the checks of shapes and numbers."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from ..errors import BadCondition, Mended

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) as shares of the picture's width and height, origin at the top left."""

Size = tuple[int, int]
"""(height, width) in pixels."""

MAX_MAP = 4096
"""Pixels along a side of a map: it is not trusted, and it is held in memory."""

ASPECT_TOLERANCE = 0.01
"""Two aspect ratios that differ by less are one: sides are rounded to multiples of 8, which moves a ratio by this much."""


def remark(what: str, where: str) -> None:
    """Tell that input was read after something in it was put right."""
    warnings.warn(Mended(f"{where}: {what}"), stacklevel=3)


class Condition(BaseModel):
    """Base of all conditions of one picture. Serialises to plain data for recipes.

    Attributes:
        kind: its name in recipes and specs.
        form: how it is written in a recipe, for messages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: ClassVar[str]
    form: ClassVar[str] = ""


class Item(Protocol):
    """A part of a condition that becomes one region."""

    @property
    def phrase(self) -> str: ...

    @property
    def id(self) -> str: ...

    def model_copy(self, *, update: dict[str, Any]) -> Any: ...


T = TypeVar("T", bound=Item)


def with_ids(items: Sequence[T], noun: str) -> tuple[T, ...]:
    """The items, each with an id of its own: made from the phrase where it is empty, numbered where that is taken.

    Raises:
        BadCondition: an id that was given to two items.
    """
    given = Counter(item.id for item in items if item.id)
    for index, item in enumerate(items):
        if item.id and given[item.id] > 1:
            raise BadCondition(f"the id {item.id!r} is used twice", where=f"{noun} {index}", mend=f"give each {noun} its own id")
    taken, named = set(given), []
    numbers: dict[str, itertools.count[int]] = {}  # kept for each phrase: of ten thousand equal ones the last need not try them all
    for item in items:
        id = item.id
        if not id:
            following = numbers.setdefault(item.phrase, itertools.count(2))
            candidates = itertools.chain([item.phrase], (f"{item.phrase}#{number}" for number in following))
            id = next(candidate for candidate in candidates if candidate not in taken)
            taken.add(id)
        named.append(item.model_copy(update={"id": id}))
    return tuple(named)


def check_phrase(phrase: str, noun: str, where: str) -> None:
    """Raise BadCondition where there are no words."""
    if not phrase.strip():
        raise BadCondition(f"a {noun} without a phrase", where=where, mend="name the prompt's words that it holds")


def check_shares(numbers: Sequence[float], what: str, where: str) -> None:
    """Raise BadCondition unless all numbers are shares of the picture, in [0, 1]."""
    shown = f"({', '.join(f'{value:g}' for value in numbers)})"
    if not all(math.isfinite(value) for value in numbers):
        raise BadCondition(f"{what} {shown} holds a number that is not finite", where=where, mend="write shares in [0, 1]")
    if min(numbers) < 0 or max(numbers) > 1:
        raise BadCondition(
            f"{what} {shown} lies outside the picture",
            where=where,
            mend=f"{what}s are shares of the picture, 0 to 1: divide pixels by its width and height",
        )


def check_aspect(measured: Size | None, size: Size, what: str) -> None:
    """Raise BadCondition where a condition was measured on a picture of another shape.

    Args:
        measured: (height, width) that its numbers belong to; None where nothing is known.
        size: (height, width) of the picture to be drawn.
        what: the condition, for the message.
    """
    if measured is None:
        return
    ratio = (measured[1] * size[0]) / (measured[0] * size[1])
    if abs(math.log(ratio)) > ASPECT_TOLERANCE:
        height, width = measured
        side = (round(size[1] * height / width / 8) * 8, size[1])
        raise BadCondition(
            f"{what} is {width}×{height} pixels ({width / height:.3f} : 1), the picture {size[1]}×{size[0]} ({size[1] / size[0]:.3f} : 1)",
            where="aspect ratio",
            mend=f"crop one to the other's shape, or draw {side[1]}×{side[0]}",
        )


def check_size(size: Size, limit: int, what: str) -> None:
    """Raise BadCondition where a map has no pixels, or more than `limit` along a side."""
    if min(size) < 1 or max(size) > limit:
        raise BadCondition(
            f"{what} of {size[1]}×{size[0]} pixels", where="size", mend=f"write (height, width), each from 1 to {limit} pixels"
        )
