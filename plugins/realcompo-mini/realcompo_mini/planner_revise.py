"""Changes to a layout from a few plain sentences, offline: "move the dog left", "make the cat bigger", "swap the cat and the dog".

Pure Python. Works on any boxes with phrases; the relations of a prompt of the mini language are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from realcompo_mini.language import LanguageError, parse
from realcompo_mini.layout import NEAR, Box, short

UNDERSTOOD = (
    "move X left | right | up | down [a little | a lot | by 10%]",
    "move X to the left | right | top | bottom | middle",
    "make X bigger | smaller | wider | narrower | taller | shorter [a little | a lot | by 10%]",
    "swap X and Y",
    "remove X",
)
"""What `revised` takes; X is a word of a region's phrase ("the dog", "apples"), or its id."""

STEP, LITTLE, LOT = 0.15, 0.06, 0.3
"""How far things move, as a share of the picture; their sizes change by twice as much of themselves."""
LEAST = 0.02

_HOW = r"(?: (?P<amount>a little|a bit|slightly|a lot|much|far)| by (?P<number>\d{1,2}(?:\.\d+)?) ?(?:%|percent))?"
_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "place",
        re.compile(r"(?:move|put|place|shift) (?P<x>.+?) (?:to|at|in|into) the (?P<where>left|right|top|bottom|middle|center|centre)"),
    ),
    ("move", re.compile(rf"(?:move|shift|push) (?P<x>.+?) (?:to the )?(?P<where>left|right|up|down)(?:wards?)?{_HOW}")),
    (
        "size",
        re.compile(
            r"make (?P<x>.+?) (?P<more>much |a little |a bit |slightly )?"
            rf"(?P<where>bigger|larger|smaller|wider|narrower|taller|shorter){_HOW}"
        ),
    ),
    ("swap", re.compile(r"(?:swap|exchange) (?P<x>.+?) (?:and|with) (?P<y>.+)")),
    ("remove", re.compile(r"(?:remove|delete|take away|drop) (?P<x>.+)")),
)
_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_SIZES = {
    "bigger": (1, 1),
    "larger": (1, 1),
    "smaller": (-1, -1),
    "wider": (1, 0),
    "narrower": (-1, 0),
    "taller": (0, 1),
    "shorter": (0, -1),
}
_SMALL_WORDS = frozenset(("a", "an", "the", "all", "both", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))


@dataclass(frozen=True)
class Thing:
    """A region: its id, the words it stands for, its box (x0, y0, x1, y1) in shares of the picture."""

    id: str
    phrase: str
    box: Box


def revised(prompt: str, layout: Sequence[Thing], wish: str) -> tuple[list[Thing], list[str]]:
    """The layout as the wish wants it, and what the user should know.

    Raises:
        LanguageError: a wish that is not understood (with the list of what is), a thing that is not there or could be several, a change
            that leaves no room or breaks a relation of the prompt.
    """
    things = list(layout)
    remarks: list[str] = []
    for part in re.split(r"(?:\s*(?:;|\.(?!\d)|,?\s*\b(?:and )?then\b)\s*)+", " ".join(wish.lower().split())):
        if part:
            things = _one(things, part.rstrip("!,"), remarks)
    if not things:
        raise LanguageError("that would leave nothing in the picture")
    _check_relations(prompt, layout, things, remarks)
    return things, remarks


def _one(things: list[Thing], wish: str, remarks: list[str]) -> list[Thing]:
    kind, found = next(((kind, match) for kind, form in _FORMS if (match := form.fullmatch(wish))), ("", None))
    if found is None:
        raise LanguageError(f"{wish!r} is not understood. What is:\n" + "\n".join(f"  {form}" for form in UNDERSTOOD))
    chosen = _meant(found["x"], things)
    if kind == "swap":
        return _swapped(things, chosen, _meant(found["y"], things))
    if kind == "remove":
        phrases = ", ".join(dict.fromkeys(repr(thing.phrase) for thing in chosen))
        remarks.append(f"the prompt still says {phrases}: take it out there too if it is not to be drawn")
        return [thing for thing in things if thing not in chosen]
    change: Callable[[Box], Box]
    if kind == "place":
        change = _placing(found["where"], _around([thing.box for thing in chosen]))
    elif kind == "move":
        dx, dy = _DIRECTIONS[found["where"]]
        change = _moving(dx, dy, _amount(found), _around([thing.box for thing in chosen]))
    else:
        wide, high = _SIZES[found["where"]]
        change = _sizing(wide, high, 2 * _amount(found, (found["more"] or "").strip()))
    return [replace(thing, box=short(change(thing.box))) if thing in chosen else thing for thing in things]


def _amount(found: re.Match[str], more: str = "") -> float:
    if found["number"]:
        return float(found["number"]) / (200 if "more" in found.re.groupindex else 100)
    said = found["amount"] or more
    return {"": STEP, "a lot": LOT, "much": LOT, "far": LOT}.get(said, LITTLE)


def _meant(words: str, things: Sequence[Thing]) -> list[Thing]:
    """The things that are meant: by id, by the whole phrase, or by words of it; a plural means all."""
    words = words.strip()
    by_id = [thing for thing in things if thing.id.lower() == words and thing.id != thing.phrase]
    if by_id:
        return by_id
    asked = [word for word in words.split() if word not in _SMALL_WORDS]
    hits = [thing for thing in things if asked and all(_among(word, thing.phrase.lower().split()) for word in asked)]
    if not hits:
        known = ", ".join(dict.fromkeys(thing.phrase for thing in things))
        raise LanguageError(f"there is no {words!r} in the layout, which holds {known}")
    singular = len(hits) > 1 and not any(asked[-1] == word for thing in hits for word in thing.phrase.lower().split() if word.endswith("s"))
    if singular or (len(hits) > 1 and len({thing.phrase for thing in hits}) > 1):
        raise LanguageError(f"{words!r} could be any of {', '.join(thing.id for thing in hits)}: say which")
    return hits


def _among(word: str, words: Sequence[str]) -> bool:
    return any(word == one or f"{word}s" == one or f"{word}es" == one for one in words)


def _around(boxes: Sequence[Box]) -> Box:
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)


def _moving(dx: int, dy: int, amount: float, group: Box) -> Callable[[Box], Box]:
    """A move of a group that stops at the picture's edge."""
    x = min(max(dx * amount, -group[0]), 1 - group[2])
    y = min(max(dy * amount, -group[1]), 1 - group[3])
    if abs(x) < 0.005 and abs(y) < 0.005:
        raise LanguageError("it stands at the picture's edge already")
    return lambda b: (max(b[0] + x, 0.0), max(b[1] + y, 0.0), min(b[2] + x, 1.0), min(b[3] + y, 1.0))


def _placing(where: str, group: Box) -> Callable[[Box], Box]:
    wide, high = group[2] - group[0], group[3] - group[1]
    goal = {"left": (0.03, None), "right": (0.97 - wide, None), "top": (None, 0.03), "bottom": (None, 0.97 - high)}
    gx, gy = goal.get(where, (0.5 - wide / 2, 0.5 - high / 2))
    x = 0.0 if gx is None else min(max(gx, 0.0), 1 - wide) - group[0]
    y = 0.0 if gy is None else min(max(gy, 0.0), 1 - high) - group[1]
    return lambda b: (max(b[0] + x, 0.0), max(b[1] + y, 0.0), min(b[2] + x, 1.0), min(b[3] + y, 1.0))


def _sizing(wide: int, high: int, amount: float) -> Callable[[Box], Box]:
    """Larger or smaller about the middle; cut at the picture's edge."""

    def change(box: Box) -> Box:
        (x, y), (w, h) = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), (box[2] - box[0], box[3] - box[1])
        w, h = (side * (1 + amount if grow > 0 else 1 / (1 + amount) if grow < 0 else 1) for side, grow in ((w, wide), (h, high)))
        new = (max(x - w / 2, 0.0), max(y - h / 2, 0.0), min(x + w / 2, 1.0), min(y + h / 2, 1.0))
        if min(new[2] - new[0], new[3] - new[1]) < LEAST:
            raise LanguageError("it would be too small to be drawn")
        return new

    return change


def _swapped(things: Sequence[Thing], first: Sequence[Thing], second: Sequence[Thing]) -> list[Thing]:
    """Two things change places: middles move, sizes stay."""
    if len(first) != 1 or len(second) != 1 or first[0] == second[0]:
        raise LanguageError("only two single things can be swapped: say which")
    a, b = first[0].box, second[0].box

    def at(box: Box, place: Box) -> Box:
        w, h = box[2] - box[0], box[3] - box[1]
        x = min(max((place[0] + place[2] - w) / 2, 0.0), 1 - w)
        y = min(max((place[1] + place[3] - h) / 2, 0.0), 1 - h)
        return x, y, min(x + w, 1.0), min(y + h, 1.0)

    return [replace(t, box=short(at(a, b))) if t == first[0] else replace(t, box=short(at(b, a))) if t == second[0] else t for t in things]


def _check_relations(prompt: str, before: Sequence[Thing], after: Sequence[Thing], remarks: list[str]) -> None:
    """Refuse a change that breaks a relation of the prompt; one that was broken before is the user's business."""
    try:
        sentence = parse(prompt)
    except LanguageError:
        remarks.append("the prompt is not of the mini language: its relations were not checked")
        return
    for relation, first, second in zip(sentence.relations, sentence.items, sentence.items[1:], strict=False):
        if relation is None:
            continue
        old, new = ([[t.box for t in things if t.phrase == item.phrase] for item in (first, second)] for things in (before, after))
        if all(new) and not _still(relation, new[0], new[1]) and (not all(old) or _still(relation, old[0], old[1])):
            raise LanguageError(
                f"then {first.phrase!r} would not be {relation} {second.phrase!r}, as the prompt says; change the prompt first"
            )


def _still(relation: str, first: Sequence[Box], second: Sequence[Box]) -> bool:
    """Whether anyone would still say so: by the middles of boxes, more lenient than the planner is with its own."""
    if relation == "next to":
        return any(
            -2 * NEAR <= max(a[0] - b[2], b[0] - a[2]) <= 2 * NEAR and min(a[3], b[3]) > max(a[1], b[1]) for a in first for b in second
        )
    if relation == "on":
        return all(any(b[1] - NEAR <= a[3] <= b[3] and min(a[2], b[2]) > max(a[0], b[0]) for b in second) for a in first)
    axis, sign = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}[relation]
    return all(sign * (a[axis] + a[axis + 2]) < sign * (b[axis] + b[axis + 2]) for a in first for b in second)
