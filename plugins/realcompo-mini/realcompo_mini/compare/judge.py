"""What a picture holds of its scene, by the scorer. Matching is one to one: a detection serves one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from realcompo_mini.language import parse
from realcompo_mini.scorer import Detection, iou
from realcompo_mini.train.scenes import Scene

IN_BOX = 0.4
"""Least intersection over union of a detection and the box that it is found in."""


@dataclass(frozen=True)
class Wanted:
    """An object of a scene as its words say it: an attribute that is not said may be any."""

    kind: str
    colour: str | None
    pattern: str | None
    box: tuple[float, float, float, float]


def wanted(scene: Scene) -> list[Wanted]:
    """The objects of a scene, by their words."""
    said = {item.span: item for item in parse(scene.caption).items}
    return [Wanted(o.kind, said[o.span].colour, said[o.span].pattern, o.box) for o in scene.objects]


def named(w: Wanted, d: Detection) -> bool:
    """The right kind."""
    return d.kind == w.kind


def right(w: Wanted, d: Detection) -> bool:
    """The right kind, and every attribute that was said."""
    return named(w, d) and (w.colour is None or d.colour == w.colour) and (w.pattern is None or d.pattern == w.pattern)


def inside(w: Wanted, d: Detection) -> bool:
    """Where it belongs."""
    return iou(w.box, d.box) > IN_BOX


def matches(wants: Sequence[Wanted], found: Sequence[Detection], fits: Callable[[Wanted, Detection], bool]) -> list[tuple[int, int]]:
    """The largest one-to-one matching of objects to detections that fit."""
    if not wants or not found:
        return []
    table = np.array([[fits(w, d) for d in found] for w in wants])
    rows, columns = linear_sum_assignment(~table)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if table[i, j]]


def judge(wants: Sequence[Wanted], found: Sequence[Detection]) -> dict[str, int]:
    """Counts of one picture.

    objects: wanted. in_box: of them with the right name and attributes in their box. placed: with the right name in their box.
    told: of the placed those whose words say an attribute, attributes: of these the right ones. present: with the right name and
    attributes anywhere. exact: 1 if every kind appears as often as wanted and no other kind appears.
    """
    placed = matches(wants, found, lambda w, d: named(w, d) and inside(w, d))
    told = [(i, j) for i, j in placed if wants[i].colour or wants[i].pattern]
    return {
        "objects": len(wants),
        "in_box": len(matches(wants, found, lambda w, d: right(w, d) and inside(w, d))),
        "placed": len(placed),
        "told": len(told),
        "attributes": sum(right(wants[i], found[j]) for i, j in told),
        "present": len(matches(wants, found, right)),
        "exact": int(Counter(w.kind for w in wants) == Counter(d.kind for d in found)),
    }
