"""What the grammar reads: things, relations, positions, and what it did not understand."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import words as w


@dataclass(frozen=True)
class Token:
    """A word or a punctuation mark: lower case, and where it stands (characters)."""

    text: str
    start: int
    end: int


@dataclass(eq=False)
class Thing:
    """An object that the prompt names.

    Attributes:
        text: its words as the prompt has them, quantity included.
        low, high: how many boxes it may have where it has any (high None: no limit).
        required: whether it must have boxes.
        sure: whether the grammar trusts its own reading.
        mentions: (start, end, head start, head end) in characters; a later "the cat" is a mention of "a cat".
    """

    text: str
    low: int
    high: int | None
    required: bool = True
    sure: bool = True
    mentions: list[tuple[int, int, int, int]] = field(default_factory=list)

    @property
    def head(self) -> str:
        """Its last word, lower case."""
        return self.text.split()[-1].lower()

    @property
    def plain(self) -> tuple[str, ...]:
        """Its words without the quantity, lower case."""
        return tuple(word for word in self.text.lower().split() if word not in w.DETERMINERS and word not in w.NUMBERS)


@dataclass(frozen=True)
class Relation:
    """``name`` holds between one of `subjects` (the reading may be open) and all of `objects` (two for "between")."""

    subjects: tuple[Thing, ...]
    name: str
    objects: tuple[Thing, ...]


@dataclass(frozen=True)
class Position:
    """A thing stands at a place of the picture: left, right, top, bottom, middle, or two of them."""

    thing: Thing
    place: str


@dataclass
class Reading:
    """What was read of a prompt, and what was not."""

    prompt: str
    things: list[Thing] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """A piece of the sentence: thing, relation, position, link (a verb), stop (and, punctuation), preposition, word."""

    kind: str
    text: str
    thing: Thing | None = None
