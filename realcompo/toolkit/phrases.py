"""From a region's phrase to characters of the prompt. Plain Python; words of any script, grammar of English, with `Region.span` for all
that it misses.

In turn: the user's own span; the exact words, whatever their case, width, composition, apostrophes, dashes and spaces; the same without
vowel points, punctuation, and with hyphens as spaces; the words without article or number; another number of the noun ("apple" in
"two apples"); the head noun ("a small red balloon" in "a balloon"). A phrase that several regions share takes the prompt's
repetitions in turn, and the last of them again once they run out: "two apples" is two regions, one word. A Korean noun stands there with
its particle; in scripts without spaces a phrase stands wherever its characters do, best where another script begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import PhraseNotFound, nearest
from ..interfaces import Region
from .scripts import PARTICLES, Folded, Span, fold, without_particle, words_of

How = Literal["given", "exact", "inner", "number", "head"]

_ARTICLES = (
    "a",
    "an",
    "the",
    "this",
    "that",
    "these",
    "those",
    "some",
    "several",
    "many",
    "few",
    "another",
    "both",
    "each",
    "every",
)
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DETERMINERS = frozenset((*_ARTICLES, *_NUMBERS))
_PLACES = (
    "on",
    "in",
    "at",
    "under",
    "over",
    "above",
    "below",
    "behind",
    "beside",
    "near",
    "by",
    "into",
    "onto",
    "between",
    "among",
    "inside",
)
_PREPOSITIONS = frozenset((*_PLACES, "of", "with", "without", "from", "to", "for", "wearing", "holding"))
_IRREGULAR = {
    "man": "men",
    "woman": "women",
    "person": "people",
    "child": "children",
    "mouse": "mice",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "leaf": "leaves",
    "knife": "knives",
    "wolf": "wolves",
    "shelf": "shelves",
    "loaf": "loaves",
}


@dataclass(frozen=True)
class Match:
    """Where a region's words are: (start, end) characters of the prompt, and how they were found."""

    span: Span
    how: How


def find_phrases(prompt: str, regions: Sequence[Region]) -> tuple[Match, ...]:
    """One match a region, in the regions' order.

    Raises:
        PhraseNotFound: a phrase of which not even the noun is in the prompt, or a span outside it.
    """
    taken: set[Span] = set()
    texts = (fold(prompt), fold(prompt, loose=True))
    matches: dict[int, Match] = {}
    # Spans that are given come first, then long phrases: "cat" must not take the cat of "black cat" if there is another.
    order = sorted(range(len(regions)), key=lambda r: (regions[r].span is None, -len(regions[r].phrase)))
    for r in order:
        match = _find(prompt, texts, regions[r], taken)
        matches[r] = match
        taken.add(match.span)
    return tuple(matches[r] for r in range(len(regions)))


def _find(prompt: str, texts: tuple[Folded, Folded], region: Region, taken: set[Span]) -> Match:
    if region.span is not None:
        start, end = region.span
        if not 0 <= start < end <= len(prompt):
            raise PhraseNotFound(
                f"its span ({start}, {end}) lies outside the prompt of {len(prompt)} characters",
                where=f"region {region.id!r}",
                mend="count characters of the prompt from 0; the end is exclusive",
            )
        return Match((start, end), "given")
    for words, text, how in _readings(region.phrase, texts):
        found = [(_inner(prompt, span), sure) for span, sure in text.find(words, PARTICLES)]
        found.sort(key=lambda one: not one[1])  # those that are words for certain first, each in the prompt's order
        if found:
            free = [span for span, _ in found if not any(a < span[1] and span[0] < b for a, b in taken)]
            sure = [span for span, sure in found if sure == found[0][1]]
            return Match(free[0] if free else sure[-1], how)
    raise PhraseNotFound(
        f"the phrase {region.phrase!r} is not in the prompt {prompt!r}",
        where=f"region {region.id!r}",
        mend="use words of the prompt, or give the region a span; " + nearest(region.phrase, re.findall(r"\w+", prompt)),
    )


def _readings(phrase: str, texts: tuple[Folded, Folded]) -> Iterator[tuple[list[str], Folded, How]]:
    """The folded words to look for, and in which folding of the prompt, best first."""
    words, loose = words_of(phrase), words_of(phrase, loose=True)
    forms = [(words, texts[0]), (loose, texts[1])]
    forms = [(form, text) for form, text in forms if form]
    for form, text in forms:
        yield form, text, "exact"
    for form, text in forms:
        inner = form[_leading(form) :]
        if inner != form:
            yield inner, text, "inner"
    for form, text in forms:
        inner = form[_leading(form) :]
        for noun in (*without_particle(inner[-1]), *_other_numbers(inner[-1])):
            yield [*inner[:-1], noun], text, "number"
    for form, text in forms:
        inner = form[_leading(form) :]
        cut = next((i for i, word in enumerate(inner) if i and word in _PREPOSITIONS), len(inner))
        head = inner[cut - 1]
        for noun in (head, *without_particle(head), *_other_numbers(head)):
            yield [noun], text, "head"


def _leading(words: Sequence[str]) -> int:
    """How many words at the start are articles or numbers; never all of them."""
    count = 0
    while count < len(words) - 1 and (words[count] in _DETERMINERS or words[count].isdigit()):
        count += 1
    return count


def _inner(prompt: str, span: Span) -> Span:
    """The span without its leading article or number, whose own map says nothing of the object."""
    words = list(re.finditer(r"\S+", prompt[span[0] : span[1]]))
    return span[0] + words[_leading([fold(word.group()).text for word in words])].start(), span[1]


def _other_numbers(noun: str) -> list[str]:
    """Plurals of a singular and singulars of a plural, as spelled by rule; wrong guesses are simply not in the prompt."""
    word = noun.lower()
    guesses = [_IRREGULAR[word]] if word in _IRREGULAR else [one for one, many in _IRREGULAR.items() if many == word]
    if word.endswith("ies"):
        guesses.append(word[:-3] + "y")
    if word.endswith("es"):
        guesses.append(word[:-2])
    if word.endswith("s"):
        guesses.append(word[:-1])
    if word.endswith("y"):
        guesses.append(word[:-1] + "ies")
    return [guess for guess in guesses if guess] + [word + "s", word + "es"]  # "s" without its s is no word
