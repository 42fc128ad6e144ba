"""The simulation of docs/scale.md counts what it should: nothing lost when workers die, and each thing that can break a batch breaks it."""

from __future__ import annotations

import json
from dataclasses import replace

from tests import ROOT
from tools.queue_simulation import World, simulate

CALM = World(pictures=2000, workers=20, deaths=0, straggling=0, spread=0, loading=0, driver=0)


def test_a_world_in_which_nothing_happens_is_efficient() -> None:
    found = simulate(CALM)
    assert found["efficiency"] == 1 and found["hours"] * 3600 == 500 and found["died"] == 0


def test_what_happens_costs() -> None:
    whole = simulate(CALM)["efficiency"]
    for change in ({"driver": 0.5}, {"straggling": 0.5}, {"loading": 60.0}, {"deaths": 20.0}):
        found = simulate(replace(CALM, **change))
        assert found["efficiency"] < whole - 0.02, change
    assert simulate(replace(CALM, driver=0.5))["driver busy"] > 0.99, "a picture's seconds, divided by the workers, are half the driver's"
    assert simulate(replace(CALM, deaths=20.0))["died"] > 0


def test_the_page_shows_the_record() -> None:
    rows = [json.loads(line) for line in (ROOT / "docs" / "results" / "queue-simulation.jsonl").read_text().splitlines()]
    page = (ROOT / "docs" / "scale.md").read_text()
    assert rows[1]["efficiency"] >= 0.95 and rows[0]["pictures"] == 1_000_000 and rows[0]["workers"] == 1000
    for row in rows[1:]:
        assert f"| {row['world']} | {100 * row['efficiency']:.1f}% | {row['hours']:.2f} |" in page
