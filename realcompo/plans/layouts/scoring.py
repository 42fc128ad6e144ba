"""How well a planner keeps counts and relations: a suite of prompts labelled by hand, and what came of them.

A suite is TOML, one table a prompt::

    [[prompt]]
    kind = "spatial"
    text = "a cup to the left of two plates"
    objects = [["a cup", 1], ["two plates", 2]]
    relations = [["a cup", "left of", "two plates"]]

Only what a suite states is judged, by the middles and edges of boxes; a prompt without a plan has everything wrong.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...conditions import Box, Boxes
from ...errors import BadOption, PlanningError, nearest
from ...interfaces import Plan

SUITES = ("general", "mini")
"""Suites that come with the package: open language, and the words of the mini family."""
REACH = 0.25
"""The widest gap between things that are next to each other, as a share of the picture."""
SLACK = 0.1
"""How far (a share of the picture) the foot of a thing may be from what it stands on."""


def _middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _on(a: Box, b: Box) -> bool:
    across = min(a[2], b[2]) - max(a[0], b[0])
    return across > 0 and b[1] - SLACK <= a[3] <= b[3] + SLACK and _middle(a)[1] < _middle(b)[1]


def _in(a: Box, b: Box) -> bool:
    x, y = _middle(a)
    return b[0] <= x <= b[2] and b[1] <= y <= b[3]


def _beside(a: Box, b: Box) -> bool:
    return max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3]) <= REACH


RELATIONS: dict[str, Callable[[Box, Box], bool]] = {
    "left of": lambda a, b: _middle(a)[0] < _middle(b)[0],
    "right of": lambda a, b: _middle(a)[0] > _middle(b)[0],
    "above": lambda a, b: _middle(a)[1] < _middle(b)[1],
    "below": lambda a, b: _middle(a)[1] > _middle(b)[1],
    "on": _on,
    "in": _in,
    "next to": _beside,
}
"""When a box stands so to another."""
_ONE_OF = ("on", "in", "next to")
"""It is enough to stand so to one of several."""


class Case(BaseModel):
    """A prompt of a suite and what a person reads in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    text: str = Field(min_length=1)
    kind: str = "all"
    objects: tuple[tuple[str, int], ...] = Field(min_length=1)
    relations: tuple[tuple[str, str, str], ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Case:
        names = [words for words, _ in self.objects]
        for words in names:
            if words.lower() not in self.text.lower():
                raise ValueError(f"{words!r} is not in the prompt {self.text!r}")
        for first, relation, second in self.relations:
            if relation not in RELATIONS:
                raise ValueError(f"no relation is called {relation!r}: {nearest(relation, RELATIONS)}")
            for words in (first, second):
                if words not in names:
                    raise ValueError(f"{words!r} stands in a relation of {self.text!r}, but not in its objects")
        return self


class _Suite(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    prompt: tuple[Case, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Score:
    """What came of one prompt.

    Attributes:
        planned: whether there was a plan. counts, relations: how many of the stated ones are kept, of how many.
        wrong: what is not kept, or why there is no plan.
        layout: (phrase, box) of the plan. requests: that the planner says it sent.
    """

    kind: str
    prompt: str
    planned: bool
    counts: tuple[int, int]
    relations: tuple[int, int]
    wrong: tuple[str, ...] = ()
    layout: tuple[tuple[str, Box], ...] = ()
    requests: int | None = None

    @property
    def right(self) -> bool:
        """Whether everything that is stated is kept."""
        return self.planned and self.counts[0] == self.counts[1] and self.relations[0] == self.relations[1]

    def row(self) -> dict[str, Any]:
        """Plain data, one line of JSON."""
        return {**asdict(self), "right": self.right}


def read_suite(name: str | Path) -> tuple[Case, ...]:
    """A suite by its name or from a file.

    Raises:
        BadOption: no such suite, or a label that makes no sense.
    """
    where = str(name)
    try:
        if where in SUITES:
            text = resources.files(__package__).joinpath("suites", f"{where}.toml").read_text("utf-8")
        else:
            text = Path(name).expanduser().read_text("utf-8")
        return _Suite.model_validate(tomllib.loads(text)).prompt
    except OSError:
        raise BadOption("there is no such suite", where=where, mend=f"name a file, or one of {', '.join(SUITES)}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadOption(f"it is no TOML: {error}", where=where, mend="docs/llm-planner.md shows a suite") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise BadOption(f"{place}: {message}", where=where, mend="docs/llm-planner.md shows a suite") from None


def score(case: Case, plan: Plan | PlanningError) -> Score:
    """Judge a planner's answer to a case."""
    stated = (len(case.objects), len(case.relations))
    if isinstance(plan, PlanningError):
        return Score(case.kind, case.text, False, (0, stated[0]), (0, stated[1]), (plan.what,))
    items = plan.condition.items if isinstance(plan.condition, Boxes) else ()
    layout = tuple((item.phrase, item.box) for item in items)
    groups = {words: [box for phrase, box in layout if _same(phrase, words, case)] for words, _ in case.objects}
    wrong = [f"{words!r}: {len(groups[words])}, not {count}" for words, count in case.objects if len(groups[words]) != count]
    broken = [one for one in case.relations if not _holds(one[1], groups[one[0]], groups[one[2]])]
    counts = (stated[0] - len(wrong), stated[0])
    wrong += [f"not {' '.join((repr(a), name, repr(b)))}" for a, name, b in broken]
    sent = plan.transcript[-1].get("requests") if plan.transcript else None
    requests = sent if isinstance(sent, int) else None
    return Score(case.kind, case.text, True, counts, (stated[1] - len(broken), stated[1]), tuple(wrong), layout, requests)


def _same(phrase: str, words: str, case: Case) -> bool:
    """Whether a box's phrase speaks of a labelled object: the label that shares most of its last words with it."""

    def shared(label: str) -> int:
        a, b = phrase.lower().split()[::-1], label.lower().split()[::-1]
        return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))

    best = max(shared(label) for label, _ in case.objects)
    return best > 0 and words == max((label for label, _ in case.objects), key=shared)


def _holds(relation: str, first: Sequence[Box], second: Sequence[Box]) -> bool:
    if not first or not second:
        return False
    test = RELATIONS[relation]
    if relation == "next to":
        return any(test(a, b) for a in first for b in second)
    if relation in _ONE_OF:
        return all(any(test(a, b) for b in second) for a in first)
    return all(test(a, b) for a in first for b in second)


def table(scores: Iterable[Score]) -> list[tuple[str, int, int, tuple[int, int], tuple[int, int], int]]:
    """(kind, prompts, planned, counts, relations, all right) for each kind, and the total last."""
    scores = list(scores)
    rows: list[tuple[str, int, int, tuple[int, int], tuple[int, int], int]] = []
    for kind in (*dict.fromkeys(one.kind for one in scores), "total"):
        some = [one for one in scores if kind in (one.kind, "total")]
        counts, relations = (
            (sum(p[0] for p in pairs), sum(p[1] for p in pairs)) for pairs in zip(*((s.counts, s.relations) for s in some), strict=True)
        )
        rows.append((kind, len(some), sum(s.planned for s in some), counts, relations, sum(s.right for s in some)))
    return rows
