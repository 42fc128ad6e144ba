"""docs/results.md and the frontier, generated from the raw records: no figure is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from realcompo.evaluation.measure import Figure
from realcompo.pictures.scatter import Dot, scatter
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
    dots = [Dot(name, row["distance"].value, row["in_box"].value, radius=0.9 * row["passes"].value ** 0.5) for name, row in rows.items()]
    title = "objects in their box, named and attributed right (more is better); area = forward passes"
    scatter(dots, title, "distance to the rendered 3D look (less is better)").save(path)
