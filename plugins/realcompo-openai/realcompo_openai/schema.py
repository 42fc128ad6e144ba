"""The reply that is asked for. Coordinates are four named numbers: a tuple becomes ``prefixItems``, which strict servers refuse."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


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


def response_schema() -> dict[str, Any]:
    """The JSON schema in the dialect of strict structured output: all required, nothing further, no titles."""
    found: dict[str, Any] = _plain(LayoutReply.model_json_schema())
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        value = {"$ref": value["$ref"]}  # strict servers take no sibling of a reference
    return {name: _plain(one) for name, one in value.items() if name != "title" or isinstance(one, dict)}
