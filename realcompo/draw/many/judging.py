"""Scores of pictures, where they are drawn: a scorer judges each picture alone, so that what it says does not depend on what was left to
judge. What evaluations and batches share stands here, too."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import BadOption, PluginProblem, RealCompoError
from ...interfaces import Case, Scorer, Shot
from ...recipes.recipe import PictureEntry
from ...specs import ScorerSpec
from ..entries import digest_of
from .packing import SUFFIXES, Format, unpack

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...recipes.recipe import Recipe
    from ...registry import Registry
    from .stores import Store

SHARDS: tuple[Format, ...] = ("webdataset", "parquet")

Scorers = Mapping[str, Mapping[str, Any]]
"""Scorer's id → its options, all of them, as plain data."""


# -- what is known without weights -----------------------------------------------------------------------------------------------


def scorers_of(asked: Scorers, recipe: Recipe, registry: Registry) -> dict[str, dict[str, Any]]:
    """The scorers that are asked for, if they can judge a recipe's pictures; loads no weights.

    Args:
        asked: id → its options, those that differ from what it has by itself.

    Raises:
        UnknownName: there is no such scorer. BadOption: no such option, or a scorer reads what the recipe's pictures lack.
    """
    found = {}
    for name, options in asked.items():
        spec = registry.find(ScorerSpec, name)
        where = f"--score {spec.id}"
        if "truth" in spec.reads:
            raise BadOption(
                "it reads what only a suite knows of a picture: what there is to see in truth",
                where=where,
                mend="draw a suite by realcompo eval, or leave this scorer out",
            )
        bare = next((n for n, one in enumerate(recipe.pictures, 1) if not one.conditions), None)
        if "conditions" in spec.reads and bare is not None and recipe.planner is None:
            raise BadOption(
                f"it reads where things stand, and picture {bare} of the recipe has no conditions",
                where=where,
                mend="give the pictures boxes or other conditions, name a planner, or leave this scorer out",
            )
        found[spec.id] = registry.options(spec, options).model_dump(mode="json")
    return found


def asked_of(spec: ScorerSpec, options: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """The digest of what is judged by: scorer, options, and what it reads of a case.

    Args:
        parts: prompt, conditions, truth, as plain data.
    """
    read = {name: parts[name] for name in spec.reads}
    return digest_of({"scorer": spec.id, "options": dict(options), "read": read})


def asked_of_entry(spec: ScorerSpec, options: Mapping[str, Any], entry: PictureEntry, conditions: Any = None) -> str:
    """Likewise, of a recipe's picture.

    Args:
        conditions: plain data of those that were planned for it.
    """
    placed = conditions or (entry.model_dump_plain()["conditions"] if "conditions" in spec.reads else {})
    return asked_of(spec, options, {"prompt": entry.prompt, "conditions": placed, "truth": {}})


# -- judging -----------------------------------------------------------------------------------------------------------------------


def scored(scorer: Scorer, name: str, shots: Sequence[Shot]) -> list[dict[str, Any] | str]:
    """Each picture's record, or why the scorer has none. Over what it stumbles together it is asked one by one.

    Raises:
        RealCompoError: what the scorer says concerns all pictures, or it breaks its contract. MemoryError.
    """
    try:
        records = [plain_record(record, name) for record in scorer.score(shots)]
    except (RealCompoError, MemoryError):
        raise
    except Exception as problem:  # of a plugin, which may stumble over one picture of thousands
        if len(shots) > 1:
            return [one for shot in shots for one in scored(scorer, name, [shot])]
        return [f"{type(problem).__name__}: {problem}"]
    if len(records) != len(shots):
        raise PluginProblem(f"{name} gave {len(records)} records of {len(shots)} pictures", mend="let `score` give one a picture")
    return list(records)


def plain_record(record: Any, scorer: str) -> dict[str, Any]:
    """A record as JSON reads it back.

    Raises:
        PluginProblem: it is no plain data.
    """
    try:
        found = json.loads(json.dumps(dict(record), allow_nan=False))
    except (TypeError, ValueError) as error:
        mend = "let `score` return numbers, texts, lists and tables, and leave out what is NaN"
        raise PluginProblem(f"{scorer} gave no plain data: {error}", mend=mend) from None
    return {str(key): value for key, value in found.items() if not (isinstance(value, float) and math.isnan(value))}


class Bench:
    """The scorers of one worker. Each loads its weights with the first picture that it sees.

    Args:
        device: of the recipe.
    """

    def __init__(self, asked: Scorers, device: str | None, registry: Registry) -> None:
        from ...noise.devices import default_device

        on = str(default_device(device))
        self._asked = asked
        self._scorers = {name: (registry.find(ScorerSpec, name), registry.scorer(name, dict(told), on)) for name, told in asked.items()}
        self._shard: tuple[str, dict[str, bytes]] = ("", {})

    def __call__(self, entry: PictureEntry, file: str, image: Image) -> dict[str, dict[str, Any]]:
        """Scorer → what a picture's line keeps: "asked", and "score" or "error".

        Args:
            image: RGB, as its file has it.

        Raises:
            RealCompoError: a scorer's weights are missing, or it can judge none of these pictures.
        """
        case = Case(
            id=file, prompt=entry.prompt, seed=entry.seed or 0, negative_prompt=entry.negative_prompt, conditions=dict(entry.conditions)
        )
        found: dict[str, dict[str, Any]] = {}
        for name, (spec, scorer) in sorted(self._scorers.items()):
            (said,) = scored(scorer, name, [Shot(case, image)])
            asked = asked_of_entry(spec, self._asked[name], entry)
            found[name] = {"asked": asked, "error": said} if isinstance(said, str) else {"asked": asked, "score": said}
        return found

    def of_file(self, store: Store, one: Mapping[str, Any]) -> dict[str, Any]:
        """The line of a picture that is there already: its scores, or why it cannot be read.

        Args:
            one: of a unit; its place is a picture's file, or the shard that holds it.
        """
        from PIL import Image

        from ...pictures.result import pixel_digest

        line = {"picture": one["file"], "request": one["request"], "state": "judged"}
        try:
            with Image.open(io.BytesIO(self._bytes(store, one["place"], one["file"]))) as image:
                image.load()
                same, pixels = pixel_digest(image) == one["pixels"], image.convert("RGB")
        except (OSError, SyntaxError, ValueError, KeyError) as error:  # PIL's ways to say that a file is torn
            return {**line, "error": f"its pixels cannot be read: {error}"}
        if not same:
            return {**line, "error": "its pixels are not those that were drawn"}
        return {**line, "scores": self(PictureEntry.model_validate(one["entry"]), one["file"], pixels)}

    def _bytes(self, store: Store, place: str, file: str) -> bytes:
        """Of a picture; the last shard is kept, as its pictures come one after the other."""
        format: Format | None = next((name for name in SHARDS if place.endswith(SUFFIXES[name])), None)
        if format is None:
            return store.read(place)
        if self._shard[0] != place:
            self._shard = place, unpack(store.read(place), format, f"{store.address}/{place}")
        return self._shard[1][file]
