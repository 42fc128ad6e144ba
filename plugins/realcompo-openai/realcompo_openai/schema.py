"""The reply that is asked for. Coordinates are four named numbers: a tuple becomes ``prefixItems``, which strict servers refuse."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from .kinds import Extra


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PlacedObject(_Strict):
    """One object and its box."""

    phrase: str = Field(description="the exact words of the prompt that name this object, adjectives included")
    x0: float = Field(description="left edge, share of the picture's width, 0 to 1")
    y0: float = Field(description="top edge, share of the picture's height, 0 to 1")
    x1: float = Field(description="right edge, greater than x0")
    y1: float = Field(description="bottom edge, greater than y0")


class Counted(_Strict):
    """How many the prompt asks for."""

    phrase: str = Field(description="as in objects")
    count: int = Field(description="how many boxes have this phrase")


RelationName = Literal["left of", "right of", "above", "below", "on", "in", "next to", "other"]


class Related(_Strict):
    """One stated relation between two objects."""

    subject: str = Field(description="phrase of the one that stands there")
    relation: RelationName
    object: str = Field(description="phrase of the one that it is related to")


class LayoutReply(_Strict):
    """Everything that a reply holds."""

    objects: list[PlacedObject] = Field(description="one entry for each single object")
    counts: list[Counted] = Field(description="the counts that the prompt states, as you read them")
    relations: list[Related] = Field(description="the relations that the prompt states, as you read them")
    background: str = Field(description="a few words for the scene without the objects")
    negative: str = Field(description="a few words for what the picture must not show, or nothing")


@lru_cache(maxsize=64)
def reply_model(extra: Extra = Extra()) -> type[LayoutReply]:
    """The reply with what is asked beside boxes: a pose, a class, each one of a list."""
    told: dict[str, Any] = {}
    if extra.poses:
        told["pose"] = (Literal[extra.poses], Field(description="how a person stands; none for whatever is no person"))
    if extra.classes:
        told["label"] = (Literal[extra.classes], Field(alias="class", description="what the map paints it as"))
    if not told:
        return LayoutReply
    placed = create_model("PlacedObject", __base__=PlacedObject, __doc__=PlacedObject.__doc__, **told)
    whole: dict[str, Any] = {"objects": (list[placed], Field(description="one entry for each single object"))}  # type: ignore[valid-type]
    if extra.classes:
        whole["background_class"] = (Literal[(*extra.classes, "")], Field(description="what the map paints everything else as, or nothing"))
    return create_model("LayoutReply", __base__=LayoutReply, __doc__=LayoutReply.__doc__, **whole)


def response_schema(extra: Extra = Extra()) -> dict[str, Any]:
    """The JSON schema in the dialect of strict structured output: all required, nothing further, no titles."""
    found: dict[str, Any] = _plain(reply_model(extra).model_json_schema())
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        value = {"$ref": value["$ref"]}  # strict servers take no sibling of a reference
    return {name: _plain(one) for name, one in value.items() if name != "title" or isinstance(one, dict)}
