"""docs/results.md and the frontier, generated from the raw records: no figure is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from realcompo.evaluation.measure import Figure
from realcompo_mini.compare.measure import Record, aligned, difference, figures

HEAD = {
    "in_box": "in box", "placed": "placed", "attributes": "attributes", "present": "present", "exact": "exact count",
    "distance": "distance", "passes": "passes",
}  # fmt: skip

MEASURED = tuple(column for column in HEAD if column != "passes")


def ruled(first: str, titles: Sequence[str]) -> list[str]:
    """The first two lines of a Markdown table."""
    return [f"| {first} | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]


def table(rows: Mapping[str, Mapping[str, Figure]], costs: Mapping[str, float] | None = None) -> str:
    """Markdown, one line a row; `costs` is F of sampling a picture."""
    lines = ruled("", [*HEAD.values(), *(["F"] if costs else [])])
    for name, row in rows.items():
        cells = [f"{row[c].value:.3f} ({row[c].low:.3f}–{row[c].high:.3f})" if c != "passes" else f"{row[c].value:.0f}" for c in HEAD]
        cells += [f"{costs[name]:.1f}" if name in costs else "–"] if costs else []
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(figure: Figure) -> str:
    """A difference with its interval."""
    return f"{figure.value:+.3f} ({figure.low:+.3f} … {figure.high:+.3f})"


def differences(records: Mapping[str, Sequence[Record]], pairs: Sequence[tuple[str, str]], rendered: torch.Tensor) -> str:
    """Markdown of paired differences a − b with 95% intervals; bold where the interval excludes 0."""
    lines = ruled("a − b", [HEAD[c] for c in MEASURED])
    for a, b in pairs:
        cells = []
        for column in MEASURED:
            figure = difference(records[a], records[b], column, rendered)
            cells.append(f"**{shown(figure)}**" if figure.excludes_zero else shown(figure))
        lines.append(f"| {a} − {b} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(records: Mapping[str, list[Record]], rendered: torch.Tensor) -> dict[str, dict[str, Figure]]:
    """Figures of all rows, on the pictures that all have."""
    return {name: figures(rows, rendered) for name, rows in aligned(dict(records)).items()}


def frontier(rows: Mapping[str, Mapping[str, Figure]], path: Path) -> None:
    """Composition (up is better) against distance (left is better); a dot's area is its forward passes."""
    width, height, pad = 1100, 760, 90
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(16)
    xs = [row["distance"].value for row in rows.values()]
    ys = [row["in_box"].value for row in rows.values()]
    x_top, y_top = max(xs) * 1.1, min(1.0, max(ys) * 1.15)

    def place(x: float, y: float) -> tuple[float, float]:
        return pad + (width - 2 * pad) * x / x_top, height - pad - (height - 2 * pad) * y / y_top

    draw.line([place(0, y_top), place(0, 0), place(x_top, 0)], fill="#444", width=2)
    for tick in range(6):
        x, y = x_top * tick / 5, y_top * tick / 5
        draw.text((place(x, 0)[0], place(x, 0)[1] + 8), f"{x:.2f}", fill="#444", font=font, anchor="ma")
        draw.text((place(0, y)[0] - 8, place(0, y)[1]), f"{y:.2f}", fill="#444", font=font, anchor="rm")
    draw.text((width / 2, height - 30), "distance to the rendered 3D look (less is better)", fill="#222", font=font, anchor="mm")
    title = "objects in their box, named and attributed right (more is better); area = forward passes"
    draw.text((pad, pad / 2), title, fill="#222", font=font)
    for index, (name, row) in enumerate(rows.items()):
        x, y = place(row["distance"].value, row["in_box"].value)
        r = 0.9 * row["passes"].value ** 0.5
        hue = f"hsl({int(360 * index / len(rows))},65%,45%)"
        draw.ellipse([x - r, y - r, x + r, y + r], outline=hue, width=3)
        draw.text((x + r + 4, y), name, fill=hue, font=font, anchor="lm")
    image.save(path)
