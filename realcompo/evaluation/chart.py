"""The frontier: what the pictures are worth against what they cost, in F."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..files import whole
from ..pictures.scatter import Dot, scatter
from ..specs import Column
from .measure import Figure, frontier


def draw_frontier(column: Column, rows: Mapping[str, tuple[float, Figure]], path: Path) -> None:
    """A dot a recipe with its 95% interval; a line through those that no other beats in both.

    Args:
        rows: name → (F of a picture, figure).
    """
    sign = -1 if column.less else 1
    leading = frontier({name: (cost, sign * one.value) for name, (cost, one) in rows.items()})
    dots = [Dot(name, cost, one.value, one.low, one.high, filled=name in leading) for name, (cost, one) in rows.items()]
    least = min(0.0, *(one.low for _, one in rows.values()))
    title = f"{column.title} ({'less' if column.less else 'more'} is better)"
    image = scatter(dots, title, "F of a picture (less is better)", least, "{:.0f}".format)
    with whole(path, links=False) as stream:
        image.save(stream, "PNG")
