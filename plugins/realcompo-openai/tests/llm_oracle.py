"""The judge of layouts: hand labels and its own geometry. Shares no code with the validator (and must not import it).

`faults` is what anyone would call wrong; `surely_right` is what anyone would call right. Between them lies what can be argued about.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Box = tuple[float, float, float, float]
Layout = list[tuple[str, Box]]


@dataclass(frozen=True)
class Label:
    """A prompt and what a person reads in it: words → (least, most); see labels.toml."""

    kind: str
    text: str
    required: dict[str, tuple[int, int]]
    optional: dict[str, int]
    relations: tuple[tuple[str, ...], ...]
    either: tuple[tuple[str, ...], ...]
    places: tuple[tuple[str, str], ...]
    never: tuple[str, ...]

    def name(self, phrase: str) -> str | None:
        """The labelled words that a phrase of a reply stands for."""
        phrase = phrase.lower().strip()
        for words in (*self.required, *self.optional, *self.never):
            full = words.lower()
            if phrase == full or (full.endswith(" " + phrase)) or (phrase.endswith(" " + full) and phrase in self.text.lower()):
                return words
        return None


def labels() -> list[Label]:
    """All forty."""
    rows = tomllib.loads(Path(__file__).with_name("labels.toml").read_text("utf-8"))["prompt"]
    return [
        Label(
            row["kind"],
            row["text"],
            {one[0]: (one[1], one[-1]) for one in row["objects"]},
            {one[0]: one[1] for one in row.get("optional", ())},
            tuple(tuple(one) for one in row.get("relations", ())),
            tuple(tuple(one) for one in row.get("either", ())),
            tuple((one[0], one[1]) for one in row.get("places", ())),
            tuple(row.get("never", ())),
        )
        for row in rows
    ]


def faults(label: Label, layout: Sequence[tuple[str, Box]]) -> list[str]:
    """What is wrong with a layout beyond argument."""
    wrong = []
    groups: dict[str, list[Box]] = {}
    for phrase, box in layout:
        words = label.name(phrase)
        if words is None or words in label.never:
            wrong.append(f"{phrase!r} is not asked for")
            continue
        groups.setdefault(words, []).append(box)
        if not all(-0.01 <= value <= 1.01 for value in box) or not (box[2] - box[0] > 0.005 and box[3] - box[1] > 0.005):
            wrong.append(f"the box of {phrase!r} cannot be drawn: {box}")
    for words, boxes in groups.items():
        if any(_same(a, b) for i, a in enumerate(boxes) for b in boxes[:i]):
            wrong.append(f"{words!r}: one box twice")
    for words, (least, most) in label.required.items():
        have = len(groups.get(words, ()))
        if not least <= have <= most:
            wrong.append(f"{words!r}: {have}, not {least}")
    for words, count in label.optional.items():
        if len(groups.get(words, ())) not in (0, count):
            wrong.append(f"{words!r}: {len(groups[words])}, not {count} or none")
    if not wrong:
        wrong += [f"relation {one} is broken" for one in label.relations if not _kept(one, groups, 0.0)]
        if label.either and not any(_kept(one, groups, 0.0) for one in label.either):
            wrong.append(f"none of {label.either} is kept")
        wrong += [f"place {one} is broken" for one in label.places if not all(_at(box, one[1], 0.0) for box in groups[one[0]])]
    return wrong


def surely_right(label: Label, layout: Layout) -> bool:
    """Whether nobody would object: relations hold by a margin, and nothing hides behind anything."""
    groups: dict[str, list[Box]] = {}
    for phrase, box in layout:
        groups.setdefault(label.name(phrase) or "", []).append(box)
    return (
        not faults(label, layout)
        and all(_kept(one, groups, 0.04) for one in (*label.relations, *label.either))
        and all(_at(box, one[1], 0.04) for one in label.places for box in groups[one[0]])
    )


def _same(a: Box, b: Box) -> bool:
    return all(abs(x - y) < 0.01 for x, y in zip(a, b, strict=True))


def _middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _kept(relation: tuple[str, ...], groups: dict[str, list[Box]], margin: float) -> bool:
    first, others = groups[relation[0]], [groups[words] for words in relation[2:]]
    name = relation[1]
    if name == "between":
        ends = [box for group in others for box in group]
        xs, ys = sorted(_middle(box)[0] for box in ends), sorted(_middle(box)[1] for box in ends)
        inside = [xs[0] + margin < _middle(b)[0] < xs[-1] - margin or ys[0] + margin < _middle(b)[1] < ys[-1] - margin for b in first]
        return all(inside)
    if name in ("on", "in"):
        return all(any(_rests(name, a, b, margin) for b in others[0]) for a in first)
    return all(_pair(name, a, b, margin) for a in first for b in others[0])


def _rests(name: str, a: Box, b: Box, margin: float) -> bool:
    """On: its foot within what it stands on, or just above it. In: its middle in the other."""
    x, y = _middle(a)
    if name == "in":
        slack = 0.25 if margin == 0 else 0.0
        return b[0] - slack <= x <= b[2] + slack and b[1] - slack <= y <= b[3] + slack
    slack = 0.1 if margin == 0 else 0.02
    across = min(a[2], b[2]) - max(a[0], b[0]) > (0 if margin == 0 else 0.5 * (a[2] - a[0]))
    held = b[1] - slack <= a[3] <= b[3] + (slack if margin == 0 else -0.05)
    return across and held and (margin == 0 or y < _middle(b)[1] - margin)


def _pair(name: str, a: Box, b: Box, margin: float) -> bool:
    (ax, ay), (bx, by) = _middle(a), _middle(b)
    if name == "left of":
        return ax < bx - margin
    if name == "right of":
        return ax > bx + margin
    if name == "above":
        return ay < by - margin
    if name == "below":
        return ay > by + margin
    reach = 0.45 if margin == 0 else 0.2  # next to
    far = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
    return far <= reach and (margin == 0 or far >= 0)


def _at(box: Box, place: str, margin: float) -> bool:
    x, y = _middle(box)
    tests = {
        "left": x < 0.5 - margin,
        "right": x > 0.5 + margin,
        "top": y < 0.5 - margin,
        "bottom": y > 0.5 + margin,
        "middle": abs(x - 0.5) < 0.25 - 3 * margin and abs(y - 0.5) < 0.3 - 3 * margin,
    }
    return all(tests[word] for word in place.split())


# -- layouts to judge --------------------------------------------------------------------------------------------------------


def right_layout(label: Label, seed: int) -> Layout:
    """A random layout that is surely right; every third without determiners, every other with what may be left out."""
    rng = random.Random(f"{seed}:{label.text}")
    bare = seed % 3 == 2
    for _ in range(200_000):
        layout: Layout = []
        counts = {words: least + (rng.randrange(3) if most == 99 else 0) for words, (least, most) in label.required.items()}
        if seed % 2:
            counts |= label.optional
        for words, count in counts.items():
            side = rng.uniform(0.14, 0.5) / max(1, count) ** 0.5
            big = any(one[1] in ("on", "in") and words in one[2:] for one in label.relations) or words in label.optional
            small = any(one[1] in ("on", "in") and words == one[0] for one in label.relations)
            for _ in range(count):
                width, height = side * rng.uniform(0.8, 1.4) * (1.6 if big else 0.6 if small else 1), side * rng.uniform(0.8, 1.4)
                width, height = min(width, 0.9), min(height, 0.9)
                x, y = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
                layout.append((words, (round(x, 3), round(y, 3), round(x + width, 3), round(y + height, 3))))
        layout = _settle(label, layout, rng)
        if surely_right(label, layout):
            drop = ("a ", "an ", "the ")
            names = {words: words.split(" ", 1)[1] if bare and words.lower().startswith(drop) else words for words, _ in layout}
            return [(names[words], box) for words, box in layout]
    raise RuntimeError(f"no layout for {label.text!r}")


def _settle(label: Label, layout: Layout, rng: random.Random) -> Layout:
    """Put what stands on or in something there: chance alone would take too long."""
    for one in label.relations:
        if one[1] not in ("on", "in"):
            continue
        grounds = [box for words, box in layout if words == one[2]]
        settled: Layout = []
        for words, box in layout:
            if words == one[0]:
                ground = rng.choice(grounds)
                width, height = min(box[2] - box[0], (ground[2] - ground[0]) * 0.9), min(box[3] - box[1], 0.4)
                x = rng.uniform(ground[0], ground[2] - width)
                foot = rng.uniform(ground[1], ground[3] - 0.06) if one[1] == "on" else rng.uniform(ground[1] + height / 2, ground[3])
                box = (round(x, 3), round(max(0.0, foot - height), 3), round(x + width, 3), round(foot, 3))
            settled.append((words, box))
        layout = settled
    return layout


def wrong_layouts(label: Label, seed: int) -> dict[str, Layout]:
    """Wrong in one way each; only those that the oracle is sure of."""
    rng = random.Random(f"wrong:{seed}:{label.text}")
    good = right_layout(label, seed)
    exact = [words for words, (least, most) in label.required.items() if least == most]
    name = rng.choice(exact)
    spots = [index for index, (phrase, _) in enumerate(good) if label.name(phrase) == name]
    at = rng.choice(spots)
    phrase, box = good[at]
    shrunk = (box[0], box[1], box[0] + (box[2] - box[0]) * 0.7, box[1] + (box[3] - box[1]) * 0.7)
    found = {
        "one too few": good[:at] + good[at + 1 :],
        "one too many": [*good, (phrase, shrunk)],
        "outside": [*good[:at], (phrase, (box[0] + 0.9, box[1], box[2] + 0.9, box[3])), *good[at + 1 :]],
        "no area": [*good[:at], (phrase, (box[0], box[1], box[0], box[3])), *good[at + 1 :]],
        "corners swapped": [*good[:at], (phrase, (box[2], box[3], box[0], box[1])), *good[at + 1 :]],
        "another object": [*good[:at], ("a giraffe", box), *good[at + 1 :]],
        "one more, not asked for": [*good, ("a giraffe", (0.4, 0.4, 0.6, 0.6))],
        "box said twice": [*good, (phrase, box)],
        "mirrored": [(p, (round(1 - b[2], 3), b[1], round(1 - b[0], 3), b[3])) for p, b in good],
        "upside down": [(p, (b[0], round(1 - b[3], 3), b[2], round(1 - b[1], 3))) for p, b in good],
        "half a phrase": [*good[:at], (phrase.rsplit(" ", 1)[0], box), *good[at + 1 :]] if " " in phrase else [],
        "all": [],
    }
    for words in label.never:
        found["what must not be there"] = [*good, (words, (0.1, 0.1, 0.3, 0.3))]
    return {kind: layout for kind, layout in found.items() if faults(label, layout)}
