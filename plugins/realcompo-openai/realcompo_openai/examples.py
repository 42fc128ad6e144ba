"""In-context examples: the package's own, and the user's from a file; those most like the prompt are shown."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from realcompo.conditions.palette import is_person, known_class
from realcompo.errors import BadOption

from .grammar import read
from .kinds import NONE, Extra

_FORM = 'write [[example]] with prompt = "…" and objects = [["its words", x0, y0, x1, y1], …]; see docs/llm-planner.md'


@dataclass(frozen=True)
class Example:
    """A prompt and its layout.

    Attributes:
        objects: (phrase, x0, y0, x1, y1) in shares of the picture.
        relations: (subject, relation, object).
    """

    prompt: str
    objects: tuple[tuple[str, float, float, float, float], ...]
    relations: tuple[tuple[str, str, str], ...] = ()
    background: str = ""
    negative: str = ""

    def reply(self, beside: Extra = Extra()) -> str:
        """As a model would say it.

        Args:
            beside: what is asked of objects beside boxes.
        """
        counts = Counter(phrase for phrase, *_ in self.objects)
        whole: dict[str, Any] = {
            "objects": [
                {**dict(zip(("phrase", "x0", "y0", "x1", "y1"), one, strict=True)), **_beside(one[0], beside)} for one in self.objects
            ],
            "counts": [{"phrase": phrase, "count": count} for phrase, count in counts.items()],
            "relations": [dict(zip(("subject", "relation", "object"), one, strict=True)) for one in self.relations],
            "background": self.background,
            "negative": self.negative,
        }
        if beside.classes:
            whole["background_class"] = known_class(self.background, beside.classes) or ""
        return json.dumps(whole, ensure_ascii=False)

    def classed(self, classes: Sequence[str]) -> bool:
        """Whether all its phrases name a class: else it can be no example of a map."""
        return not classes or all(known_class(phrase, classes) is not None for phrase, *_ in self.objects)


def _beside(phrase: str, beside: Extra) -> dict[str, str]:
    """Pose and class of an example's object, where they are asked for: people stand."""
    told: dict[str, str] = {}
    if beside.poses:
        told["pose"] = "standing" if is_person(phrase) else NONE
    if beside.classes:
        told["class"] = known_class(phrase, beside.classes) or ""
    return told


@lru_cache(maxsize=1)
def own_examples() -> tuple[Example, ...]:
    """Those of the package."""
    text = resources.files("realcompo_openai").joinpath("examples.toml").read_text("utf-8")
    return _read(tomllib.loads(text), "examples.toml")


def load_examples(path: str | None) -> tuple[Example, ...]:
    """Those of a user's file, or the package's where there is none.

    Raises:
        BadOption: no such file, or not of that form.
    """
    if path is None:
        return own_examples()
    file = Path(path).expanduser()
    try:
        text = file.read_text("utf-8")
        data = json.loads(text) if file.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadOption(f"the examples cannot be read: {reason}", where=str(file), mend=_FORM) from None
    return _read(data, str(file))


def _read(data: Any, where: str) -> tuple[Example, ...]:
    rows = data.get("example") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not rows:
        raise BadOption("it holds no examples", where=where, mend=_FORM)
    found = []
    for index, row in enumerate(rows):
        try:
            objects = tuple((str(one[0]), *(float(value) for value in one[1:5])) for one in row["objects"] if len(one) == 5)
            if len(objects) != len(row["objects"]) or not objects:
                raise ValueError("an object has five parts")
            relations = tuple((str(a), str(b), str(c)) for a, b, c in row.get("relations", ()))
            found.append(Example(str(row["prompt"]), objects, relations, str(row.get("background", "")), str(row.get("negative", ""))))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise BadOption(f"example {index} is none: {error}", where=where, mend=_FORM) from None
    return tuple(found)


def closest(prompt: str, examples: Sequence[Example], count: int) -> tuple[Example, ...]:
    """The examples most like a prompt, the most like last: models heed what they read last."""
    wanted = _features(prompt)
    ranked = sorted(range(len(examples)), key=lambda index: (-_likeness(wanted, _features(examples[index].prompt)), index))
    return tuple(examples[index] for index in reversed(ranked[:count]))


@lru_cache(maxsize=4096)
def _features(prompt: str) -> frozenset[str]:
    """Words, and what the grammar reads: that both state counts makes two prompts more alike than that both say "the"."""
    reading = read(prompt)
    counts = {f"count:{min(thing.low, 4)}" for thing in reading.things if thing.low != 1}
    relations = {f"relation:{relation.name}" for relation in reading.relations} | {"relation" for _ in reading.relations}
    places = {"position" for _ in reading.positions}
    size = {f"things:{min(len(reading.things), 4)}"}
    return frozenset(re.findall(r"\w{4,}", prompt.lower())) | counts | relations | places | size | ({"counted"} if counts else set())


def _likeness(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared features of all features, in [0, 1]."""
    return len(a & b) / max(1, len(a | b))
