"""The small language: prompt → items, relations, background; and back. Pure Python.

prompt     := [style] item (link item)* [background]
link       := "," | "and" | ", and" | relation
item       := ("a" | "an" | number) (colour | pattern)* kind
background := "on grass" | "in the sky" | …
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from realcompo_mini.world import Kind, World, load_world


class LanguageError(ValueError):
    """A prompt that the mini language does not hold; the message names the word and lists what is known."""


@dataclass(frozen=True)
class Item:
    """`count` objects of one kind with the same attributes; `phrase` is exactly what the prompt says."""

    kind: Kind
    count: int = 1
    colour: str | None = None
    pattern: str | None = None
    phrase: str = ""
    span: tuple[int, int] = (0, 0)  # characters of the prompt


@dataclass(frozen=True)
class Sentence:
    """Items in the order of the prompt; relations[k] links items k and k+1, None for a mere "and"."""

    items: tuple[Item, ...]
    relations: tuple[str | None, ...] = ()
    background: str | None = None
    style: str | None = None

    @property
    def count(self) -> int:
        return sum(item.count for item in self.items)


def known_words(world: World | None = None) -> str:
    """One readable paragraph that lists the language."""
    world = world or load_world()
    parts: dict[str, Iterable[str]] = {
        "objects": world.kinds,
        "colours": world.colours,
        "patterns": world.patterns,
        "numbers": world.numbers,
        "relations": world.relations,
        "backgrounds": world.backgrounds.values(),
        "styles": world.styles,
    }
    lines = [f"  {name}: {', '.join(entries)}" for name, entries in parts.items()]
    recolourable = ", ".join(kind.name for kind in world.kinds.values() if kind.colourable)
    return "\n".join([*lines, f"  colours and patterns go with: {recolourable}"])


@dataclass
class _Reader:
    """A cursor over the words of a prompt."""

    prompt: str
    world: World
    words: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    at: int = 0

    def __post_init__(self) -> None:
        for match in re.finditer(r"[^\s,.;]+|,", self.prompt):
            self.words.append(match.group().lower())
            self.spans.append(match.span())

    def peek(self, *words: str) -> bool:
        return tuple(self.words[self.at : self.at + len(words)]) == words

    def take(self, phrase: str) -> bool:
        words = phrase.split()
        if self.peek(*words):
            self.at += len(words)
            return True
        return False

    def done(self) -> bool:
        return self.at >= len(self.words)

    def fail(self, expected: str) -> LanguageError:
        known = known_words(self.world)
        if self.done():
            return LanguageError(f"the prompt {self.prompt!r} ends where {expected} should follow. The mini language knows:\n{known}")
        word = self.words[self.at]
        if word not in self.world.words():
            close = difflib.get_close_matches(word, self.world.words(), n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            return LanguageError(f"the mini language does not know the word {word!r}{hint}. It knows:\n{known}")
        return LanguageError(f"{word!r} stands where {expected} should, in {self.prompt!r}. The mini language knows:\n{known}")


def _item(reader: _Reader) -> Item:
    world, start = reader.world, reader.at
    if reader.done():
        raise reader.fail("an object")
    word = reader.words[reader.at]
    if word in ("a", "an"):
        count = 1
    elif word in world.numbers:
        count = world.numbers[word]
    else:
        raise reader.fail("'a' or a number")
    reader.at += 1
    colour: str | None = None
    pattern: str | None = None
    while not reader.done():
        word = reader.words[reader.at]
        if word in world.colours and colour is None:
            colour = word
        elif word in world.patterns and pattern is None:
            pattern = word
        else:
            break
        reader.at += 1
    if reader.done():
        raise reader.fail("an object")
    word = reader.words[reader.at]
    kind = world.kinds.get(word) if count == 1 else world.plurals.get(word)
    if kind is None:
        other = world.plurals.get(word) if count == 1 else world.kinds.get(word)
        if other is not None:
            raise LanguageError(f"{word!r} does not agree with its number in {reader.prompt!r}: one {other.name}, two {other.plural}")
        raise reader.fail("an object")
    if (colour or pattern) and not kind.colourable:
        raise LanguageError(
            f"a {kind.name} has no {'colours' if colour else 'patterns'} in the mini world ({colour or pattern!r}). "
            f"It knows:\n{known_words(world)}"
        )
    reader.at += 1
    span = (reader.spans[start][0], reader.spans[reader.at - 1][1])
    return Item(kind, count, colour, pattern, reader.prompt[span[0] : span[1]], span)


def _background(reader: _Reader) -> str | None:
    return next((name for name, phrase in reader.world.backgrounds.items() if reader.take(phrase)), None)


def parse(prompt: str, world: World | None = None) -> Sentence:
    """Read a prompt of the mini language.

    Raises:
        LanguageError: names the first word that is not understood and lists those that are.
    """
    reader = _Reader(prompt, world or load_world())
    if not reader.words:
        raise reader.fail("an object")
    style = next((look for phrase, look in reader.world.styles.items() if reader.take(phrase)), None)
    items, relations = [_item(reader)], []
    background = None
    while not reader.done():
        background = _background(reader)
        if background:
            if not reader.done():
                raise reader.fail("the end")
            break
        relation = next((name for name in reader.world.relations if reader.take(name)), None)
        if relation is None:
            comma = reader.take(",")
            if not (reader.take("and") or comma):
                raise reader.fail("'and', a comma, a relation or a background")
        relations.append(relation)
        items.append(_item(reader))
    return Sentence(tuple(items), tuple(relations), background, style)


def phrase_of(kind: Kind, count: int = 1, colour: str | None = None, pattern: str | None = None, world: World | None = None) -> str:
    """The words for an item: "a red striped car", "two apples"."""
    world = world or load_world()
    words = [word for word in (colour, pattern, kind.name if count == 1 else kind.plural) if word]
    number = {value: name for name, value in world.numbers.items()}
    first = ("an" if words[0][0] in "aeiou" else "a") if count == 1 else number[count]
    return " ".join([first, *words])
