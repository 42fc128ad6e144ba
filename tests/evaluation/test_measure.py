"""Figures of known records: by hand, and by scipy's bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from realcompo.evaluation.chart import draw_frontier
from realcompo.evaluation.measure import Figure, difference, figure, frontier, resamples, share, sums
from realcompo.specs import Column

SHARE = Column(name="hit", title="hit", top="hit", bottom="asked")
MEAN = Column(name="x", title="x", top="x")
WHOLE = Column(name="w", title="w", whole=True)


def unused(*_: object) -> float:
    raise AssertionError("it is no figure of all pictures")


def test_shares_are_sums_over_sums() -> None:
    records = [{"hit": 1, "asked": 3}, {"hit": 1, "asked": 1}, {}, {"hit": None, "asked": 5}, {"hit": True, "asked": 1}]
    assert share(*sums(records, SHARE)) == pytest.approx(3 / 5), "a record without the number counts for nothing"
    assert math.isnan(share(*sums([{}], SHARE)))
    assert share(*sums([{"x": 2.0}, {"x": 4.0}, {"y": 1}], MEAN)) == 3


def test_scenes_are_drawn_whole() -> None:
    picks = resamples(["a", "a", "b", "c", "c", "c"], 50)
    for pick in picks:
        counts = np.bincount(pick, minlength=6)
        assert counts[0] == counts[1] and counts[3] == counts[4] == counts[5]
        assert counts[0] + counts[2] + counts[3] == 3, "as many scenes as there are"
    assert all(np.array_equal(a, b) for a, b in zip(picks, resamples(["a", "a", "b", "c", "c", "c"], 50), strict=True))


def test_the_interval_is_scipys() -> None:
    values = np.random.default_rng(0).normal(3, 2, 200)
    ours = figure([{"x": float(x)} for x in values], MEAN, resamples(range(200), 4000), unused)
    theirs = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 5, 100)
    a, b = ([{"x": float(x)} for x in base + rng.normal(shift, 0.1, 100)] for shift in (1.0, 0.0))
    picks = resamples(range(100))
    gap = difference(a, b, MEAN, picks, unused)
    assert gap.value == pytest.approx(1, abs=0.05) and gap.excludes_zero and gap.high - gap.low < 0.1
    alone = figure(a, MEAN, picks, unused)
    assert alone.high - alone.low > 1
    nothing = difference(a, a, MEAN, picks, unused)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0) and not nothing.excludes_zero


def test_a_figure_of_all_pictures_lies_in_its_own_interval() -> None:
    records = [{"x": float(x)} for x in np.random.default_rng(0).normal(0, 1, 40)]

    def whole(column: str, some: object) -> float:
        return float(np.var([record["x"] for record in some]))  # type: ignore[attr-defined]

    found = figure(records, WHOLE, resamples(range(40)), whole)
    assert found.low < found.value < found.high
    gap = difference(records, [{"x": 2 * r["x"]} for r in records], WHOLE, resamples(range(40)), whole)
    assert gap.value == pytest.approx(-3 * found.value) and gap.high < 0


def test_the_frontier_is_what_nobody_beats() -> None:
    points = {
        "dear": (100.0, 0.8),
        "cheap": (40.0, 0.7),
        "worse": (50.0, 0.6),
        "equal": (40.0, 0.7),
        "best": (60.0, 0.9),
        "none": (1.0, math.nan),
    }
    assert frontier(points) == ["cheap", "best"]


def test_the_chart_shows_each_recipe(tmp_path: object) -> None:
    from pathlib import Path

    from PIL import Image

    path = Path(str(tmp_path)) / "frontier.png"
    rows = {"a": (40.0, Figure(0.5, 0.4, 0.6)), "b": (60.0, Figure(0.7, 0.6, 0.8))}
    draw_frontier(SHARE, rows, path)
    first = path.read_bytes()
    draw_frontier(SHARE, rows, path)
    assert path.read_bytes() == first
    draw_frontier(SHARE, {**rows, "c": (50.0, Figure(0.65, 0.6, 0.7))}, path)
    assert path.read_bytes() != first
    with Image.open(path) as image:
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 3
