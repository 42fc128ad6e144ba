"""What the literature sets beside a balancer, in one table with the default: rows drawn on fewer scenes, the others cut to them.

``python -m realcompo_mini.compare draw --out docs/results/rivals --split test --scenes 100 --rows switching division …`` makes the
records (`RIVALS` lists the rows); the section is a part of docs/results.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from realcompo_mini.compare.draw import read
from realcompo_mini.compare.measure import Record, aligned
from realcompo_mini.compare.report import differences, summary, table
from realcompo_mini.compare.rows import DEFAULT

RIVALS = {
    "switching": "expert switching at σ = 2",
    "division": "fair division, without its guidance",
    "division fairness=none": "the same, nothing owed to anyone",
    "published": "the published code's rule",
}
"""Settings as tuning.py reads them → the row's name in the table."""
BESIDE = ("fidelity alone", "boxes alone", "mean of both", "hand-over at 0.4", "the paper's balance", DEFAULT)
"""Rows of the first table that stand beside them."""


def records_of(out: Path) -> dict[str, list[Record]]:
    """Row's name → its records, of those that were drawn."""
    found = {}
    for path in sorted(out.glob("test-0-*.jsonl")):
        records = list(read(path))
        if records and records[0]["row"] in RIVALS:
            found[records[0]["row"]] = records
    return {name: found[text] for text, name in RIVALS.items() if text in found}


def beside(test: Mapping[str, list[Record]], rivals: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    """The rows that stand beside the rivals, and these, on the pictures that all have."""
    return aligned({name: test[name] for name in BESIDE if name in test} | dict(rivals))


def section(
    test: Mapping[str, list[Record]], rivals: Mapping[str, list[Record]], rendered: torch.Tensor, costs: Mapping[str, float]
) -> str:
    """Markdown: the table, and each rival against the default, paired."""
    if not rivals:
        return "not drawn yet"
    rows = beside(test, rivals)
    told = {**costs, **{name: costs[text] for text, name in RIVALS.items() if text in costs}}
    gaps = differences(rows, [(DEFAULT, name) for name in rivals], rendered)
    return f"{len(next(iter(rows.values())))} pictures a row.\n\n{table(summary(rows, rendered), told)}\n\n{gaps}"
