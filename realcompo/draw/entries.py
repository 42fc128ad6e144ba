"""The pictures that a recipe asks for: that there are some, and the seeds that they lack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import BadPicture, BadRecipe, DifferentWeights
from ..recipes.recipe import PictureEntry, Recipe, RecipeLike


def require_pictures(recipe: Recipe, where: RecipeLike = None) -> None:
    """Raise BadRecipe where there is nothing to draw."""
    if not recipe.pictures:
        place = str(where) if isinstance(where, (str, Path)) else None
        raise BadRecipe(
            "it draws nothing: it holds no pictures", where=place, mend='add [[pictures]] with a prompt, or prompts = "prompts.txt"'
        )


def seeded(pictures: Sequence[PictureEntry]) -> list[PictureEntry]:
    """The same with seeds. A missing one is made from what is asked, and from how often it was asked before in this recipe: not
    from its place, so that a picture keeps its seed when others come and go."""
    asked: dict[str, int] = {}
    found = []
    for picture in pictures:
        if picture.seed is None:
            digest = digest_of(picture.model_copy(update={"name": None}).model_dump_plain())
            asked[digest] = asked.get(digest, 0) + 1
            seed = int(hashlib.sha256(f"{digest} {asked[digest]}".encode()).hexdigest()[:8], 16)
            picture = picture.model_copy(update={"seed": seed})
        found.append(picture)
    return found


def request_of(recipe: Recipe, entry: PictureEntry) -> str:
    """The digest of all that is asked of a picture; its name aside."""
    return digest_of(recipe.model_copy(update={"pictures": (entry.model_copy(update={"name": None}),)}).plain())


def in_the_way(where: str, another: str) -> BadPicture:
    """The error of a picture that stands where another is asked for.

    Args:
        another: what else to choose.
    """
    return BadPicture(
        "it is there already, and is not what this recipe asks for",
        where=where,
        mend=f"choose another {another}, or say --overwrite to draw over it",
    )


def other_weights(there: Mapping[str, Mapping[str, Any]], branches: Mapping[str, Any], where: str) -> DifferentWeights:
    """The error of weights that are not those of the pictures that are there.

    Args:
        there: ID → fingerprints by branch, of which one is told.
        branches: of these, likewise.
    """
    known, one = next(iter(there.items()))
    wrong = next((name for name in branches if one.get(name) != branches[name]), "?")
    return DifferentWeights(
        f"the pictures that are there were drawn by other weights of {wrong} ({known}; these are {weights_id(branches)})",
        where=where,
        mend="use those weights, choose another place with -o, or say --overwrite for a batch of both",
    )


def weights_id(branches: Mapping[str, Any]) -> str:
    """The ID of weights by their fingerprints."""
    return digest_of(branches)[:16]


def digest_of(data: Any) -> str:
    """SHA-256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
