"""docs/results.md says what its raw records say: counted here by hand, without the code that wrote the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
COLUMNS = {1: ("in_box", "objects"), 2: ("placed", "objects"), 3: ("attributes", "told"), 4: ("present", "objects"), 5: ("exact", None)}
FILES = sorted((DOCS / "results").glob("test-0-*.jsonl"))


def cells(page: str, row: str) -> list[str]:
    """The cells of the first line of the page that begins with `row`."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_row_is_counted_from_its_pictures(path: Path) -> None:
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    shown = cells((DOCS / "results.md").read_text("utf-8"), records[0]["row"])
    assert len({(r["scene"], r["seed"]) for r in records}) == len(records) == 600
    for column, (top, bottom) in COLUMNS.items():
        over = sum(r[top] for r in records)
        under = len(records) if bottom is None else sum(r[bottom] for r in records)
        assert shown[column].startswith(f"{over / under:.3f} ")
    assert shown[7] == f"{sum(2 * r['predictions'] + r['probes'] for r in records) / len(records):.0f}"


def test_the_claim_has_its_rows() -> None:
    """Nothing that was asked for may be missing from the table: parents, mean, hand-overs, the paper's form, prior alone and control."""
    names = {json.loads(path.read_text("utf-8").splitlines()[0])["row"] for path in FILES}
    wanted = {"fidelity alone", "boxes alone", "mean of both", "the paper's balance", "RealCompo, the default", "hand-over at 0.3"}
    assert wanted | {"the default without its gradient", "control: the default, rate negated"} <= names
