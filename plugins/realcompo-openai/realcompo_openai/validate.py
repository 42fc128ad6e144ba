"""Whether a layout is what its prompt asks for: boxes, phrases, counts, relations. The prompt governs, not the model's reading of it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from realcompo.conditions import Box
from realcompo.interfaces import PlanRequest, Region
from realcompo.plans.from_boxes import Placed
from realcompo.toolkit.scripts import PARTICLES, fold, words_of

from . import geometry
from .coordinates import to_boxes
from .errors import shown
from .grammar import read
from .kinds import Extra, extra_of, judge_backdrop, judge_class, judge_pose, noun_of
from .reading import Reading, Thing
from .reply import RawObject, RawReply, Unreadable
from .words import CONJUNCTIONS, DETERMINERS, NUMBERS, PREPOSITIONS, VERBS

TWICE = 0.9
"""Two boxes of one phrase that overlap more than this (intersection over union) are one box said twice."""


_AWAY = {"remove", "delete", "without", "drop", "away", "out", "erase"}
"""Words of a wish that may take a thing out of the layout."""


@dataclass(frozen=True)
class Verdict:
    """What is made of a reply.

    Attributes:
        items: the layout, kept regions first; to be used only if there are no problems.
        problems: what is wrong, each a sentence that the model is told.
        warnings: what was not checked.
        converted: the reading that the coordinates were converted from, if they were not as asked.
        backdrop: class of the rest of a map; empty for none.
    """

    items: tuple[Placed, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    converted: str | None = None
    backdrop: str = ""


@dataclass
class _Placed:
    """A box and the thing that it is one of (None: the grammar did not read it)."""

    phrase: str
    box: Box
    things: tuple[Thing, ...]
    new: bool
    span: tuple[int, int] | None = None
    id: str = ""
    pose: str = ""
    label: str = ""


@dataclass
class _Check:
    """One validation under way."""

    request: PlanRequest
    reading: Reading
    extra: Extra
    problems: list[str] = field(default_factory=list)
    placed: list[_Placed] = field(default_factory=list)

    def of(self, thing: Thing) -> list[_Placed]:
        """The boxes of a thing, or of all things that are worded as it is."""
        return [one for one in self.placed if any(other is thing for other in one.things)]


def validate(reply: RawReply, request: PlanRequest, most: int) -> Verdict:
    """Judge a reply.

    Args:
        most: the most boxes, where the request states no limit.
    """
    reading = read(request.prompt)
    check = _Check(request, reading, extra_of(request))
    for region in request.keep:
        if region.box is not None:
            check.placed.append(_kept(region, reading))
    try:
        boxes, converted = to_boxes(reply.objects, request.size)
    except Unreadable as error:
        return Verdict(problems=(str(error),), warnings=tuple(reading.warnings))
    limit = request.max_objects if request.max_objects is not None else most
    if len(boxes) > limit + len(request.keep):  # a kept one may be said again
        return Verdict(problems=(f"{len(boxes)} objects, but at most {limit} are possible",), warnings=tuple(reading.warnings))
    for raw, box in zip(reply.objects, boxes, strict=True):
        _match(check, raw, box)
    if not check.placed:
        check.problems.append("objects is empty: give every object that the prompt names a box")
    if len(check.placed) > limit:
        check.problems.append(f"{len(check.placed)} objects, but at most {limit} are possible")
    _twice(check)
    backdrop, fault = judge_backdrop(reply.backdrop, check.extra)
    check.problems += [fault] if fault is not None else []
    if check.extra.poses and not (check.problems or request.wish or request.keep) and not any(one.pose for one in check.placed):
        check.problems.append("no object has a pose: a person of the prompt needs one")
    if not check.problems:
        read_by_prompt = _counts(check)
        related = _relations(check)
        _own_reading(check, reply, read_by_prompt, related)
    items = tuple(_items(check)) if not check.problems else ()
    return Verdict(items, tuple(dict.fromkeys(check.problems)), tuple(dict.fromkeys(reading.warnings)), converted, backdrop)


# -- phrases -----------------------------------------------------------------------------------------------------------------


def locate(phrase: str, prompt: str) -> list[tuple[int, int]]:
    """Where the words of a phrase stand in a prompt (characters), whatever the case, the white space and the composition of letters."""
    words = words_of(phrase)
    if not words or len(phrase) > 300:
        return []
    return [span for span, _ in fold(prompt).find(words, PARTICLES)]


def _match(check: _Check, raw: RawObject, box: Box) -> None:
    """Find out what an object's phrase speaks of, and place it."""
    phrase = raw.phrase
    prompt, name = check.request.prompt, shown(phrase, 80)
    spans = locate(phrase, prompt)
    if not spans:
        check.problems.append(f"{name!r} is not in the prompt: use the prompt's exact words")
        return
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", phrase.lower())
    if not set(words) - DETERMINERS - CONJUNCTIONS - PREPOSITIONS - VERBS - set(NUMBERS):
        check.problems.append(f"{name!r} names no object")
        return
    vocabulary = check.request.vocabulary
    if vocabulary is not None:
        strange = [word for word in words if word not in {one.lower() for one in vocabulary}]
        if strange:
            check.problems.append(f"{name!r} holds {strange[0]!r}, which the models do not know")
            return
    things, fault = _things(check.reading, spans, name)
    if fault is not None:
        check.problems.append(fault)
        return
    if any(thing.high == 0 for thing in things):
        check.problems.append(f"the prompt says {things[0].text!r}, so give {name!r} no box")
        return
    kept = [one for one in check.placed if not one.new and one.phrase.lower() == phrase.lower()]
    if any(geometry.overlap(one.box, box) > TWICE for one in kept):
        return  # the model repeats what is kept anyway
    start, end = spans[0]
    one = _Placed(prompt[start:end], box, things, True, (start, end))
    noun = noun_of(phrase, tuple(thing.text for thing in things))
    if check.extra.poses:
        one.pose, fault = judge_pose(phrase, noun, raw.pose, check.extra)
        check.problems += [fault] if fault is not None else []
    if check.extra.classes:
        one.label, fault = judge_class(phrase, noun, raw.label, check.extra)
        check.problems += [fault] if fault is not None else []
    check.placed.append(one)


def _things(reading: Reading, spans: Sequence[tuple[int, int]], name: str) -> tuple[tuple[Thing, ...], str | None]:
    """The things that a phrase at these places speaks of, and what is wrong with it."""
    found: list[Thing] = []
    for start, end in spans:
        heads = [t for t in reading.things if any(start <= m[2] and m[3] <= end for m in t.mentions)]
        if len(heads) > 1:
            joint = reading.prompt[heads[0].mentions[0][3] : heads[1].mentions[0][0]].lower()
            if "," in joint or re.search(r"\b(and|or|but|while)\b", joint):
                return (), f"{name!r} holds several objects: give each a box of its own"
        if heads and not any(one is heads[0] for one in found):
            found.append(heads[0])
        cut = [t for t in reading.things if t.sure and any(m[0] <= start < m[1] or m[0] < end <= m[1] for m in t.mentions)]
        if not heads and cut:
            return (), f"{name!r} stops short of its noun: say {cut[0].text!r}"
    if len({thing.text.lower() for thing in found}) > 1:
        told = " or ".join(repr(thing.text) for thing in found[:3])
        return (), f"{name!r} could be {told}: use the words that tell them apart"
    return tuple(found), None


def _kept(region: Region, reading: Reading) -> _Placed:
    spans = [region.span] if region.span is not None else locate(region.phrase, reading.prompt)
    things, _ = _things(reading, spans, region.phrase)
    if region.box is None:
        raise TypeError("a kept region without a box")  # the caller looked
    return _Placed(region.phrase, region.box, things, False, region.span, region.id)


def _twice(check: _Check) -> None:
    for index, one in enumerate(check.placed):
        for other in check.placed[:index]:
            if one.phrase.lower() == other.phrase.lower() and geometry.overlap(one.box, other.box) > TWICE:
                check.problems.append(f"two boxes of {one.phrase!r} are the same box")


# -- counts and relations ----------------------------------------------------------------------------------------------------


def _counts(check: _Check) -> set[str]:
    """Hold the boxes against the prompt's counts; the phrases that it counts."""
    groups: dict[str, list[Thing]] = defaultdict(list)
    for thing in check.reading.things:
        groups[thing.text.lower()].append(thing)
    counted: set[str] = set()
    for same in groups.values():
        thing = same[0]
        have = len(check.of(thing))
        if thing.high == 0 or not thing.sure:
            continue
        counted |= {one.phrase.lower() for one in check.of(thing)}
        low = sum(one.low for one in same if one.required)
        high = None if any(one.high is None for one in same) else sum(one.high or 0 for one in same)
        if have == 0 and low == 0:
            continue
        low = 0 if _taken_out(thing, check.request.wish) else max(low, thing.low)
        if have < low:
            check.problems.append(f"the prompt says {thing.text!r}: it needs {_many(low)}, and you gave {have}")
        elif high is not None and have > high:
            check.problems.append(f"the prompt says {thing.text!r}: it takes {_many(high)}, and you gave {have}")
    return counted


def _taken_out(thing: Thing, wish: str) -> bool:
    """Whether the user wishes a thing away, which the prompt still names."""
    words = set(re.findall(r"[^\W_]+", wish.lower()))
    return bool(words & _AWAY) and bool({thing.head, thing.head.removesuffix("s")} & {*words, *(word.removesuffix("s") for word in words)})


def _many(count: int) -> str:
    return "one box" if count == 1 else f"{count} boxes"


def _relations(check: _Check) -> set[tuple[str, str]]:
    """Hold the boxes against the prompt's relations; the pairs of phrases that it relates."""
    related: set[tuple[str, str]] = set()
    for relation in check.reading.relations:
        objects = [one for thing in relation.objects for one in check.of(thing)]
        candidates = [(thing, check.of(thing)) for thing in relation.subjects]
        candidates = [(thing, boxes) for thing, boxes in candidates if boxes]
        if not objects or not candidates:
            continue
        related |= {(a.phrase.lower(), b.phrase.lower()) for _, boxes in candidates for a in boxes for b in objects}
        if not any(one.new for one in objects) and not any(one.new for _, boxes in candidates for one in boxes):
            continue  # both are kept: nothing that the model could change
        loose = any(len(one.things) > 1 for one in objects) or any(len(one.things) > 1 for _, boxes in candidates for one in boxes)
        second = [one.box for one in objects]
        if relation.name == "between":
            good = any(geometry.between([one.box for one in boxes], second) for _, boxes in candidates) or len(second) < 2
        else:
            good = any(geometry.holds(relation.name, [one.box for one in boxes], second, loose) for _, boxes in candidates)
        if not good:
            ends = " and ".join(thing.text for thing in relation.objects)
            check.problems.append(
                f"the prompt says that {relation.subjects[-1].text!r} is {relation.name} {ends!r}: your boxes do not show it"
            )
    for position in check.reading.positions:
        boxes = [one.box for one in check.of(position.thing) if one.new]
        several = any(len(one.things) > 1 for one in check.of(position.thing))
        right = [geometry.stands(box, position.place) for box in boxes]
        if boxes and not (any(right) if several else all(right)):
            check.problems.append(f"the prompt says that {position.thing.text!r} stands at the {position.place}: your boxes do not show it")
    return related


def _own_reading(check: _Check, reply: RawReply, counted: set[str], related: set[tuple[str, str]]) -> None:
    """A reply that contradicts itself, where the prompt's grammar was silent."""
    by_phrase: dict[str, list[Box]] = defaultdict(list)
    for one in check.placed:
        by_phrase[one.phrase.lower()].append(one.box)
    for phrase, count in reply.counts:
        have = len(by_phrase.get(" ".join(phrase.lower().split()), ()))
        if phrase.lower() not in counted and have and count > 0 and count != have:
            check.problems.append(f"you count {count} of {shown(phrase, 60)!r} and give {_many(have)}: make them agree")
    for subject, name, target in reply.relations:
        pair = (subject.lower(), target.lower())
        first, second = by_phrase.get(pair[0]), by_phrase.get(pair[1])
        if pair in related or pair[0] == pair[1] or not first or not second or name not in geometry.PAIRS:
            continue
        if not geometry.holds(name, first, second):
            check.problems.append(f"you say that {shown(subject, 60)!r} is {name} {shown(target, 60)!r}: your boxes do not show it")


def _items(check: _Check) -> list[Placed]:
    """The layout with ids that no kept region has."""
    used = {one.id for one in check.placed if one.id}
    items = []
    for one in check.placed:
        id = one.id
        if not id:
            id, number = one.phrase, 1
            while id in used:
                number += 1
                id = f"{one.phrase}#{number}"
            used.add(id)
        items.append(Placed(one.phrase, one.box, id, one.span, one.pose, one.label))
    return items
