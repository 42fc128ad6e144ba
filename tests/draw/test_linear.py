"""Planning, the manifest and writing cost a picture as much in a long batch as in a short one: counted, not timed."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from realcompo.draw.many.manifest import Manifest
from tests import ROOT
from tools import linear

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.scandir", "os.listdir", "os.truncate"}
_heard: Counter[str] | None = None


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if _heard is not None and event in EVENTS:
        _heard[event] += 1


sys.addaudithook(_hear)  # a hook stays: one for all tests of this file


def counted(pictures: int, folder: Path) -> Counter[str]:
    """Calls of Python and of C, events of the file system, and bytes handed to files, of drawing a batch and asking for it again."""
    global _heard
    found: Counter[str] = Counter()

    def called(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            found[event] += 1

    _heard = found
    sys.setprofile(called)
    try:
        linear.drawn(pictures, folder)
        linear.drawn(pictures, folder)
    finally:
        sys.setprofile(None)
        _heard = None
    found["bytes"] = sum(path.stat().st_size for path in folder.iterdir())
    return found


def grows(one: Counter[str], two: Counter[str], four: Counter[str], share: float = 0.01) -> dict[str, float]:
    """What a picture costs more of in the second doubling than in the first (or less), as a factor: of n, 2n and 4n pictures."""
    factors = {what: (four[what] - two[what]) / 2 / max(two[what] - one[what], 1) for what in four if four[what] > 100}
    return {what: round(factor, 3) for what, factor in factors.items() if abs(factor - 1) > share}


def of_three(pictures: int, folder: Path) -> tuple[Counter[str], Counter[str], Counter[str]]:
    linear.drawn(linear.TOGETHER, folder / "warm")
    one, two, four = (counted(pictures * times, folder / str(times)) for times in (1, 2, 4))
    return one, two, four


def reads_all(self: Manifest, line: Any, add: Any = Manifest.add) -> None:
    """The control: a manifest that reads all of its lines for each."""
    for name in self._states:
        self.get(name)
    add(self, line)


def test_a_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # a disk's time is not counted
    monkeypatch.setattr(linear, "TOGETHER", 12)
    found = of_three(linear.TOGETHER, tmp_path / "good")
    assert grows(*found, share=0.02) == {} and found[2]["open"] > 4 * linear.TOGETHER, "each picture's file and line is an opening at least"
    monkeypatch.setattr(Manifest, "add", reads_all)
    assert "c_call" in grows(*of_three(linear.TOGETHER, tmp_path / "bad"), share=0.02)


@pytest.mark.deep
def test_four_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    assert grows(*of_three(1000, tmp_path)) == {}


def test_the_page_shows_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure is the record's, the record goes to 100,000, and each size cost a picture about the same user CPU time as the others."""
    monkeypatch.chdir(ROOT)
    rows = linear.read()
    assert [row["pictures"] for row in rows] == list(linear.COUNTS) and linear.COUNTS[-1] == 100_000
    assert linear.FIGURE.read_text("utf-8") == linear.figure(rows)
    assert linear.FIGURE.name in (ROOT / "docs" / "scale.md").read_text("utf-8")
    for row in rows:
        assert row["drawn"]["said"] == f"{row['pictures']} drawn, 0 already there"
        assert row["again"]["said"] == f"0 drawn, {row['pictures']} already there"
    sizes = [(row["manifest_bytes"] + row["picture_bytes"]) / row["pictures"] for row in rows]
    assert max(sizes) < 1.02 * min(sizes), "bytes of a picture"
