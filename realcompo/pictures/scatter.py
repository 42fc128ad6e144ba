"""Named dots over two axes: what several ways are worth against what they cost, or against each other. No label covers another."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw

from .drawing import font, text_size

WIDTH, HEIGHT, PAD, SIZE = 1100, 760, 90, 16
INK, PALE = "#222222", "#bbbbbb"
GAP = 5
"""Pixels between a dot and its label."""


@dataclass(frozen=True)
class Dot:
    """One name of the figure.

    Attributes:
        x, y: where it stands; low, high: an interval of y, or None.
        radius: pixels.
        filled: whether it is one that leads.
    """

    name: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    radius: float = 7.0
    filled: bool = False


def scatter(
    dots: Sequence[Dot], title: str, across: str, least: float = 0.0, number: Callable[[float], str] = "{:.2f}".format
) -> Image.Image:
    """The figure, (WIDTH, HEIGHT): x from 0, y from `least`; a line through the dots that are filled, from left to right.

    Args:
        across: what x is; title: what y is.
        number: how a number of x is written.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    most = max(dot.x for dot in dots) * 1.15 or 1.0
    top = max(dot.y if dot.high is None else dot.high for dot in dots)
    top = (top if top > least else least + 1.0) + 0.08 * (top - least)

    def place(x: float, y: float) -> tuple[float, float]:
        return PAD + (WIDTH - 2 * PAD) * x / most, HEIGHT - PAD - (HEIGHT - 2 * PAD) * (y - least) / (top - least)

    draw.line([place(0, top), place(0, least), place(most, least)], fill=INK, width=2)
    for tick in range(6):
        x, y = most * tick / 5, least + (top - least) * tick / 5
        draw.text((place(x, least)[0], place(x, least)[1] + 8), number(x), fill=INK, font=font(SIZE), anchor="ma")
        draw.text((place(0, y)[0] - 8, place(0, y)[1]), f"{y:.2f}", fill=INK, font=font(SIZE), anchor="rm")
    draw.text((WIDTH / 2, HEIGHT - 30), across, fill=INK, font=font(SIZE), anchor="mm")
    draw.text((PAD, PAD / 2), title, fill=INK, font=font(SIZE), anchor="lm")
    leading = sorted((dot for dot in dots if dot.filled), key=lambda dot: dot.x)
    draw.line([place(dot.x, dot.y) for dot in leading], fill=PALE, width=3)
    places = [place(dot.x, dot.y) for dot in dots]
    names = [written(dot.name) for dot in dots]
    anchors = [(x + dot.radius + GAP, y, float(text_size(name, SIZE)[0])) for dot, name, (x, y) in zip(dots, names, places, strict=True)]
    marks = [(x - dot.radius, y - dot.radius, x + dot.radius, y + dot.radius) for dot, (x, y) in zip(dots, places, strict=True)]
    for index, (dot, name, at, mark, label) in enumerate(zip(dots, names, places, marks, apart(anchors, marks), strict=True)):
        hue = f"hsl({int(360 * index / len(dots))},65%,40%)"
        if dot.low is not None and dot.high is not None:
            draw.line([place(dot.x, dot.low), place(dot.x, dot.high)], fill=hue, width=2)
        if label != anchors[index][:2]:
            draw.line([at, (label[0] - 2, label[1])], fill=hue, width=1)
        draw.ellipse(mark, outline=hue, fill=hue if dot.filled else "white", width=3)
        draw.text(label, name, fill=hue, font=font(SIZE), anchor="lm")
    return image


def apart(
    anchors: Sequence[tuple[float, float, float]], marks: Sequence[tuple[float, float, float, float]] = ()
) -> list[tuple[float, float]]:
    """(left, middle) of each label: where it is wanted, or the nearest place where it covers no other label and no mark.

    Args:
        anchors: (left, middle, width) of each, in pixels.
        marks: (x0, y0, x1, y1) that no label may cover.
    """
    high = text_size("", SIZE)[1]
    taken = list(marks)
    found: list[tuple[float, float]] = [(0.0, 0.0)] * len(anchors)
    for index in sorted(range(len(anchors)), key=lambda index: anchors[index][1]):
        left, middle, wide = anchors[index]
        tries = [(right, way * high * n / 2) for n in range(80) for right in (0.0, 24.0) for way in (-1, 1)]
        for right, down in tries:
            box = (left + right, middle + down - high / 2, left + right + wide, middle + down + high / 2)
            if box[1] > PAD / 2 and box[3] < HEIGHT - PAD / 2 and not any(_meet(box, other) for other in taken):
                break
        else:
            right, down = 0.0, 0.0
            box = (left, middle - high / 2, left + wide, middle + high / 2)
        taken.append(box)
        found[index] = (left + right, middle + down)
    return found


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@lru_cache(maxsize=1024)
def written(text: str) -> str:
    """A text with the names of letters that the font lacks in their place: ξ is xi."""
    return "".join(one if _has(one) else _named(one) for one in text)


@lru_cache(maxsize=1024)
def _has(letter: str) -> bool:
    """Whether the font draws a letter as itself, not as the box that stands for what it lacks."""
    lacking = font(SIZE).getmask("\uffff")
    drawn = font(SIZE).getmask(letter)
    return letter.isspace() or (drawn.size, bytes(drawn)) != (lacking.size, bytes(lacking))


def _named(letter: str) -> str:
    """Its name's last word, of a Greek or other small letter; the letter itself where it has none."""
    name = unicodedata.name(letter, "")
    return name.rpartition(" ")[2].lower() if " LETTER " in name else letter
