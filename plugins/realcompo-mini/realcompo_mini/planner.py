"""The offline planner of the mini language: prompt → layout. Pure Python."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from realcompo_mini.language import LanguageError, Sentence, parse
from realcompo_mini.layout import Box, lay_out, related, short


@dataclass(frozen=True)
class Planned:
    """One object: the prompt's exact words and where they stand (characters), its box (x0, y0, x1, y1) in shares of the picture, and its
    kind in the mini world."""

    phrase: str
    span: tuple[int, int]
    box: Box
    kind: str


def plan_boxes(prompt: str, seed: int, *, keep: Sequence[tuple[str, Box]] = (), most: int | None = None) -> list[Planned]:
    """Plan a prompt of the mini language. The same prompt and seed give the same layout.

    Args:
        keep: (phrase, box) of objects that must stay where they are.
        most: the most objects that the models take.

    Raises:
        LanguageError: names the word that is not understood and lists those that are; or says why no layout exists.
    """
    sentence = parse(prompt)
    if most is not None and sentence.count > most:
        raise LanguageError(f"the prompt has {sentence.count} objects, the models take at most {most}")
    rng = random.Random(f"{seed}:{prompt}")
    placed = lay_out(sentence, rng) if not keep else _around(sentence, keep, rng)
    placed = _rounded(sentence, placed, [box for _, box in keep])
    return [Planned(item.phrase, item.span, box, item.kind.name) for item, box in ((sentence.items[index], box) for index, box in placed)]


def _rounded(sentence: Sentence, placed: list[tuple[int, Box]], keep: Sequence[Box]) -> list[tuple[int, Box]]:
    """Boxes to four decimals, which people can read and edit, where that keeps the relations. What is to stay is not touched."""
    rounded = [(index, box if box in keep else short(box)) for index, box in placed]
    groups = [[box for index, box in rounded if index == k] for k in range(len(sentence.items))]
    good = all(r is None or related(r, groups[k], groups[k + 1]) for k, r in enumerate(sentence.relations))
    return rounded if good else placed


def plan_layout(prompt: str, seed: int) -> list[tuple[str, Box]]:
    """(phrase, box) for every object; "three apples" gives three boxes that share one phrase. See `plan_boxes`."""
    return [(planned.phrase, planned.box) for planned in plan_boxes(prompt, seed)]


def _around(sentence: Sentence, keep: Sequence[tuple[str, Box]], rng: random.Random, tries: int = 300) -> list[tuple[int, Box]]:
    """Of many layouts the one whose other objects least overlap the kept ones, relations holding."""
    best: tuple[float, list[tuple[int, Box]]] | None = None
    for _ in range(tries):
        placed = lay_out(sentence, rng)
        held: set[int] = set()
        for phrase, box in keep:
            slots = [k for k, (index, _) in enumerate(placed) if sentence.items[index].phrase == phrase and k not in held]
            if not slots:
                raise LanguageError(f"the region {phrase!r} is to stay, but the prompt says it less often or not at all")
            held.add(slots[0])
            placed[slots[0]] = (placed[slots[0]][0], box)
        groups = [[box for index, box in placed if index == k] for k in range(len(sentence.items))]
        if any(r is not None and not related(r, groups[k], groups[k + 1]) for k, r in enumerate(sentence.relations)):
            continue
        cost = sum(_shared(placed[k][1], box) for k in held for j, (_, box) in enumerate(placed) if j not in held)
        if best is None or cost < best[0]:
            best = (cost, placed)
        if cost == 0:
            break
    if best is None:
        raise LanguageError("no layout keeps the given regions and satisfies the relations; move them or drop a relation")
    return best[1]


def _shared(a: Box, b: Box) -> float:
    """Area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
