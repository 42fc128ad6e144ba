"""A batch whose workers, driver or whole group are killed at random moments ends as one that was left alone: every file to the byte."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from realcompo.draw.many.run import draw_many
from realcompo.draw.many.stores import Folder
from tests.draw.storm_many import PICTURES, recipe

STORM = Path(__file__).with_name("storm_many.py")
pytestmark = [pytest.mark.deep, pytest.mark.skipif(not Path("/proc").is_dir(), reason="it looks for processes in /proc")]


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in Folder(folder).sizes() if name != ".lock"}


def done(folder: Path) -> int:
    """Pictures that the manifest says are done."""
    path = folder / "manifest.jsonl"
    return path.read_bytes().count(b'"state": "done"') if path.exists() else 0


def children(process: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def descendants(process: int) -> list[int]:
    found = children(process)
    return found + [one for child in found for one in descendants(child)]


def is_worker(process: int) -> bool:
    """Whether it draws: a child of the mother of weights."""
    try:
        return b"many.mother" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def start(folder: Path, format: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen([sys.executable, str(STORM), str(folder), format], start_new_session=True, env=environment)


def until(process: subprocess.Popen[bytes], folder: Path, count: int) -> bool:
    """Whether the batch came so far before it ended."""
    while done(folder) < count:
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    return True


@pytest.mark.parametrize(("format", "seed"), [("png", 1), ("webdataset", 2)])
def test_thirty_kills(tmp_path: Path, format: Any, seed: int) -> None:
    """Five drivers or groups and ten workers in each of two formats. The control is the count: a batch that was not hit so often fails."""
    storm(tmp_path, format, seed, kills=15, starts=5)


def storm(tmp_path: Path, format: Any, seed: int, kills: int, starts: int) -> None:
    """Kill so often, in `starts` of it the driver or everything."""
    draw_many(recipe(), tmp_path / "whole", registry="realcompo.testing:toy_registry", format=format, shard_size=32)
    draw, folder = random.Random(seed), tmp_path / "killed"
    moments = sorted(draw.sample(range(1, PICTURES - 20), kills))
    whole = set(draw.sample(range(kills), starts))
    process, hits = start(folder, format), 0
    try:
        for number, moment in enumerate(moments):
            assert until(process, folder, moment), f"it ended with {process.poll()} before its {number}th kill"
            family = descendants(process.pid)
            workers = [one for one in family if is_worker(one) and one not in children(process.pid)]
            if number in whole:
                process.kill()
                if draw.random() < 0.5:
                    for one in family:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(one, signal.SIGKILL)
                process.wait()
                process = start(folder, format)
                hits += 1
            elif workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(draw.choice(workers), signal.SIGKILL)
                    hits += 1
        assert process.wait() == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert hits == kills
    there, should = files(folder), files(tmp_path / "whole")
    assert sorted(there) == sorted(should) and [name for name in should if there[name] != should[name]] == []
    lines = [json.loads(line) for line in should["manifest.jsonl"].decode().splitlines()]
    assert sum(line.get("state") == "done" for line in lines) == PICTURES
