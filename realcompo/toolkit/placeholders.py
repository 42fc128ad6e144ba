"""Words of textual inversions: a placeholder of several vectors stands for several tokens, ``<thing> <thing>_1 <thing>_2``, as diffusers'
`maybe_convert_prompt` has it. Plain Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Expanded:
    """A prompt with its placeholders spelled out.

    Attributes:
        text: what the tokenizer is given.
        added: (place, length, start, end) of each text that was put in: where and how long in `text`, and which characters of the prompt
            it belongs to.
    """

    text: str
    added: tuple[tuple[int, int, int, int], ...] = ()

    def original(self, a: int, b: int) -> tuple[int, int]:
        """The characters of the prompt that characters a to b of `text` stand for."""
        if a == b:
            return a, b  # a special token
        before = 0
        for place, length, start, end in self.added:
            if b <= place:
                break
            if a >= place + length:
                before += length
            else:
                return start, end
        return a - before, b - before


def expand(prompt: str, tokenizer: Any) -> Expanded:
    """A prompt as diffusers would hand it to the tokenizer. One that is spelled out already stays as it is."""
    words: Mapping[str, int] = tokenizer.added_tokens_encoder
    several = {word for word in words if f"{word}_1" in words}
    if not several:
        return Expanded(prompt)
    # The tokenizer takes the longest added word at a place; it may ignore case.
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)), re.IGNORECASE)
    text, added, last = "", [], 0
    for match in pattern.finditer(prompt):
        word = _word(match.group(), words, tokenizer)
        if word not in several:
            continue
        rest = _rest(word, words)
        if prompt[match.end() :].lower().startswith(f" {word}_1".lower()):
            continue
        text += prompt[last : match.end()]
        added.append((len(text), len(rest), *match.span()))
        text += rest
        last = match.end()
    return Expanded(text + prompt[last:], tuple(added))


def _word(found: str, words: Mapping[str, int], tokenizer: Any) -> str | None:
    """The added word that the tokenizer reads there."""
    if found in words:
        return found
    tokens: list[str] = tokenizer.tokenize(found)
    return tokens[0] if len(tokens) == 1 and tokens[0] in words else None


def _rest(word: str, words: Mapping[str, int]) -> str:
    rest, count = "", 1
    while f"{word}_{count}" in words:
        rest += f" {word}_{count}"
        count += 1
    return rest
