"""docs/pairs.md says what its raw records say, counted by hand; the layout models that it is judged on lack what they are to lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from realcompo_mini.compare.pair import Pair
from realcompo_mini.compare.ways import ALONE, BACKWARD, DEFAULT, HAND_OVERS, HELD_AS, LONGER, MEAN, PAIRS, PAPER, file_of, ways_of
from realcompo_mini.compare.ways_report import metric, verdict
from realcompo_mini.train.scenes import sample_scene

from realcompo.evaluation.measure import Figure
from tests import lacking

DOCS = Path(__file__).parents[3] / "docs"
RECORDS = DOCS / "results" / "ways"
PAGE = (DOCS / "pairs.md").read_text("utf-8")
COUNTED = {
    "in box": ("in_box", "objects"),
    "placed": ("placed", "objects"),
    "joint error": ("joint_error", None),
    "mean IoU": ("iou", None),
}


def section(pair: Pair) -> list[list[str]]:
    """The cells of a pair's table, its heading first."""
    (part,) = [part for part in PAGE.split("### ")[1:] if part.startswith(f"{pair.name}\n")]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.slug)
def test_every_row_is_counted_from_its_pictures(pair: Pair) -> None:
    head, *rows = section(pair)
    top, bottom = COUNTED[head[1]]
    named = {way.name: file_of(RECORDS, "test", pair, way) for way in ways_of(pair)}
    rivals = {MEAN.name} if pair.fidelity == "mini/flow" else {MEAN.name, PAPER.name, "hand-over at 0.5"}
    assert {DEFAULT.name, *rivals} <= {row[0] for row in rows}
    for row in rows:
        records = [json.loads(line) for line in named[row[0]].read_text("utf-8").splitlines()]
        assert len({r["scene"] for r in records}) == len(records) == 100
        under = len(records) if bottom is None else sum(r[bottom] for r in records)
        assert row[1].startswith(f"{sum(r[top] for r in records) / under:.3f} ")
        assert row[head.index("look")] == f"{sum(r['look_right'] for r in records) / len(records):.2f}"
        assert row[head.index("F")] == f"{sum(r['f'] for r in records) / len(records):.1f}"


def row_of(value: float, distance: float, f: float = 50.0) -> dict[str, Figure]:
    return {name: Figure(one, one, one) for name, one in (("in_box", value), ("joints", value), ("distance", distance), ("f", f))}


def test_a_verdict_says_who_is_above_the_default_and_whether_the_moves_help() -> None:
    rows = {
        DEFAULT.name: row_of(0.8, 0.2),
        MEAN.name: row_of(0.9, 0.1, 80.0),
        LONGER.name: row_of(0.7, 0.1),
        BACKWARD.name: row_of(0.9, 0.1),
    }
    said = verdict(rows, "in_box")
    assert said.above == (MEAN.name,) and said.cheap == ()
    assert said.moves_help is True and said.control_fails is False
    less = verdict(rows, "joints")  # where less is better the same figures say the opposite
    assert less.above == (LONGER.name,) == less.cheap and less.moves_help is False and less.control_fails is True


def test_where_the_default_makes_no_moves_nothing_is_said_of_them() -> None:
    said = verdict({DEFAULT.name: row_of(0.8, 0.2), MEAN.name: row_of(0.7, 0.1)}, "in_box")
    assert said.moves_help is None and said.control_fails is None


def test_an_outline_is_judged_by_kind_and_place() -> None:
    assert metric(Pair("mini/coloring", "mini/boxes")) == "placed" and metric(Pair("mini/cute", "mini/boxes")) == "in_box"


@pytest.mark.skipif(bool(lacking("fidelity", "pose")), reason="needs trained weights of the checkout")
def test_the_default_holds_poses_as_a_plain_hand_over_does_to_the_pixel() -> None:
    from realcompo_mini.plugin import POSE

    pair, drawn = Pair("mini/fidelity", "mini/pose"), {}
    import realcompo as rc

    told = rc.Keypoints([{"phrase": phrase, "points": points} for phrase, points in POSE["keypoints"].items()])
    for way in (DEFAULT, HELD_AS, HAND_OVERS[0]):
        composer = pair.composer(way.balancer, way.options, num_inference_steps=6)
        drawn[way.name] = np.asarray(composer(POSE["prompt"], told, seed=1).image)
    assert np.array_equal(drawn[DEFAULT.name], drawn[HELD_AS.name])
    assert not np.array_equal(drawn[DEFAULT.name], drawn[HAND_OVERS[0].name])


def test_a_kind_without_a_name_is_drawn_as_any_of_them_and_the_rest_is_as_it_was() -> None:
    unnamed = frozenset({"cat", "dog", "car"})
    scenes = [(sample_scene("boxes", k, unnamed=unnamed), sample_scene("boxes", k)) for k in range(300)]
    assert all(a.caption == b.caption and [o.box for o in a.objects] == [o.box for o in b.objects] for a, b in scenes)
    pairs = [(x.kind, y.kind) for a, b in scenes for x, y in zip(a.objects, b.objects, strict=True)]
    assert {x for x, y in pairs if y in unnamed} == unnamed
    assert all(x == y for x, y in pairs if y not in unnamed)
    assert sum(x != y for x, y in pairs if y in unnamed) > 0.4 * sum(y in unnamed for _, y in pairs)


def alone(branch: str, count: int = 12) -> dict[str, Any]:
    """What a layout model draws by itself of test scenes: shares of right attributes and of right kinds in their boxes."""
    from realcompo_mini.compare.judge import judge, wanted
    from realcompo_mini.scorer import detect
    from realcompo_mini.suite import boxes, scenes

    picked = scenes("test", count)
    composer = Pair("mini/fidelity", branch).composer("core/fixed", {"spatial": 1.0}, num_inference_steps=10)
    images = composer([s.caption for s in picked], [boxes(s.objects) for s in picked], seed=list(range(count))).images
    found = [judge(wanted(scene), one) for scene, one in zip(picked, detect(images), strict=True)]
    total = {key: sum(one[key] for one in found) for key in found[0]}
    return {"attributes": total["attributes"] / max(total["told"], 1), "placed": total["placed"] / total["objects"]}


@pytest.mark.skipif(bool(lacking("fidelity", "boxes", "scorer")), reason="needs trained weights of the checkout")
@pytest.mark.deep
def test_the_layout_models_lack_what_they_are_to_lack() -> None:
    plain, coloured, half = (alone(f"mini/boxes{name}") for name in ("", "-coloured", "-half"))
    assert coloured["attributes"] > 0.8 > 0.5 > plain["attributes"]
    assert plain["placed"] > 0.8 and coloured["placed"] > 0.7
    assert half["placed"] < 0.75 * plain["placed"]


def test_alone_is_drawn_once_for_all_pairs() -> None:
    assert file_of(RECORDS, "test", Pair("mini/cute", "mini/pose"), ALONE) == file_of(
        RECORDS, "test", Pair("mini/cute", "mini/boxes"), ALONE
    )


def test_the_knobs_are_counted_from_their_pictures() -> None:
    """F of a row that says it is its mean over pictures; of one that counts calls, two a step and 1.23 a move."""
    part = PAGE.split("## The knobs")[1].split("## Pair by pair")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| ")][1:]
    files = {records[0]["row"]: records for records in map(lines_of, (RECORDS / "knobs").glob("*.jsonl"))}
    assert {row[0] for row in rows} == set(files)
    for name, pictures, in_box, *_, cost in rows:
        records = files[name]
        assert int(pictures) == len(records) == len({r["scene"] for r in records})
        assert in_box == f"{sum(r['in_box'] for r in records) / sum(r['objects'] for r in records):.3f}"
        told = [r["f"] if "f" in r else 2 * r["predictions"] + 1.23 * r["moves"] for r in records]
        assert cost == f"{sum(told) / len(told):.1f}", name
    assert any("f" in records[0] for records in files.values()), "the control: both kinds are there"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
