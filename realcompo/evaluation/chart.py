"""The frontier: what the pictures are worth against what they cost, in F."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..files import whole
from ..specs import Column
from .measure import Figure, frontier

WIDTH, HEIGHT, PAD = 1100, 760, 90
INK, PALE = "#222222", "#bbbbbb"


def draw_frontier(column: Column, rows: Mapping[str, tuple[float, Figure]], path: Path) -> None:
    """A dot a recipe with its 95% interval; a line through those that no other beats in both.

    Args:
        rows: name → (F of a picture, figure).
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(16)
    figures = [one for _, one in rows.values()]
    most = max(cost for cost, _ in rows.values()) * 1.15 or 1.0
    low, high = min(0.0, *(one.low for one in figures)), max(one.high for one in figures)
    low, high = (low, high) if high > low else (low, low + 1.0)
    high += 0.08 * (high - low)

    def place(cost: float, value: float) -> tuple[float, float]:
        return PAD + (WIDTH - 2 * PAD) * cost / most, HEIGHT - PAD - (HEIGHT - 2 * PAD) * (value - low) / (high - low)

    draw.line([place(0, high), place(0, low), place(most, low)], fill=INK, width=2)
    for tick in range(6):
        cost, value = most * tick / 5, low + (high - low) * tick / 5
        draw.text((place(cost, low)[0], place(cost, low)[1] + 8), f"{cost:.0f}", fill=INK, font=font, anchor="ma")
        draw.text((place(0, value)[0] - 8, place(0, value)[1]), f"{value:.2f}", fill=INK, font=font, anchor="rm")
    draw.text((WIDTH / 2, HEIGHT - 30), "F of a picture (less is better)", fill=INK, font=font, anchor="mm")
    draw.text((PAD, PAD / 2), f"{column.title} ({'less' if column.less else 'more'} is better)", fill=INK, font=font, anchor="lm")
    sign = -1 if column.less else 1
    leading = frontier({name: (cost, sign * one.value) for name, (cost, one) in rows.items()})
    draw.line([place(rows[name][0], rows[name][1].value) for name in leading], fill=PALE, width=3)
    for index, (name, (cost, one)) in enumerate(rows.items()):
        hue = f"hsl({int(360 * index / len(rows))},65%,45%)"
        x, y = place(cost, one.value)
        draw.line([place(cost, one.low), place(cost, one.high)], fill=hue, width=2)
        draw.ellipse([x - 7, y - 7, x + 7, y + 7], outline=hue, fill=hue if name in leading else "white", width=3)
        draw.text((x + 14, y), name, fill=hue, font=font, anchor="lm")
    with whole(path, links=False) as stream:
        image.save(stream, "PNG")
