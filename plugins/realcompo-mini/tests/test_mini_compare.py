"""The judge is judged: matching is one to one, attributes count only where they are said, and figures agree with hand-made records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from realcompo_mini.compare.draw import draw_row, read
from realcompo_mini.compare.judge import Wanted, judge, wanted
from realcompo_mini.compare.measure import difference, distance, figures, share
from realcompo_mini.compare.page import as_many, presence, verdicts
from realcompo_mini.compare.report import MEASURED
from realcompo_mini.compare.rows import BACKWARD, BALANCE, BEFORE, CHEAP, CONTROL, DEFAULT, NO_MOVES, PRIOR_ALONE, ROWS, SHORT
from realcompo_mini.compare.tuning import chosen, parse
from realcompo_mini.scorer import Detection
from realcompo_mini.suite import MiniScenes, scenes
from realcompo_mini.suite_options import SceneOptions

from realcompo.evaluation.measure import Figure
from realcompo.interfaces.suite import pack, unpack
from tests import lacking

LEFT, RIGHT = (0.0, 0.2, 0.4, 0.8), (0.6, 0.2, 1.0, 0.8)
RED_CAR, CAR, DOG = (Wanted("car", "red", None, LEFT), Wanted("car", None, None, RIGHT), Wanted("dog", None, None, RIGHT))


def seen(kind: str, box: Any, colour: str | None = None, pattern: str | None = None) -> Detection:
    return Detection(kind, colour, pattern, box, 0.9)


def test_right_things_in_their_boxes() -> None:
    found = [seen("car", LEFT, "red"), seen("dog", RIGHT)]
    assert judge([RED_CAR, DOG], found) == {
        "objects": 2, "in_box": 2, "placed": 2, "told": 1, "attributes": 1, "present": 2, "exact": 1,
    }  # fmt: skip


def test_a_wrong_colour_is_placed_but_not_right() -> None:
    got = judge([RED_CAR, DOG], [seen("car", LEFT, "blue"), seen("dog", RIGHT)])
    assert (got["in_box"], got["placed"], got["attributes"], got["told"], got["present"], got["exact"]) == (1, 2, 0, 1, 1, 1)


def test_a_detection_serves_one_object() -> None:
    two = [CAR, Wanted("car", None, None, (0.55, 0.2, 0.98, 0.8))]
    got = judge(two, [seen("car", RIGHT, "red")])
    assert got["placed"] == got["present"] == 1 and got["exact"] == 0


def test_the_best_matching_counts_not_the_first() -> None:
    both = [CAR, Wanted("car", "red", None, RIGHT)]
    assert judge(both, [seen("car", RIGHT, "red"), seen("car", RIGHT, "blue")])["in_box"] == 2


def test_swapped_places_are_present_and_nowhere_in_box() -> None:
    got = judge([RED_CAR, DOG], [seen("car", RIGHT, "red"), seen("dog", LEFT)])
    assert got["in_box"] == got["placed"] == 0 and got["present"] == 2 and got["exact"] == 1


def test_a_thing_too_many_spoils_the_count() -> None:
    assert judge([DOG], [seen("dog", RIGHT), seen("cat", LEFT)])["exact"] == 0
    assert judge([DOG], [])["present"] == 0


def test_scenes_are_of_two_to_four_objects_and_splits_differ() -> None:
    test, tune = scenes("test", 20), scenes("tune", 20)
    assert {len(s.objects) for s in test} <= {2, 3, 4} and {s.caption for s in test} != {s.caption for s in tune}
    assert all(len(wanted(s)) == len(s.objects) for s in test)
    assert [s.caption for s in scenes("test", 5)] == [s.caption for s in test[:5]]
    assert [s.caption for s in scenes("test", 5, seed=1)] != [s.caption for s in test[:5]]


def record(scene: int, in_box: int, shift: float = 0.0) -> dict[str, Any]:
    g = torch.Generator().manual_seed(scene)
    look = torch.randn(128, generator=g) + shift
    return {"scene": scene, "seed": 0, "objects": 2, "in_box": in_box, "placed": 2, "told": 1, "attributes": 1, "present": 2, "exact": 1,
            "predictions": 30, "probes": 0, "features": pack(look)}  # fmt: skip


def test_figures_of_known_records() -> None:
    good, bad = [record(i, 2) for i in range(200)], [record(i, int(i % 2)) for i in range(200)]
    assert share(good, "in_box") == 1 and share(bad, "in_box") == 0.25
    rendered = torch.stack([torch.from_numpy(unpack(r["features"]).copy()) for r in good])
    gap = difference(good, bad, "in_box", rendered, count=50)
    assert gap.value == pytest.approx(0.75) and gap.excludes_zero and gap.low > 0.6
    nothing = difference(good, good, "in_box", rendered, count=50)
    assert nothing.value == 0 and not nothing.excludes_zero
    assert distance(good, rendered) == pytest.approx(0, abs=1e-3)
    assert distance([record(i, 2, shift=1.0) for i in range(200)], rendered) == pytest.approx(128, rel=0.01)


def test_a_distance_lies_in_its_own_interval() -> None:
    records = [record(i, 2) for i in range(60)]
    rendered = torch.randn(200, 128, generator=torch.Generator().manual_seed(999))
    figure = figures(records, rendered, count=200)["distance"]
    assert figure.low < figure.value < figure.high, "a bootstrap of repeated pictures lies above it"


def rows_of(ours: float, gradient: float, cost: float = 59.0) -> tuple[dict[str, dict[str, Figure]], Any, dict[str, float]]:
    """A made-up table in which the default finds `ours` in box, and gains `gradient` by its moves as the balance does by its gradient; its
    differences; and what a picture costs."""

    def row(in_box: float, distance: float) -> dict[str, Figure]:
        values = dict.fromkeys(MEASURED, in_box) | {"distance": distance}
        return {column: Figure(value, value - 0.01, value + 0.01) for column, value in values.items()}

    rows = {
        "fidelity alone": row(0.1, 0.1),
        "boxes alone": row(0.5, 1.0),
        "mean of both": row(0.55, 0.5),
        "hand-over at 0.5": row(0.6, 0.2),
    }
    rows |= {
        DEFAULT: row(ours, 0.1),
        NO_MOVES: row(ours - gradient, 0.11),
        BEFORE: row(ours + 0.01, 0.09),
        CHEAP: row(ours - 0.02, 0.11),
        SHORT: row(ours - 0.01, 0.12),
        BACKWARD: row(ours - 0.3, 0.3),
    }
    rows |= {BALANCE: row(ours - 0.02, 0.2), PRIOR_ALONE: row(ours - 0.02 - gradient, 0.2), CONTROL: row(ours - 0.3, 0.3)}

    def gap(a: str, b: str, column: str) -> Figure:
        value = rows[a][column].value - rows[b][column].value
        return Figure(value, value - 0.01, value + 0.01)

    return rows, gap, {DEFAULT: cost, CHEAP: cost - 10, SHORT: cost - 20, "hand-over at 0.5": 40.0}


def test_verdicts_say_yes_and_no() -> None:
    assert all(verdict.holds for verdict in verdicts(*rows_of(0.95, 0.1)))
    poor = {verdict.asked: verdict for verdict in verdicts(*rows_of(0.52, 0.0, 61.0))}
    refused = {asked for asked, verdict in poor.items() if not verdict.holds}
    assert {asked.split(":")[0] for asked in refused} == {
        "in box at least 1.15 times the better parent's", "in box better than the mean of both, interval without 0",
        "present better than the mean of both, interval without 0", "exact count better than the mean of both, interval without 0",
        "the gradient adds to the same prior", "the moves add to the same hand-over",
        "a cheap form", "at no more than 40 F no row better than ours both in box and in distance",
        "at most 60 F a picture", "in box at least 0.82", "attributes at least 0.93", "exact count at least 0.75",
    }  # fmt: skip


def test_features_survive_packing_and_cut_lines_are_left_out(tmp_path: Path) -> None:
    look = torch.linspace(-3, 3, 128)
    assert np.allclose(unpack(pack(look)), look.numpy(), atol=2e-3)
    file = tmp_path / "r.jsonl"
    file.write_text(json.dumps(record(0, 1)) + "\n" + json.dumps(record(1, 1))[:40])
    assert [r["scene"] for r in read(file)] == [0]


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    with pytest.raises(ValueError, match="no row or form is called 'bxes'"):
        chosen(["bxes"])


def test_a_row_is_read_from_its_settings() -> None:
    row = parse("balance warmup=0.4 inside=0.8,0 rate=-0.1 rule=scale-free boxes=3 steps=30 every=2 divisor=1")
    assert row.options == {"warmup": 0.4, "inside": (0.8, 0), "rate": -0.1, "rule": "scale-free"}
    assert (row.guidance["mini/boxes"], row.guidance["mini/fidelity"], row.steps, row.divisor, row.probe) == (3, 4.0, 30, 1, {"every": 2})
    assert not parse("fidelity fidelity=6").spatial and parse("boxes").options == {"spatial": 1.0}
    with pytest.raises(ValueError, match="'fast' is not setting=value"):
        parse("balance fast")


def test_the_shipped_scorer_sees_nothing_in_nothing_and_states_its_accuracy() -> None:
    from importlib import resources

    from realcompo_mini.scorer import detect, features

    empty = np.full((2, 128, 128, 3), 200, np.uint8)
    assert detect(empty) == [[], []]
    assert features(empty).shape == (2, 96)
    stated = json.loads(resources.files("realcompo_mini").joinpath("weights/scorer/accuracy.json").read_text())
    assert set(stated) == {"3d", "flat", "outline", "cute"} and min(look["found"] for look in stated.values()) > 0.95


def test_other_scenes_are_held_against_as_many_pictures() -> None:
    """A row of the first scenes is cut to the scene numbers and noises that the second has, and rows that it has not are left out."""

    def rows(scenes: int, *names: str) -> dict[str, list[dict[str, Any]]]:
        return {name: [{"scene": i, "seed": seed} for seed in (0, 1) for i in range(scenes)] for name in names}

    second = {"a": rows(2, "a")["a"], "b": [r for r in rows(3, "b")["b"] if r["seed"] == 0]}
    cut = as_many(rows(5, "a", "b", "c"), second)
    assert {name: [(r["scene"], r["seed"]) for r in records] for name, records in cut.items()} == {
        "a": [(0, 0), (1, 0)],
        "b": [(0, 0), (1, 0)],
    }


def test_where_presence_is_lost() -> None:
    two = {"objects": 2, "told": 2, "attributes": 1, "present": 1}
    four = {"objects": 4, "told": 1, "attributes": 1, "present": 4}
    other = {"objects": 3, "told": 0, "attributes": 0, "present": 0}
    table = presence({name: [two, four, other] for name in ("fidelity alone", "boxes alone", BALANCE, DEFAULT)})
    assert f"| {DEFAULT} | {1 / 9:.3f} | 0.500 | 0.000 | 1.000 |" in table.splitlines()


def test_the_suite_is_the_comparisons_scenes() -> None:
    cases = MiniScenes(SceneOptions(split="test", count=5, noises=2, scene_seed=1)).cases()
    assert [case.prompt for case in cases] == 2 * [scene.caption for scene in scenes("test", 5, seed=1)]
    assert [case.seed for case in cases] == [*range(5), *(1_000_003 + n for n in range(5))], "the noises of the records of docs/results"
    assert [case.group for case in cases[:5]] == [case.group for case in cases[5:]]


@pytest.mark.skipif(bool(lacking("fidelity", "boxes")), reason=lacking("fidelity", "boxes"))
def test_a_row_is_drawn_as_its_committed_records_were(tmp_path: Path) -> None:
    """Drawn by `realcompo eval`, judged by the suite's scorers: the first pictures of a row of docs/results, number by number."""
    import dataclasses

    committed = list(read(Path(__file__).parents[3] / "docs" / "results" / "test-0-fidelity-alone.jsonl"))[:2]
    (row,) = chosen(["fidelity alone"])
    draw_row(row, "test", 2, 1, tmp_path / "test-0-fidelity-alone.jsonl")
    ours = list(read(tmp_path / "test-0-fidelity-alone.jsonl"))
    for one, other in zip(ours, committed, strict=True):
        assert np.abs(unpack(one.pop("features")) - unpack(other.pop("features"))).max() < 0.02
        assert one == {"moves": 0, "f": 40.0, **other}, "twenty guided steps are 40 F"
    before = (tmp_path / "test-0-fidelity-alone.jsonl").read_bytes()
    draw_row(dataclasses.replace(row, balancer="core/none"), "test", 2, 1, tmp_path / "test-0-fidelity-alone.jsonl")
    assert (tmp_path / "test-0-fidelity-alone.jsonl").read_bytes() == before, "what is there is not drawn again"


def test_the_suites_distance_is_that_of_the_page() -> None:
    """The moments in the package are those of docs/results/rendered.npy, and the distance to them is the distance to these."""
    from realcompo_mini.suite import MiniDistance

    results = Path(__file__).parents[3] / "docs" / "results"
    rendered = torch.from_numpy(np.load(results / "rendered.npy", allow_pickle=False).astype(np.float32))
    records = list(read(results / "test-0-fidelity-alone.jsonl"))
    assert MiniDistance().whole("distance", records) == pytest.approx(distance(records, rendered), abs=1e-4)
    assert np.isnan(MiniDistance().whole("distance", records[:1]))


def test_the_control_tells_the_next_scenes_boxes_and_asks_for_its_own() -> None:
    """Words, noise and truth stay the scene's; only the places are another's. Without the option they are its own."""
    own, told = (MiniScenes(SceneOptions(split="test", count=3, shuffled=shuffled)).cases() for shuffled in (False, True))
    assert [(one.id, one.prompt, one.seed, one.truth) for one in told] == [(one.id, one.prompt, one.seed, one.truth) for one in own]
    for scene, here, moved in zip(scenes("test", 4)[1:], own, told, strict=True):
        places = [item.box for item in moved.conditions["boxes"].items]
        assert places == [scene.objects[k % len(scene.objects)].box for k in range(len(places))]
        assert places != [item.box for item in here.conditions["boxes"].items]
        assert [item.phrase for item in moved.conditions["boxes"].items] == [item.phrase for item in here.conditions["boxes"].items]
