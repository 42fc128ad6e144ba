"""A prompt of any length as chunks of tokens: where each begins and ends, and which characters each token stands for.

A chunk holds as many tokens as the text encoder reads, less the start and end tokens. Where the next begins differs between programs:
compel ends a chunk after its last full stop, else after its last of ``. , ; :``, else after its last whole word; A1111 after a comma among
its last twenty tokens, else where it is full. Plain Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .scripts import Span

MOST_CHUNKS = 6
"""Of a prompt: pictures of a batch are repeated up to the least common multiple of their numbers, 60 at most."""
BACKTRACK = 20
"""Tokens after A1111's last comma that may begin the next chunk."""


@dataclass(frozen=True)
class Token:
    """One token: its id and name in the vocabulary, its weight, and the characters of the text that it stands for."""

    id: int
    name: str
    weight: float
    span: Span


Chunks = tuple[tuple[Token, ...], ...]


def split(tokens: Sequence[Token], size: int, rule: Literal["compel", "a1111"]) -> Chunks:
    """Tokens in chunks of at most `size`; one empty chunk where there are none."""
    made: list[tuple[Token, ...]] = []
    rest = tuple(tokens)
    while len(rest) > size:
        end = _compel(rest, size) if rule == "compel" else _a1111(rest, size)
        made.append(rest[:end])
        rest = rest[end:]
    return (*made, rest) if rest or not made else tuple(made)


def _compel(tokens: Sequence[Token], size: int) -> int:
    for ends in ({".</w>"}, {".</w>", ",</w>", ";</w>", ":</w>"}):
        found = next((n for n in reversed(range(size)) if tokens[n].name in ends), None)
        if found is not None:
            return found + 1
    return next((n + 1 for n in reversed(range(size)) if tokens[n].name.endswith("</w>")), size)


def _a1111(tokens: Sequence[Token], size: int) -> int:
    if tokens[size].name == ",</w>":  # it moves on alone
        return size
    found = next((n for n in reversed(range(size)) if tokens[n].name == ",</w>"), None)
    return found + 1 if found is not None and size - found <= BACKTRACK else size
