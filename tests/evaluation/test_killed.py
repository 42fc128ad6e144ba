"""An evaluation that is killed at any moment and started again ends as if nothing had been: every file to the byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STORM = Path(__file__).with_name("storm.py")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def storm(home: Path, kills: int, seed: int, scenes: int) -> None:
    done = subprocess.run([sys.executable, str(STORM), str(home), *map(str, (kills, seed, scenes))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole, killed = files(home / "whole"), files(home / "killed")
    assert int(done.stdout) == kills, "it ended before it was killed so often"
    assert sorted(whole) == sorted(killed)
    assert [name for name in whole if whole[name] != killed[name]] == []
    failed = 0
    for name in ("both", "alone"):
        lines = [json.loads(line) for line in whole[f"{name}/drawn.jsonl"].decode().splitlines()]
        assert [line["case"] for line in lines] == [f"{scene}-{noise}" for scene in range(scenes) for noise in range(2)]
        failed += sum("error" in line for line in lines)
    assert failed and "NaN" in whole["both/drawn.jsonl"].decode(), "the poisoned pictures are recorded"
    assert whole["table.md"].decode().count("| alone |") >= 2


def test_killed_once(tmp_path: Path) -> None:
    storm(tmp_path, kills=1, seed=1, scenes=4)


@pytest.mark.deep
@pytest.mark.parametrize("seed", [2, 3])
def test_killed_twenty_times(tmp_path: Path, seed: int) -> None:
    storm(tmp_path, kills=20, seed=seed, scenes=8)
