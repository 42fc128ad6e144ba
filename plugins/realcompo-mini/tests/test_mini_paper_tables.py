"""docs/paper-tables.md says what its raw records say: counted here by hand, without the code that wrote the page."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from realcompo_mini.compare.gradients import VERSIONS
from realcompo_mini.compare.paper_tables import KINDS, TABLES, jump
from realcompo_mini.compare.rivals import RIVALS, beside
from realcompo_mini.language import parse
from realcompo_mini.suite import scenes

DOCS = Path(__file__).parents[3] / "docs"
RESULTS = DOCS / "results"


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def cells(section: str, row: str) -> list[str]:
    """The cells of the first line that begins with `row`, of the section of the page whose heading begins with `section`."""
    text = (DOCS / "paper-tables.md").read_text("utf-8")
    part = text[text.index(f"\n## {section}") :]
    line = next(line for line in part.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_holds_every_table_and_its_command() -> None:
    text = (DOCS / "paper-tables.md").read_text("utf-8")
    assert all(f"`--table {name}`" in text for name in TABLES)
    assert "not drawn yet" not in text and "{" + next(iter(TABLES)) + "}" not in text


FILES = {"the paper's balance": "the-paper-s-balance", "RealCompo, the default": "realcompo-the-default"}


@pytest.mark.parametrize("row", FILES)
def test_kinds_of_prompt_are_counted_from_their_scenes(row: str) -> None:
    """Of sentences with a colour word, a pattern word, a relation or a number, by the words themselves."""
    told = records(RESULTS / f"test-0-{FILES[row]}.jsonl")
    captions = [scene.caption for scene in scenes("test", 300)]
    colours, patterns = ("red", "blue", "green", "yellow", "purple"), ("striped", "dotted")
    numbers, relations = ("two", "three", "four"), ("left of", "right of", "above", "below", "next to")
    shown = cells("Table 1", row)
    for place, (words, top) in enumerate(((colours, "present"), (patterns, "present")), start=1):
        of = {n for n, caption in enumerate(captions) if any(word in caption.split() for word in words)}
        part = [r for r in told if r["scene"] in of]
        assert shown[place].startswith(f"{sum(r[top] for r in part) / sum(r['objects'] for r in part):.3f} ")
    several = {n for n, caption in enumerate(captions) if any(word in caption.split() for word in numbers)}
    part = [r for r in told if r["scene"] in several]
    assert shown[4].startswith(f"{sum(r['exact'] for r in part) / len(part):.3f} ")
    related = {n for n, caption in enumerate(captions) if KINDS["spatial"][1](parse(caption))}
    said = {n for n, caption in enumerate(captions) if any(word in caption for word in relations)}
    assert said <= related and all(" on " in captions[n] for n in related - said)


def test_the_layouts_first_steps_are_the_hand_overs() -> None:
    told = records(RESULTS / "test-0-hand-over-at-0.5.jsonl")
    assert cells("Figure 1", "50% of the steps")[1].startswith(f"{sum(r['in_box'] for r in told) / sum(r['objects'] for r in told):.3f} ")


def test_gradients_are_medians_over_the_scenes() -> None:
    """Of each branch at each step, v3's then v4's; fluctuation of a made-up run that halves at each step is ln 2, of a still one 0."""
    found = {version: records(RESULTS / "paper" / f"gradients-{version}.jsonl") for version in ("v3", "v4")}
    assert all(len({r["scene"] for r in rows}) == len(rows) == 100 for rows in found.values()) and set(found) <= set(VERSIONS)
    for step in (2, 10, 19):
        shown = cells("Figure 10", str(step))
        wanted = []
        for rows in found.values():
            at = [(r["latents"][r["steps"].index(step)], r["weights"][r["steps"].index(step)]) for r in rows]
            medians = (
                statistics.median(x[0][0] for x in at),
                statistics.median(x[0][1] for x in at),
                1000 * statistics.median(x[1] for x in at),
            )
            wanted += [f"{value:.4f}" for value in medians]
        assert shown[1:] == wanted
    steps = list(range(2, 10))
    assert math.isclose(jump(steps, [2.0**-n for n in steps]), math.log(2)) and jump(steps, [3.0] * 8) == 0


def test_rivals_and_their_company_are_the_same_pictures() -> None:
    """Each rival's row of docs/results.md by hand, and the others cut to its scenes; expert switching draws what the hand-over at that step
    draws, and fair division what neither the mean nor itself without fairness does."""
    text = (DOCS / "results.md").read_text("utf-8")
    part = text[text.index("\n## Rivals of the literature") :]
    found = {rows[0]["row"]: rows for rows in map(records, sorted((RESULTS / "rivals").glob("*.jsonl")))}
    assert set(found) == set(RIVALS)
    for text_, name in RIVALS.items():
        rows = found[text_]
        assert len(rows) >= 100
        (line,) = [line for line in part.splitlines() if line.startswith(f"| {name} |")]
        in_box = sum(r["in_box"] for r in rows) / sum(r["objects"] for r in rows)
        assert line.split("|")[2].strip().startswith(f"{in_box:.3f} ")
    names = ("hand-over at 0.4", "mean of both")
    everything = {name: records(RESULTS / f"test-0-{name.replace(' ', '-')}.jsonl") for name in names}
    cut = beside(everything, found)
    looks = {name: [r["features"] for r in rows] for name, rows in cut.items()}
    same = [a == b for a, b in zip(looks["switching"], looks["hand-over at 0.4"], strict=True)]
    assert sum(same) > 0.9 * len(same), "one draw and another of the same pictures round alike in nearly all"
    for other in ("mean of both", "division fairness=none"):
        assert not any(a == b for a, b in zip(looks["division"], looks[other], strict=True))
