"""The figures of docs/gpu.md, from what cards have told: ``python -m tools.gpu.page`` writes them between the page's marks.

A record is the JSON that gpu_check wrote, committed in docs/gpu/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from realcompo.files import made_between

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- figures: made by python -m tools.gpu.page -->", "<!-- end of figures -->"
ASIDE = ("encode", "decode")
"""Parts of a picture's cost that are not sampling."""


def table(head: list[str], rows: Iterator[list[str]]) -> list[str]:
    """Markdown."""
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(row) + " |" for row in rows)]


def done(record: Mapping[str, Any], *keys: str) -> Iterator[Mapping[str, Any]]:
    """Parts that were done and say all of these."""
    return (part for part in record["parts"] if part["status"] == "done" and all(key in part for key in keys))


def drawn(record: Mapping[str, Any]) -> Iterator[list[str]]:
    """A line a draw: what it cost and took."""
    for part in done(record, "draw_s", "cost_f"):
        cost = sum(f for name, f in part["cost_f"].items() if name not in ASIDE)
        steps = ", ".join(f"{phase} {1000 * told['median_s']:.0f}" for phase, told in part["steps"].items())
        memory = part["memory"]["peak_bytes"]
        peak = f"{memory / 1e9:.1f}" if memory else "–"
        yield [part["pair"], part["dtype"], part["what"], f"{cost:.1f}", f"{part['draw_s']:.2f}", steps, peak]


def compared(record: Mapping[str, Any]) -> Iterator[list[str]]:
    """A line a quantity: how far the card is from the CPU in float32, of the quantity's largest number."""
    for part in done(record, "relative_difference"):
        kinds = part["relative_difference"]
        for quantity in next(iter(kinds.values())):
            yield [part["pair"], quantity, *(f"{kinds[kind][quantity]:.1e}" for kind in kinds)]


def section(name: str, record: Mapping[str, Any]) -> list[str]:
    """A card's part of the page."""
    device, versions, summary = record["device"], record["versions"], record["summary"]
    made = f"torch {versions['torch']}, CUDA {versions['cuda']}, diffusers {versions['diffusers']}, {record['seconds']:.0f} s in all"
    ended = f"{summary['done']} parts done, {summary['failed']} failed, {summary['skipped']} skipped (the limit came)"
    head = ["pair", "precision", "way", "F of sampling", "seconds a picture", "a step by phase, ms (median)", "most memory, GB"]
    return [
        f"### {device['name']}",
        "",
        f"{made}; {ended}. The record: `docs/gpu/{name}`.",
        "",
        *table(head, drawn(record)),
        "",
        "How far the card is from the CPU in float32, small networks, as a share of the quantity's largest number:",
        "",
        *table(["pair", "quantity", "float32", "float16", "bfloat16"], compared(record)),
        "",
        "Checks that were not met: " + ("; ".join(summary["wrong"]) or "none") + ".",
        "",
    ]


def figures(folder: Path = DOCS / "gpu") -> str:
    """All cards' sections."""
    lines: list[str] = []
    for path in sorted(folder.glob("*.json")):
        lines += section(path.name, json.loads(path.read_text("utf-8")))
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its figures as the records have them."""
    return made_between(text, BEGIN, END, figures())


if __name__ == "__main__":
    path = DOCS / "gpu.md"
    path.write_text(page(path.read_text("utf-8")), "utf-8")
