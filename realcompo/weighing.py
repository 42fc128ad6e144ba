"""Weights of words in the syntax that people paste: ``(red)``, ``(red:1.3)``, ``[red]``, ``BREAK``. Plain Python.

A round bracket multiplies the weight of what it holds by 1.1, or by the number after its last colon; a square one divides by 1.1; they
nest. ``BREAK``, in capitals and as a word of its own, ends a chunk of tokens. A backslash before ``( ) [ ] : | \\`` makes it a letter.
What the weights do to the embeddings is not said here: toolkit/wording.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from .errors import BadOption

STEP = 1.1
"""What a bracket without a number multiplies, or divides, by."""
MOST = 100.0
"""No weight is larger: pictures come apart beyond 2."""
DEEPEST = 64
"""Brackets in each other."""

_SPECIAL = "()[]:|\\"
_NUMBER = re.compile(r"\+?(\d+\.?\d*|\.\d+)")
_BREAK = re.compile(r"\bBREAK\b")
_NETWORK = re.compile(r"<(lora|lyco|hypernet):[^<>]*>")
_MARKED = re.compile(rf"\([^()]*[^():\\]:\s*\d+(\.\d*)?\s*\)|{_NETWORK.pattern}")


@dataclass(frozen=True)
class Piece:
    """Words of one weight.

    Attributes:
        text: without marks.
        weight: 0 to 100; 1 changes nothing.
        places: of each character of `text`, its place in the prompt as it was written.
        breaks: a chunk of tokens ends before it.
    """

    text: str
    weight: float = 1.0
    places: tuple[int, ...] = ()
    breaks: bool = False


@dataclass(frozen=True)
class Reading:
    """A prompt without its marks."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The words."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def places(self) -> tuple[int, ...]:
        """Of each character of `text`, its place in the prompt as it was written."""
        return tuple(place for piece in self.pieces for place in piece.places)

    def read_span(self, span: tuple[int, int]) -> tuple[int, int] | None:
        """Characters of `text` that stand between two places of the written prompt; None where all of that is marks."""
        inside = [n for n, place in enumerate(self.places) if span[0] <= place < span[1]]
        return (inside[0], inside[-1] + 1) if inside else None

    def written_span(self, span: tuple[int, int]) -> tuple[int, int]:
        """The places of the written prompt at which characters of `text` stand."""
        places = self.places[slice(*span)]
        return places[0], places[-1] + 1


def looks_marked(prompt: str) -> str | None:
    """The first ``(red:1.3)`` or ``<lora:…>`` of a prompt, which its author may mean as a mark; None without."""
    found = _MARKED.search(prompt)
    return None if found is None else found.group()


def plain(prompt: str) -> Reading:
    """A prompt whose brackets are letters like others."""
    return Reading((Piece(prompt, 1.0, tuple(range(len(prompt)))),))


@dataclass
class _Open:
    """A bracket that is not closed yet: its sign, its place, and how many characters were read before it and before its last colon."""

    sign: str
    at: int
    start: int
    colon: int | None = None


@lru_cache(maxsize=256)
def read_weights(prompt: str) -> Reading:
    """A prompt as words and weights.

    Raises:
        BadOption: brackets that do not match, a weight that is no number from 0 to 100, words that change on the way (``[a:b:0.5]``),
            an adapter (``<lora:ink:0.8>``).
    """
    reader = _Reader(prompt)
    if network := _NETWORK.search(prompt):
        raise reader.fail(
            f"{network.group()!r} names an adapter, which is no word here", network.start(), "take it out, and set the branch's option lora"
        )
    at = 0
    while at < len(prompt):
        at += reader.take(at)
    return reader.finish()


class _Reader:
    def __init__(self, prompt: str) -> None:
        self.prompt = prompt
        self.letters: list[str] = []
        self.places: list[int] = []
        self.weights: list[float] = []
        self.breaks: set[int] = set()
        self.open: list[_Open] = []

    def fail(self, what: str, at: int, mend: str) -> BadOption:
        near = self.prompt[max(0, at - 20) : at + 20]
        return BadOption(f"{what}, at character {at} ({near!r})", where=f"weights of the prompt {self.prompt[:40]!r}", mend=mend)

    def take(self, at: int) -> int:
        """Read what stands at a place; how many characters that was."""
        sign, after = self.prompt[at], self.prompt[at + 1 : at + 2]
        if sign == "\\" and after and after in _SPECIAL:
            self._letter(after, at + 1)
            return 2
        word = _BREAK.match(self.prompt, at) if sign == "B" else None
        if word:
            self.breaks.add(len(self.letters))
            return len(word.group())
        if sign in "([":
            if len(self.open) == DEEPEST:
                raise self.fail(f"more than {DEEPEST} brackets stand in each other", at, "write one number, such as (red:1.3)")
            self.open.append(_Open(sign, at, len(self.letters)))
        elif sign in ")]":
            self._close(sign, at)
        else:
            if sign in ":|" and self.open:
                self._mark(sign, at)
            self._letter(sign, at)
        return 1

    def _letter(self, letter: str, at: int) -> None:
        self.letters.append(letter)
        self.places.append(at)
        self.weights.append(1.0)

    def _mark(self, sign: str, at: int) -> None:
        if self.open[-1].sign == "[":
            raise self.fail(
                f"a {sign!r} in square brackets, which elsewhere makes words that change during the run: that is not read here",
                at,
                f"write \\{sign} for the letter, or give one of the words alone",
            )
        if sign == ":":
            self.open[-1].colon = len(self.letters)

    def _close(self, sign: str, at: int) -> None:
        escaped = f"write \\{sign} for the letter itself"
        if not self.open:
            raise self.fail(f"a {sign!r} that closes nothing", at, f"take it out, or {escaped}")
        mine = self.open.pop()
        if (mine.sign == "(") != (sign == ")"):
            raise self.fail(f"a {sign!r} closes a {mine.sign!r}", at, f"close them in the order in which they opened, or {escaped}")
        factor = 1 / STEP if sign == "]" else STEP if mine.colon is None else self._number(mine, at)
        for n in range(mine.start, len(self.letters)):
            self.weights[n] *= factor
            if self.weights[n] > MOST:
                raise self.fail(f"a weight of more than {MOST:g}", at, "write weights around 1, such as (red:1.3)")

    def _number(self, mine: _Open, at: int) -> float:
        """The number after the last colon, which is then no text; a colon before words is text."""
        start = mine.colon or 0
        told = "".join(self.letters[start + 1 :]).strip()
        if re.search(r"\s", told):
            return STEP
        if not _NUMBER.fullmatch(told) or float(told) > MOST:
            raise self.fail(
                f"{told!r} is no weight",
                at,
                f"write a number from 0 to {MOST:g}, such as (red:1.3), or \\: for the letter itself",
            )
        self.breaks = {min(n, start) for n in self.breaks}
        del self.letters[start:], self.places[start:], self.weights[start:]
        return float(told)

    def finish(self) -> Reading:
        if self.open:
            mine = self.open[-1]
            raise self.fail(f"a {mine.sign!r} that is not closed", mine.at, f"close it, or write \\{mine.sign} for the letter itself")
        cuts = {0, len(self.letters), *self.breaks}
        cuts |= {n for n in range(1, len(self.letters)) if self.weights[n] != self.weights[n - 1]}
        ends = sorted(cuts)
        pieces = [Piece("".join(self.letters[a:b]), self.weights[a], tuple(self.places[a:b]), a in self.breaks) for a, b in pairwise(ends)]
        if len(self.letters) in self.breaks:
            pieces.append(Piece("", 1.0, (), True))
        return Reading(tuple(pieces))


def escaped(text: str) -> str:
    """A text that `read_weights` reads as it stands."""
    text = "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in text)
    return _BREAK.sub("(BREA:1)K", text)


def write_weights(pieces: Sequence[Piece]) -> str:
    """Pieces as a prompt that `read_weights` reads as these words with these weights."""
    made = ""
    for piece in pieces:
        text = escaped(piece.text)
        weighed = f"({text}:{_plain_number(piece.weight)})" if piece.weight != 1 else text
        made += (" BREAK " if piece.breaks else "") + weighed
    return made


def _plain_number(weight: float) -> str:
    """All digits, without an exponent."""
    from decimal import Decimal

    return format(Decimal(repr(weight)), "f")
