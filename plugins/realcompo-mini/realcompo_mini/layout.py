"""Boxes for a sentence: counts and relations satisfied, little overlap, everything inside the picture. Pure Python, seeded.

A box is (x0, y0, x1, y1) in shares of the picture, y downwards. Things that touch ("on", "next to") are built into a cluster first;
"left of" and its kin then give every cluster a slot, and clusters are thrown into their slots until nothing overlaps, ever smaller.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from realcompo_mini.language import Item, LanguageError, Sentence

Box = tuple[float, float, float, float]

MARGIN = 0.02  # free border of the picture
GAP = 0.02  # slack of "left of" and its kin, and the least gap between two objects
NEAR = 0.12  # widest gap of "next to"
MAX_OBJECTS = 12
# longest side of an object of size 1 by the number of objects, drawn between the two
SCALES = {1: (0.45, 0.72), 2: (0.36, 0.5), 3: (0.29, 0.42), 4: (0.26, 0.37), 5: (0.23, 0.32), 6: (0.22, 0.29)}


@dataclass
class _Cluster:
    """Objects in fixed relative position; boxes local, origin at the top left."""

    boxes: list[tuple[int, list[float]]] = field(default_factory=list)  # (index of the item, box)

    def settle(self) -> tuple[float, float]:
        """Move the origin to the top left; returns width and height."""
        x = min(box[0] for _, box in self.boxes)
        y = min(box[1] for _, box in self.boxes)
        for _, box in self.boxes:
            box[0], box[1], box[2], box[3] = box[0] - x, box[1] - y, box[2] - x, box[3] - y
        return max(box[2] for _, box in self.boxes), max(box[3] for _, box in self.boxes)


def short(box: Box) -> Box:
    """A box to four decimals, which people can read and edit."""
    x0, y0, x1, y1 = (round(value, 4) for value in box)
    return x0, y0, x1, y1


def related(relation: str, a: list[Box], b: list[Box]) -> bool:
    """Whether the objects `a` stand in `relation` to the objects `b`."""
    if relation == "left of":
        return max(box[2] for box in a) <= min(box[0] for box in b) + GAP
    if relation == "right of":
        return related("left of", b, a)
    if relation == "above":
        return max(box[3] for box in a) <= min(box[1] for box in b) + GAP
    if relation == "below":
        return related("above", b, a)
    if relation == "on":  # the feet near the top of something, the middle over it
        return all(any(abs(p[3] - q[1]) <= 0.3 * (q[3] - q[1]) and q[0] <= (p[0] + p[2]) / 2 <= q[2] for q in b) for p in a)
    if relation == "next to":
        return any(_beside(p, q) for p in a for q in b)
    raise ValueError(f"no relation {relation!r}")


def _beside(p: Box, q: Box) -> bool:
    gap = max(p[0] - q[2], q[0] - p[2])
    shared = min(p[3], q[3]) - max(p[1], q[1])
    return -GAP <= gap <= NEAR and shared >= 0.5 * min(p[3] - p[1], q[3] - q[1])


def _size(item: Item, scale: float, rng: random.Random) -> tuple[float, float]:
    side = scale * item.kind.size * rng.uniform(0.92, 1.08)
    aspect = item.kind.aspect * rng.uniform(0.9, 1.1)
    return (side, side / aspect) if aspect >= 1 else (side * aspect, side)


def _row(index: int, item: Item, scale: float, rng: random.Random) -> list[tuple[int, list[float]]]:
    """All objects of an item side by side on the line y = 0, from x = 0."""
    row, x = [], 0.0
    for _ in range(item.count):
        w, h = _size(item, scale, rng)
        row.append((index, [x, -h, x + w, 0.0]))
        x += w + GAP
    return row


def _put_on(cluster: _Cluster, support: int, row: list[tuple[int, list[float]]], rng: random.Random) -> None:
    """Stand a row on the objects of item `support`: one on top of each, or all on the only one."""
    below = [box for index, box in cluster.boxes if index == support]
    if len(below) > 1 and len(row) > len(below):
        raise LanguageError(f"the mini planner cannot stand {len(row)} objects on {len(below)}; name one thing to stand on")
    if len(below) > 1:
        for (_, box), base in zip(row, below, strict=False):
            _stand(box, (base[0] + base[2]) / 2, base)
    else:
        base = below[0]
        width = row[-1][1][2] - row[0][1][0]
        base_width = base[2] - base[0]
        # a long row needs a broad base: every middle has to be over it
        inner = (row[-1][1][0] + row[-1][1][2]) / 2 - (row[0][1][0] + row[0][1][2]) / 2
        if inner > 0.9 * base_width:
            grow = inner / (0.9 * base_width)
            more = base_width * (grow - 1)
            others = [box for _, box in cluster.boxes if box is not base and box[1] < base[3] and box[3] > base[1]]
            to_left = any(box[0] >= base[2] for box in others)  # away from what stands beside it
            to_right = any(box[2] <= base[0] for box in others)
            part = 0.5 if to_left == to_right else float(to_left)
            base[0], base[2] = base[0] - part * more, base[2] + (1 - part) * more
            base_width *= grow
        shift = rng.uniform(-0.5, 0.5) * max(0.0, 0.9 * base_width - inner) * 0.4
        start = (base[0] + base[2]) / 2 - width / 2 + shift
        for _, box in row:
            _stand(box, start + (box[0] + box[2]) / 2, base)
    cluster.boxes += row


def _stand(box: list[float], middle: float, base: list[float]) -> None:
    w, h = box[2] - box[0], box[3] - box[1]
    feet = base[1] + 0.04 * (base[3] - base[1])
    box[0], box[1], box[2], box[3] = middle - w / 2, feet - h, middle + w / 2, feet


def _clusters(sentence: Sentence, scale: float, rng: random.Random) -> tuple[list[_Cluster], dict[int, list[int]]]:
    """Build the touching groups. Returns the clusters and, for each item, the clusters that hold its objects."""
    clusters: list[_Cluster] = []
    where: dict[int, list[int]] = {}
    k, count = 0, len(sentence.items)
    while k < count:
        last = k
        while last < count - 1 and sentence.relations[last] in ("on", "next to"):
            last += 1
        if last == k:
            item = sentence.items[k]
            where[k] = []
            for _ in range(item.count):
                w, h = _size(item, scale, rng)
                where[k].append(len(clusters))
                clusters.append(_Cluster([(k, [0.0, 0.0, w, h])]))
        else:
            cluster = _Cluster(_row(last, sentence.items[last], scale, rng))
            for index in range(last - 1, k - 1, -1):
                row = _row(index, sentence.items[index], scale, rng)
                if sentence.relations[index] == "on":
                    _put_on(cluster, index + 1, row, rng)
                else:
                    _put_beside(cluster, index + 1, row, rng)
            for index in range(k, last + 1):
                where[index] = [len(clusters)]
            clusters.append(cluster)
        k = last + 1
    return clusters, where


def _put_beside(cluster: _Cluster, anchor: int, row: list[tuple[int, list[float]]], rng: random.Random) -> None:
    """Put a row at one free end of the cluster's ground line."""
    feet = max(box[3] for index, box in cluster.boxes if index == anchor)
    level = [box for _, box in cluster.boxes if box[3] > feet - 0.5 * (row[0][1][3] - row[0][1][1])]
    left, right = min(box[0] for box in level), max(box[2] for box in level)
    gap = rng.uniform(GAP, 0.5 * NEAR)
    width = row[-1][1][2]
    own = [box for index, box in cluster.boxes if index == anchor]
    can_right = any(box[2] >= right - 1e-9 for box in own)
    can_left = any(box[0] <= left + 1e-9 for box in own)
    go_right = can_right and (rng.random() < 0.5 or not can_left)
    shift = right + gap if go_right else left - gap - width
    for _, box in row:
        box[0], box[1], box[2], box[3] = box[0] + shift, box[1] + feet, box[2] + shift, box[3] + feet
    cluster.boxes += row


def _levels(sentence: Sentence, where: dict[int, list[int]], n: int, axis: int) -> list[tuple[float, float]]:
    """The share of the axis that each cluster may use, so that every order relation on this axis holds."""
    before, after = (("left of", "right of"), ("above", "below"))[axis]
    slots = [(0.0, 1.0)] * n
    k = 0
    while k < len(sentence.relations):
        # a maximal run of items linked on any relation; levels along it by ±1 for this axis
        end = k
        while end < len(sentence.relations) and sentence.relations[end] is not None:
            end += 1
        if end == k:
            k += 1
            continue
        level, levels = 0, {k: 0}
        for j in range(k, end):
            level += {before: 1, after: -1}.get(sentence.relations[j] or "", 0)
            levels[j + 1] = level
        ordered = sorted(set(levels.values()))
        if len(ordered) > 1:
            for index, value in levels.items():
                rank = ordered.index(value)
                for c in where[index]:
                    slots[c] = (rank / len(ordered), (rank + 1) / len(ordered))
        k = end
    return slots


def _overlap(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > -GAP / 2 and min(a[3], b[3]) - max(a[1], b[1]) > -GAP / 2


def _throw(clusters: list[_Cluster], slots: list[list[tuple[float, float]]], rng: random.Random) -> list[tuple[int, Box]] | None:
    """Throw the clusters into their slots; None when they do not fit."""
    placed: list[tuple[int, Box]] = []
    sizes = [cluster.settle() for cluster in clusters]
    for c in sorted(range(len(clusters)), key=lambda c: -sizes[c][0] * sizes[c][1]):
        w, h = sizes[c]
        low_x, high_x = max(slots[0][c][0], MARGIN), min(slots[0][c][1], 1 - MARGIN) - w
        low_y, high_y = max(slots[1][c][0], MARGIN), min(slots[1][c][1], 1 - MARGIN) - h
        if high_x < low_x or high_y < low_y:
            return None
        for _ in range(40):
            x, y = rng.uniform(low_x, high_x), rng.uniform(low_y, high_y)
            boxes = [(i, (b[0] + x, b[1] + y, b[2] + x, b[3] + y)) for i, b in clusters[c].boxes]
            if not any(_overlap(box, other) for _, box in boxes for _, other in placed):
                placed += boxes
                break
        else:
            return None
    return placed


def lay_out(sentence: Sentence, rng: random.Random) -> list[tuple[int, Box]]:
    """Boxes for every object of a sentence.

    Returns:
        (index of the item, box) in the order of the items; an item of count 3 has three entries.

    Raises:
        LanguageError: more objects than fit, or a stack that cannot stand.
    """
    if sentence.count > MAX_OBJECTS:
        raise LanguageError(f"the mini planner lays out at most {MAX_OBJECTS} objects; this prompt has {sentence.count}")
    low, high = SCALES.get(sentence.count, (0.18, 0.26))
    scale = rng.uniform(low, high)
    for attempt in range(400):
        clusters, where = _clusters(sentence, scale, rng)
        slots = [_levels(sentence, where, len(clusters), axis) for axis in (0, 1)]
        placed = _throw(clusters, slots, rng)
        if placed is not None and _holds(sentence, placed):
            return sorted(placed, key=lambda entry: entry[0])
        if attempt % 6 == 5:
            scale *= 0.93
    raise LanguageError("the mini planner found no layout for this prompt; name fewer objects or relations")


def _holds(sentence: Sentence, placed: list[tuple[int, Box]]) -> bool:
    groups = [[box for index, box in placed if index == k] for k in range(len(sentence.items))]
    return all(relation is None or related(relation, groups[k], groups[k + 1]) for k, relation in enumerate(sentence.relations))
