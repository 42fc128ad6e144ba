"""How a batch with a manifest is told of: where nobody looks at a terminal, a line a minute; loading is in no rate."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from realcompo.cli import many
from realcompo.cli.many import Bar, lasting
from realcompo.draw.many.tally import Tally


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace(now=1000.0)
    found.monotonic = lambda: found.now
    monkeypatch.setattr(many, "time", found)
    return found


def test_a_log_has_a_line_a_minute(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    """Five minutes of loading, then a picture each ten seconds; the third of four judged pictures failed. Quiet has none."""
    for quiet in (False, True):
        bar, tally = Bar(quiet), Tally("there", 1000, kept=100)
        clock.now += 300
        bar(tally)
        for _ in range(13):
            clock.now += 10
            tally.drawn += 1
            bar(tally)
        tally.failed["a.png"] = "NaN"
        tally.judged = 4
        clock.now += 60
        bar(tally)
        bar.close()
        told = capsys.readouterr().err.splitlines()
        assert told == (
            []
            if quiet
            else [
                "100 of 1000 pictures",
                "106 of 1000 pictures, 6.0 a minute, 2 h 29 min left",
                "112 of 1000 pictures, 6.0 a minute, 2 h 28 min left",
                "114 of 1000 pictures, 4.0 a minute, 3 h 42 min left, 1 failed, 4 judged",
            ]
        )


def test_a_terminal_has_a_bar(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says is looked at: "loading" until the first picture, then the rate since that one, and what failed."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar, tally = Bar(False), Tally("there", 10)
    said = []
    for drawn, failed in ((0, 0), (1, 0), (3, 0), (4, 1)):
        clock.now += 30
        tally.drawn, tally.failed = drawn, {str(n): "NaN" for n in range(failed)}
        bar(tally)
        (task,) = bar._bar.tasks
        said.append((task.completed, task.total, task.fields["told"]))
    bar.close()
    assert said == [(0, 10, "loading"), (1, 10, ""), (3, 10, "4.0 a minute"), (5, 10, "3.0 a minute, 1 failed")]


def test_a_rate_begins_when_every_worker_has_drawn(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    """Two workers end their first pictures in the same moment: that is no rate. The control is one worker's."""
    for workers, told in ((2, "6 of 10 pictures, 4.0 a minute, 1 min left"), (1, "6 of 10 pictures, 5.0 a minute, 1 min left")):
        bar, tally = Bar(False, workers), Tally("there", 10)
        for drawn, wait in ((1, 0), (2, 0), (4, 30), (6, 30)):
            clock.now += wait
            tally.drawn = drawn
            bar(tally)
        assert capsys.readouterr().err.splitlines() == [told]


def test_times_are_told_in_hours_and_minutes() -> None:
    assert [lasting(seconds) for seconds in (1, 89, 3599, 3660, 90000)] == ["1 min", "1 min", "1 h 0 min", "1 h 1 min", "25 h 0 min"]
