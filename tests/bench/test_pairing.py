"""Ratios of figures that were taken in turn, and the interval that is told with them."""

from __future__ import annotations

from math import comb

import pytest

from realcompo.bench.pairing import alternate, spread, turns


def test_whoever_comes_first_comes_second_next() -> None:
    """A B B A A B: a drift over time weighs on both alike."""
    assert turns(3) == [("a", "b"), ("b", "a"), ("a", "b")]
    called: list[str] = []
    values = {"a": [2.0, 3.0, 8.0], "b": [1.0, 2.0, 2.0]}

    def side(name: str) -> float:
        called.append(name)
        return values[name].pop(0)

    a, b, ratio = alternate(lambda: side("a"), lambda: side("b"), 3)
    assert called == ["a", "b", "b", "a", "a", "b"]
    assert (a, b) == ([2.0, 3.0, 8.0], [1.0, 2.0, 2.0])
    assert ratio.figures == (2.0, 1.5, 4.0) and ratio.median == 2.0


@pytest.mark.parametrize("n", [1, 2, 5, 6, 9, 20])
def test_the_interval_holds_the_median_as_often_as_it_says(n: int) -> None:
    """Exactly, by all 2ⁿ ways in which figures fall below or above the median of what they are drawn from."""
    found = spread([float(i) for i in range(1, n + 1)])
    below, above = int(found.low) - 1, n - int(found.high)
    assert below == above, "as many figures are cut off at either end"
    inside = sum(comb(n, under) for under in range(below + 1, n - above)) / 2**n
    assert found.confidence == pytest.approx(inside)
    if n >= 6:
        assert found.confidence >= 0.95
        narrower = sum(comb(n, under) for under in range(below + 2, n - above - 1)) / 2**n
        assert narrower < 0.95, "a narrower one would do"
    else:
        assert (found.low, found.high) == (1.0, float(n)), "fewer figures tell no more than their range"


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        spread([])
