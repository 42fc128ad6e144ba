"""What a prompt states, as far as a small grammar can read it: which objects, how many of each, which relations.

The grammar, for a sentence in English (docs/llm-planner.md says it in full)::

    thing     =  quantity adjective* noun+
    quantity  =  a | an | the | one … twenty | 1 … 20 | several | a pair of | a group of three | no …
    relation  =  thing (verb)* (left of | right of | above | below | on | in | under | over | next to) thing
              |  thing (verb)* between thing (and thing)
    position  =  thing (on the left | at the top | in the middle | in the bottom right corner …), or the same before the thing

What it cannot read becomes a warning and restrains nobody: a thing that is not `sure` is never a reason to refuse a layout.
"""

from __future__ import annotations

import re

from . import words as w
from .reading import Part, Position, Reading, Relation, Thing, Token

_TOKEN = re.compile(r"[^\W_]+(?:['’/-][^\W_]+)*|[^\w\s]|_")
_DIGITS = re.compile(r"[0-9]{1,3}")
_LONGEST = 4
"""Words of a thing after its quantity; more than that was probably misread."""


def read(prompt: str) -> Reading:
    """The objects, counts and relations that a prompt states. Never fails."""
    reading = Reading(prompt)
    tokens = [Token(m.group().lower(), m.start(), m.end()) for m in _TOKEN.finditer(prompt)]
    parts = _Scanner(reading, tokens).parts()
    for index, part in enumerate(parts):
        if part.kind == "relation":
            _relate(reading, parts, index)
        elif part.kind == "position":
            _place(reading, parts, index)
        elif part.kind == "depth":
            reading.warnings.append(f"{part.text!r} was not checked: boxes have no depth")
    odd = [part.text for part in parts if part.kind == "word"]
    if odd:
        reading.warnings.append(f"not read: {', '.join(odd[:12])}")
    reading.warnings += [f"{t.text!r} was not counted: its reading is not sure" for t in reading.things if not t.sure]
    return reading


class _Scanner:
    """From tokens to parts, left to right, the longest form first."""

    def __init__(self, reading: Reading, tokens: list[Token]) -> None:
        self.reading, self.tokens, self.at = reading, tokens, 0

    def word(self, offset: int = 0) -> str:
        """The token at the current place + offset, or nothing past the end."""
        index = self.at + offset
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def starts(self, forms: dict[str, str] | tuple[str, ...], at: int | None = None) -> tuple[str, int]:
        """The longest of the forms that begins here, and how many tokens it has."""
        at = self.at if at is None else at
        for size in range(5, 0, -1):
            text = " ".join(token.text for token in self.tokens[at : at + size])
            if len(self.tokens) >= at + size and text in forms:
                return text, size
        return "", 0

    def parts(self) -> list[Part]:
        found: list[Part] = []
        while self.at < len(self.tokens):
            found.append(self.part(found))
        return found

    def part(self, before: list[Part]) -> Part:
        here = self.word()
        text, size = self.starts(w.DEPTHS)
        if size:
            self.at += size
            return Part("depth", text)
        place, size = self.starts(w.POSITIONS)
        relation, longer = self.starts(w.RELATIONS)
        if size and longer <= size:
            after = self.at + size
            _, ofs = self.starts(w.OF_PICTURE, after)
            following = self.tokens[after].text if after < len(self.tokens) else ""
            if ofs or following != "of":
                plain_noun = (
                    following and not self._boundary(following) and following not in w.DETERMINERS and place.startswith(("on", "in"))
                )
                if not plain_noun or following in w.NUMBERS or following in w.VERBS:
                    self.at = after + ofs
                    return Part("position", w.POSITIONS[place])
        if longer:
            self.at += longer
            return Part("relation", w.RELATIONS[relation])
        thing = self.thing(before)
        if thing is not None:
            return thing
        self.at += 1
        if not here[0].isalnum() or here in w.CONJUNCTIONS:
            return Part("stop", here)
        if here in w.PREPOSITIONS or here == "wearing":
            return Part("preposition", here)
        if here in w.VERBS or here.endswith(("ing", "ed", "ly")):
            return Part("link", here)
        return Part("word", here)

    # -- things ----------------------------------------------------------------------------------------------------------

    def thing(self, before: list[Part]) -> Part | None:
        """A thing, if a quantity begins here and a noun follows."""
        first, start = self.at, self.at
        bounds = self.quantity()
        if bounds is None:
            self.at = first
            return None
        low, high, sure = bounds
        begin = self.at
        size = self.noun_phrase(self.tokens[begin - 1].text in w.SINGULAR or (low, high) == (1, 1))
        if size == 0:
            self.at = first
            return None
        last = self.tokens[begin + size - 1]
        if self.tokens[first].text == "the" and (self.tokens[begin].text in w.PLACES or last.text in w.PLACES):
            self.at = begin + size
            return Part("link", last.text)
        self.at = begin + size
        if last.text in w.PICTURES and self.word() in ("of", "with", "showing") and high != 0:
            self.at += 1
            return Part("link", last.text)
        span = (self.tokens[start].start, last.end, last.start, last.end)
        text = self.reading.prompt[span[0] : span[1]]
        known = self._known(text, self.tokens[first].text, high)
        if known is not None:
            known.mentions.append(span)
            return Part("thing", text, known)
        if self.tokens[begin - 1].text == "the" and _plural(last.text):
            low, high = 1, None
        unit = any(token.text in w.UNITS for token in self.tokens[begin : begin + size])
        sure = sure and size <= _LONGEST and not unit
        thing = Thing(text, low, high, required=self._required(last.text, low, before), sure=sure, mentions=[span])
        if high == 0:
            thing.required = False
        self.reading.things.append(thing)
        return Part("thing", text, thing)

    def quantity(self) -> tuple[int, int | None, bool] | None:
        """Bounds of the count that is said here, and whether they are sure; moves past it."""
        here, following = self.word(), self.word(1)
        if here in w.NEGATIONS:
            self.at += 1
            if self.word() in w.DETERMINERS or self.word() == "any":
                self.at += 1
            return 0, 0, True
        if here in w.UNCOUNTED:
            self.at += 1
            return 1, None, False
        if here in w.DETERMINERS or here in w.NUMBERS:
            for offset in (1, 2):  # "a group of", "a large group of"
                if self.word(offset) in w.GROUPS and self.word(offset + 1) == "of":
                    low, high = w.GROUPS[self.word(offset)]
                    self.at += offset + 2
                    counted = self.word() in w.NUMBERS or self.word() in w.DETERMINERS or _DIGITS.fullmatch(self.word())
                    inner = self.quantity() if counted else None
                    return inner if inner is not None and (low, high) == (1, None) else (low, high, here not in w.NUMBERS or here == "one")
            if following == "dozen":
                self.at += 2
                return 12, 12, here in w.SINGULAR
        if here in w.NUMBERS or _DIGITS.fullmatch(here):
            self.at += 1
            count = w.NUMBERS[here] if here in w.NUMBERS else int(here)
            return count, count, 0 < count <= 20
        if here in w.VAGUE or (here == "a" and following in ("few", "lot")):
            self.at += 2 if here == "a" or following == "of" else 1
            if self.word() == "of":
                self.at += 1
            return 1, None, True
        if here in w.DETERMINERS:
            self.at += 1
            if self.word() in w.NUMBERS:  # "the two cats"
                return self.quantity()
            return (1, 1, True) if here not in ("his", "her", "its", "their") else (1, None, False)
        return None

    def noun_phrase(self, singular: bool) -> int:
        """How many tokens from here on are adjectives and nouns."""
        size = 0
        while True:
            here, following = self.word(size), self.word(size + 1)
            joint = here in ("and", ",", "-") and size and self.word(size - 1) in w.ADJECTIVES and following in w.ADJECTIVES
            if joint and not self._boundary(self.word(size + 2)):  # "a black and white cat", "a big, red ball"
                size += 2
                continue
            if self._boundary(here) or here in w.DETERMINERS or here in w.NUMBERS or here in w.VAGUE:
                return size
            if size and self.starts(w.RELATIONS, self.at + size)[1]:  # "a cup left of a plate"
                return size
            if size and self.word(size - 1) not in w.ADJECTIVES:
                if here.endswith("ing") and here not in w.ING_NOUNS:
                    return size
                if here.endswith("ed") and self._boundary(following):
                    return size
                if singular and here.endswith("s") and here not in w.SINGULAR_S and not here.endswith(("ss", "us", "'s", "’s")):
                    return size  # "a cat sleeps"
            if size and here.endswith("ly") and here not in w.LY_NOUNS:
                return size
            size += 1

    def _boundary(self, text: str) -> bool:
        """Whether no noun phrase goes on with this token."""
        if not text or not text[0].isalnum():
            return True
        return text in w.PREPOSITIONS or text in w.VERBS or text in w.CONJUNCTIONS

    def _known(self, text: str, first: str, high: int | None) -> Thing | None:
        """The thing that "the …" speaks of again."""
        if first not in ("the", "this", "that") or high == 0:
            return None
        plain = tuple(word for word in text.lower().split() if word not in w.DETERMINERS and word not in w.NUMBERS)
        same = [t for t in self.reading.things if t.plain and plain and t.plain[-1] == plain[-1] and set(plain) <= set(t.plain)]
        return same[0] if len(same) == 1 else None

    def _required(self, head: str, low: int, before: list[Part]) -> bool:
        """Whether it must have a box: not where it is the scene, a part of another thing, or what surrounds it."""
        if head in w.SCENES:
            return False
        previous = before[-1] if before else None
        if previous is None or previous.kind in ("stop", "position"):
            return True
        if previous.kind == "relation" and previous.text == "in":
            return head in w.CONTAINERS
        if previous.text == "wearing":
            return False
        if previous.kind == "preposition":
            apart = low > 1 or (len(before) > 1 and before[-2].kind == "stop")  # ", with a bridge": more than a part of what came before
            return previous.text == "with" and head not in w.PARTS and apart
        return not (previous.kind == "link" and previous.text in ("has", "have") and head in w.PARTS)


def _plural(word: str) -> bool:
    irregular = word in ("people", "men", "women", "children", "mice", "geese", "sheep", "fish", "deer", "cacti", "feet")
    return irregular or (word.endswith("s") and word not in w.SINGULAR_S and not word.endswith(("ss", "us", "is")))


# -- relations ---------------------------------------------------------------------------------------------------------------


def _back(parts: list[Part], index: int) -> int:
    """The last part before `index` that is no link and no position; -1 if there is none."""
    index -= 1
    while index >= 0 and parts[index].kind in ("link", "position"):
        index -= 1
    return index


def _ahead(parts: list[Part], index: int) -> Thing | None:
    """The thing that comes next, links left aside."""
    while index < len(parts) and parts[index].kind == "link":
        index += 1
    return parts[index].thing if index < len(parts) else None


def _relate(reading: Reading, parts: list[Part], index: int) -> None:
    name = parts[index].text
    target = _ahead(parts, index + 1)
    if target is None:
        if name not in ("in", "on", "next to"):  # "in winter", "on grass", "by night" say nothing of two things
            reading.warnings.append(f"{name!r} was not checked: what follows it was not read")
        return
    if name in ("in", "on") and not target.required:
        return  # the scene, or clothes: what stands in a park stands anywhere
    objects: tuple[Thing, ...] = (target,)
    if name == "between":
        rest = [part for part in parts[index + 1 :] if part.kind != "link"][1:3]
        if len(rest) == 2 and rest[0].text == "and" and rest[1].thing is not None:
            objects = (target, rest[1].thing)
            rest[1].thing.required = True
        elif target.low < 2:
            reading.warnings.append("'between' was not checked: only one thing follows it")
            return
    subjects = _subjects(reading, parts, index)
    if not subjects:
        reading.warnings.append(f"{name!r} before {target.text!r} was not checked: what it speaks of was not read")
        return
    reading.relations.append(Relation(subjects, name, objects))


def _subjects(reading: Reading, parts: list[Part], index: int) -> tuple[Thing, ...]:
    """What a relation may speak of: the thing before it, or, since attachment is open, what that one was related to."""
    back = _back(parts, index)
    while back > 0 and parts[back].kind == "word" and parts[back - 1].kind in ("preposition", "word"):
        back = _back(parts, back - (parts[back - 1].kind == "preposition"))  # "a vase with flowers on a table": the vase
    last = reading.relations[-1] if reading.relations else None
    if back >= 0 and parts[back].text in ("and", ",", "but") and last is not None and parts[back].kind == "stop":
        return last.subjects  # "a cat left of a dog and above a mat"
    if back < 0 or (parts[back].kind == "stop" and parts[back].text in (".", ";", ",")):
        later = [part for part in parts[index + 1 :] if part.kind != "link"]
        if len(later) > 1 and later[1].text == "," and later[1].kind == "stop":
            later.pop(1)
        return (later[1].thing,) if len(later) > 1 and later[1].thing is not None else ()  # "On a table are three apples"
    nearest = parts[back].thing
    if nearest is None:
        return ()
    others: list[Thing] = []
    place = back
    inside = _back(parts, place)
    if inside >= 0 and (parts[inside].kind, parts[inside].text) == ("relation", "in") and nearest.head in w.CONTAINERS:
        return (nearest,)  # "fish in a bowl on a shelf": where the bowl stands, they are
    while True:  # "a cat on a mat next to a dog": the mat or the cat
        earlier = _back(parts, place)
        if earlier >= 0 and parts[earlier].kind in ("relation", "preposition"):
            earlier = _back(parts, earlier)
        elif earlier == place - 1:
            break  # two things side by side; with a verb between them ("a man holding a kite next to a tree") either may be meant
        place = earlier
        if place < 0 or parts[place].thing is None:
            break
        others.append(parts[place].thing)  # type: ignore[arg-type]
    return (nearest, *others)


def _place(reading: Reading, parts: list[Part], index: int) -> None:
    previous = parts[index - 1] if index else None
    if previous is not None and previous.kind in ("thing", "link"):
        back = _back(parts, index)
        thing = parts[back].thing if back >= 0 else None
        chained = back > 0 and parts[_back(parts, back)].kind in ("relation", "preposition")
        if chained:
            reading.warnings.append(f"{parts[index].text!r} was not checked: it may speak of more than one thing")
            return
    else:
        after = index + 2 if index + 1 < len(parts) and parts[index + 1].text == "," else index + 1
        thing = _ahead(parts, after)
    if thing is None:
        reading.warnings.append(f"the position {parts[index].text!r} was not checked: what it speaks of was not read")
    else:
        reading.positions.append(Position(thing, parts[index].text))
