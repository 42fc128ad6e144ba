"""docs/bench.md shows what the records in docs/bench hold: every figure is taken from them, and none of them breaks a promise."""

from __future__ import annotations

import json
from pathlib import Path

from realcompo.bench.limits import Limits, Verdict
from realcompo.bench.measuring import measure
from realcompo.bench.pairing import spread
from realcompo.bench.report import record, text
from realcompo.bench.subjects import Subject
from tests import ROOT
from tools.bench_page import END, START, drawn_into, records

PAGE, FOLDER = ROOT / "docs" / "bench.md", ROOT / "docs" / "bench"


def test_the_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert START in page and END in page
    assert drawn_into(page, FOLDER) == page, "docs/bench.md is stale: make reference"


def test_no_committed_record_breaks_a_promise() -> None:
    for name, told in records(FOLDER).items():
        assert told["tool"] == "realcompo bench" and told["limits"], name
        assert [one["name"] for one in told["limits"] if one["state"] == "not met"] == [], name
        assert not told["subject"]["small"], f"{name}: small networks show nothing of real ones' cost"


def test_figures_come_from_the_record(pair: Subject, tmp_path: Path) -> None:
    """And change with it."""
    limits = Limits(pair)
    limits.default = measure(pair, 1, memory=False, warmed=False)
    verdicts = [
        Verdict("alone", "a step of ours", 1.02, 1.0125, unit="×", spread=spread([0.9, 1.0125, 1.1])),
        Verdict("lagged", "lagged", 1.35),
    ]
    told = record([limits.default], limits=limits, verdicts=verdicts)
    (tmp_path / "one.json").write_text(text(told), encoding="utf-8")
    page = drawn_into(f"before\n{START}{END}after\n", tmp_path)
    assert page.startswith("before\n") and page.endswith("after\n")
    assert "| a step of ours | ≤ 1.02 × | 1.01 × (0.90 to 1.10, 75%) | met |" in page and "| not measured |" in page
    assert f"{told['measured'][0]['sampling_f']:.1f} F of sampling" in page and "small networks" in page
    for part in told["measured"][0]["parts"]:
        assert f"| {part} |" in page
    told["limits"][0]["found"] = 1.5
    (tmp_path / "one.json").write_text(json.dumps(told), encoding="utf-8")
    assert "1.50 ×" in drawn_into(page, tmp_path), "drawn anew over what stood there"
