"""Whether boxes keep a stated relation. Lenient: only what no reader of the prompt would accept is refused.

Boxes are (x0, y0, x1, y1) in shares of the picture, y downward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from realcompo.conditions import Box

NEAR = 0.35
"""The widest gap (share of the picture) between neighbours."""
TOUCH = 0.08
"""The widest gap between what stands and what it stands on."""


def cx(box: Box) -> float:
    """Centre, across."""
    return (box[0] + box[2]) / 2


def cy(box: Box) -> float:
    """Centre, down."""
    return (box[1] + box[3]) / 2


def area(box: Box) -> float:
    """Share of the picture."""
    return (box[2] - box[0]) * (box[3] - box[1])


def shared(a: Box, b: Box) -> float:
    """Area that two boxes have in common."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    both = shared(a, b)
    return both / (area(a) + area(b) - both)


def gap(a: Box, b: Box) -> float:
    """The distance along the axis on which two boxes are farther apart; 0 where they touch."""
    return max(0.0, a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])


def _on(a: Box, b: Box) -> bool:
    if gap(a, b) > TOUCH or min(a[2], b[2]) - max(a[0], b[0]) <= 0:
        return False
    return cy(a) < cy(b) or shared(a, b) >= 0.8 * area(a)  # a cup on a table; a picture on a wall


PAIRS: dict[str, Callable[[Box, Box], bool]] = {
    "left of": lambda a, b: cx(a) < cx(b),
    "right of": lambda a, b: cx(a) > cx(b),
    "above": lambda a, b: cy(a) < cy(b),
    "below": lambda a, b: cy(a) > cy(b),
    "over": lambda a, b: cy(a) < cy(b) or shared(a, b) > 0,
    "under": lambda a, b: cy(a) > cy(b) or shared(a, b) >= 0.9 * area(a),
    "on": _on,
    "in": lambda a, b: shared(a, b) > 0 and shared(a, b) >= 0.1 * min(area(a), area(b)),
    "next to": lambda a, b: gap(a, b) <= NEAR and overlap(a, b) < 0.8,
}

_SOME = {"on", "in", "next to"}
"""Each of the first has to stand so to one of the second: of two tables, a cup stands on one. The others: to all of them."""


def holds(name: str, first: Sequence[Box], second: Sequence[Box], loose: bool = False) -> bool:
    """Whether a relation of two things holds.

    Args:
        loose: one pair is enough (two things of the same words cannot be told apart).
    """
    test = PAIRS[name]
    if loose:
        return any(test(a, b) for a, b in product(first, second) if a is not b)
    if name == "next to":
        return any(test(a, b) for a, b in product(first, second))  # "three cats next to a dog" need not stand in a ring
    if name in _SOME:
        return all(any(test(a, b) for b in second) for a in first)
    return all(test(a, b) for a, b in product(first, second))


def between(boxes: Sequence[Box], ends: Sequence[Box]) -> bool:
    """Whether each of the boxes has one end on either side, across or down."""
    for box in boxes:
        pairs = [(a, b) for a in ends for b in ends if a is not b]
        across = any(cx(a) < cx(box) < cx(b) for a, b in pairs)
        if not across and not any(cy(a) < cy(box) < cy(b) for a, b in pairs):
            return False
    return True


def stands(box: Box, place: str) -> bool:
    """Whether a box stands at a place of the picture, such as "left" or "bottom right"."""
    tests = {
        "left": cx(box) < 0.5,
        "right": cx(box) > 0.5,
        "top": cy(box) < 0.5,
        "bottom": cy(box) > 0.5,
        "middle": abs(cx(box) - 0.5) <= 0.2 and abs(cy(box) - 0.5) <= 0.25,
    }
    return all(tests[word] for word in place.split())
