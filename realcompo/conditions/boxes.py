"""Boxes with phrases: what GLIGEN and its kin are told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ..errors import BadCondition
from .base import Box, Condition, with_ids

MAX_BOXES = 1000
"""Of a picture: a file is not trusted, and each box is held against every other."""


class BoxItem(BaseModel):
    """One box and its words.

    Attributes:
        phrase: words of the prompt that this box holds.
        box: (x0, y0, x1, y1) in [0, 1].
        id: names the region; made from the phrase where it is empty.
        span: (start, end) characters of the prompt, where the phrase alone is not enough.
        prompt, negative_prompt: what is and is not to be drawn in it, for branches that draw a region by words of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    phrase: str
    box: Box
    id: str = ""
    span: tuple[int, int] | None = None
    prompt: str | None = None
    negative_prompt: str | None = None


class Boxes(Condition):
    """Boxes with phrases: ``Boxes({"a cat": (0.1, 0.3, 0.5, 0.9)})`` or ``Boxes([("apples", box), ("apples", box)])``; in place of a
    box, a table of an item's fields: ``Boxes({"a cat": {"box": (0.1, 0.3, 0.5, 0.9), "prompt": "a grey cat"}})``.

    A dict is sugar for distinct phrases; a list holds the same phrase several times ("two apples": two regions, one word).

    Raises:
        BadCondition: a number that is not finite, a box outside [0, 1] or without area, an empty phrase, an id used twice.
    """

    kind: ClassVar[str] = "boxes"
    form: ClassVar[str] = "write a table of phrase = [x0, y0, x1, y1]"
    items: tuple[BoxItem, ...] = ()

    def __init__(
        self,
        items: Mapping[str, Sequence[float]] | Iterable[Any] = (),
        /,
        **data: Any,
    ) -> None:
        if "items" not in data:
            pairs = items.items() if isinstance(items, Mapping) else items
            data["items"] = tuple(_item(pair) for pair in pairs)
        super().__init__(**data)

    @model_validator(mode="after")
    def _check(self) -> Boxes:
        if len(self.items) > MAX_BOXES:
            raise BadCondition(f"more than {MAX_BOXES} boxes", where="boxes", mend="leave some out: no network tells so many apart")
        for index, item in enumerate(self.items):
            _check_box(item, index)
        object.__setattr__(self, "items", with_ids(self.items, "box"))
        return self


def _item(pair: Any) -> BoxItem:
    if isinstance(pair, BoxItem):
        return pair
    if isinstance(pair, Mapping):
        return BoxItem(**pair)
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], str):
        raise BadCondition(
            f"{str(pair)[:80]!r} is no phrase with its box",
            where="boxes",
            mend='write {"a cat": (x0, y0, x1, y1)}, or [("a cat", (x0, y0, x1, y1)), …] where a phrase has several boxes',
        )
    phrase, box = pair
    if isinstance(box, Mapping):
        try:
            return BoxItem(**{"phrase": phrase, **box})
        except ValidationError as error:
            first = error.errors()[0]
            said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            fields = ", ".join(BoxItem.model_fields)
            raise BadCondition(said, where=f"box of {phrase!r}", mend=f"a table holds {fields}; box = (x0, y0, x1, y1)") from None
    return BoxItem(phrase=phrase, box=_four(phrase, box))


def _four(phrase: str, box: Sequence[float]) -> Box:
    try:
        numbers = tuple(float(value) for value in box)
    except (TypeError, ValueError, OverflowError):
        what = "it is not four numbers, or one has hundreds of digits"
        raise BadCondition(what, where=f"box of {phrase!r}", mend="write four shares in [0, 1]: (x0, y0, x1, y1)") from None
    if len(numbers) != 4:
        raise BadCondition(
            f"a box has 4 numbers, not {len(numbers)}",
            where=f"box of {phrase!r}",
            mend="write (x0, y0, x1, y1)",
        )
    return numbers


def _check_box(item: BoxItem, index: int) -> None:
    where = f"box {index} ({item.phrase!r})"
    x0, y0, x1, y1 = item.box
    if not item.phrase.strip():
        raise BadCondition("a box without a phrase", where=where, mend="name the prompt's words that it holds")
    for name in ("prompt", "negative_prompt"):
        told = getattr(item, name)
        if told is not None and not told.strip():
            raise BadCondition(f"its {name} is empty", where=where, mend=f"write the words, or leave {name} out")
    if not all(math.isfinite(value) for value in item.box):
        raise BadCondition(f"{item.box} holds a number that is not finite", where=where, mend="write four shares in [0, 1]")
    if min(item.box) < 0 or max(item.box) > 1:
        raise BadCondition(
            f"{item.box} lies outside the picture",
            where=where,
            mend="boxes are shares of the picture, 0 to 1: divide pixels by its width and height",
        )
    if x1 <= x0 or y1 <= y0:
        raise BadCondition(f"{item.box} has no area", where=where, mend="write (x0, y0, x1, y1) with x0 < x1 and y0 < y1")
