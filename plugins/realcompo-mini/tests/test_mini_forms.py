"""The rows of the cheaper forms are what their names say, and the page shows what the committed records hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from realcompo_mini.compare.draw import read
from realcompo_mini.compare.forms import FORMS, MARKS, STEPS, paired, path_of, table
from realcompo_mini.compare.measure import aligned, share
from realcompo_mini.compare.tuning import parse

from realcompo.files import made_between

ROOT = Path(__file__).parents[3]
RECORDS = ROOT / "docs" / "results" / "forms"
GROUPS = {**STEPS, **FORMS}


def test_a_row_says_which_form_it_is() -> None:
    """Words of the run, of a branch and of the balancer reach their places; the composer takes them."""
    row = parse("guided lagged=true every=2 interval=0.3,5 deep=2 scheduler=unipc steps=8")
    assert row.options == {"lagged": "true", "every": 2} and row.probe == {} and row.deep == 2 and row.steps == 8
    assert row.run == {"scheduler": "unipc", "guidance": {"interval": (0.3, 5)}}
    made = row.composer()
    assert made.balancer.options.lagged and made.balancer.options.every == 2 and made.guidance.interval == (0.3, 5.0)
    assert {m.entry.options["deep_every"] for m in made.members} == {2} and made.scheduler == "unipc"
    row = parse("balance rate=0.4 probe=lagged unconditional=shared every=3")
    assert row.probe == {"every": 3, "lagged": True} and row.run == {"guidance": {"unconditional": "shared"}}
    assert row.composer().guidance.unconditional == "shared"
    other = parse("guided other=layguide/sd deep=2").composer().members[1]
    assert other.name == "layguide/sd" and other.entry.options["base_options"] == {"deep_every": 2}


def test_rows_keep_apart() -> None:
    names = [name for rows in GROUPS.values() for name in rows]
    assert len({path_of(Path(), name) for name in names}) == len(set(names))
    assert all(list(read(path_of(RECORDS, name))) for name in names if path_of(RECORDS, name).exists()), "no row is empty"


def test_the_page_shows_the_records() -> None:
    """Made by the command, from records of whole rows; a figure that is typed by hand would differ."""
    page = (ROOT / "docs" / "algorithm.md").read_text("utf-8")
    made = table(RECORDS, GROUPS)
    assert made_between(page, *MARKS, made) == page and made_between(page, *MARKS, "other") != page
    drawn = {name: list(read(path_of(RECORDS, name))) for rows in GROUPS.values() for name in rows}
    assert {len(records) for records in drawn.values()} <= {0, 24} and made.count("\n") > 8


@pytest.mark.parametrize("group", ["core/guided", "20"])
def test_the_controls_are_worse_and_no_form_breaks(group: str) -> None:
    """Of the committed records: moves up the slope lose half of the things in their boxes, a cheaper form a tenth at most."""
    records = aligned({name: list(read(path_of(RECORDS, name))) for name in GROUPS[group]})
    exact = next(iter(records.values()))
    for name, found in records.items():
        kept = share(found, "in_box") / share(exact, "in_box")
        if "length=-" in name:
            assert kept < 0.5 and paired(found, exact)[0] == "-"
        elif "moves=0" not in name:
            assert kept > 0.9, name
