"""docs/results.md says what its raw records say: counted here by hand, without the code that wrote the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
COLUMNS = {1: ("in_box", "objects"), 2: ("placed", "objects"), 3: ("attributes", "told"), 4: ("present", "objects"), 5: ("exact", None)}
FILES = sorted((DOCS / "results").glob("test-0-*.jsonl"))

PAIR_COLUMNS = {
    2: ("placed", "objects"),
    3: ("present", "objects"),
    4: ("exact", None),
    5: ("look_right", None),
    6: ("joint_error", None),
    7: ("iou", None),
}
PAIR_FILES = sorted((DOCS / "results" / "pairs").glob("pairs-test-*.jsonl"))


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
    assert shown[7] == f"{sum(2 * r['predictions'] + r['probes'] + r.get('moves', 0) for r in records) / len(records):.0f}"
    assert shown[8] == f"{json.loads((DOCS / 'results' / 'costs.json').read_text('utf-8'))[records[0]['row']]:.1f}"


def test_the_claim_has_its_rows() -> None:
    """Nothing that was asked for may be missing from the table: parents, mean, hand-overs, the paper's form, prior alone and control."""
    names = {json.loads(path.read_text("utf-8").splitlines()[0])["row"] for path in FILES}
    wanted = {"fidelity alone", "boxes alone", "mean of both", "the paper's balance", "RealCompo, the default", "hand-over at 0.3"}
    controls = {"its prior alone, no gradient", "control: its rate negated", "control: the default, its moves backwards"}
    assert wanted | controls | {"the balance of ξ, tuned"} <= names


@pytest.mark.parametrize("path", PAIR_FILES, ids=lambda path: path.stem)
def test_every_pair_is_counted_from_its_pictures(path: Path) -> None:
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    _, section = (DOCS / "results.md").read_text("utf-8").split("## Every pair\n")
    shown = cells(section, records[0]["row"])
    assert len({r["scene"] for r in records}) == len(records) == 100 and shown[1] == "100"
    for column, (top, bottom) in PAIR_COLUMNS.items():
        over = sum(r[top] for r in records)
        under = len(records) if bottom is None else sum(r[bottom] for r in records)
        assert shown[column].startswith(f"{over / under:.3f} ")


def test_every_pair_and_every_control_was_drawn() -> None:
    from realcompo_mini.compare.pair import PAIRS

    found = {json.loads(path.read_text("utf-8").splitlines()[0])["row"] for path in PAIR_FILES}
    assert found == {pair.name for pair in PAIRS}


def test_the_pairs_show_what_was_asked_of_them() -> None:
    """The rates asked of the grown family, from the records, each beside its control."""
    rows = {}
    for path in PAIR_FILES:
        records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        rows[records[0]["row"]] = records

    def mean(row: str, column: str) -> float:
        return sum(r[column] for r in rows[row]) / len(rows[row])

    for style in ("coloring", "cute"):
        assert mean(f"{style} × boxes", "look_right") >= 0.9
        assert mean(f"{style} × boxes, another style's words", "look_right") < 0.8 * mean(f"{style} × boxes", "look_right")
    for control in ("fidelity alone", "fidelity × pose, blank hint", "fidelity × pose, another scene's condition"):
        assert mean("fidelity × pose", "joint_error") <= 0.5 * mean(control, "joint_error")
    for control in ("fidelity alone", "fidelity × segmentation, blank hint", "fidelity × segmentation, another scene's condition"):
        assert mean(control, "iou") <= 0.5 * mean("fidelity × segmentation", "iou")
    for pair, control in (("boxes", "another scene's condition"), ("layguide", "loss scale 0")):
        assert mean(f"fidelity × {pair}, {control}", "placed") < 0.8 * mean(f"fidelity × {pair}", "placed")
    attention = [json.loads(line) for line in (DOCS / "results" / "pairs" / "attention-test.jsonl").read_text("utf-8").splitlines()]
    inside = {name: [r["inside"] for r in attention if r["branch"] == name] for name in ("mini/tokencompose", "mini/fidelity")}
    assert len(inside["mini/tokencompose"]) == len(inside["mini/fidelity"]) == 300
    assert sum(inside["mini/tokencompose"]) > 1.25 * sum(inside["mini/fidelity"])
