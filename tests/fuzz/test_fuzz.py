"""Mutated inputs into everything that reads strangers' data: each is refused with a sentence, or used; nothing else happens.

`make test` feeds a slice of a fixed seed; `make test-deep` feeds 100,000 inputs of a new seed, which is printed. REALCOMPO_FUZZ scales the
count, REALCOMPO_FUZZ_SEED repeats a run. Children feed them, with bounded memory, no terminal and no network (child.py).
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.fuzz.child import Watch
from tests.fuzz.mutations import Mutator, places
from tests.fuzz.targets import SHARES, TARGETS

DEEP = int(os.environ.get("REALCOMPO_FUZZ", "100000"))
"""Inputs of the deep run, all targets together."""
SHORT = {"loras": 2, "floods": 30, "recipe-yaml": 10, "png": 20}
"""Inputs of a target in `make test`; 25 of all others."""
MOST_AT_ONCE = 20_000
"""Inputs of one child: what leaks is given back."""


@dataclass
class Told:
    """What the children of one target said."""

    fed: int = 0
    refused: int = 0
    passed: int = 0
    failures: list[str] = field(default_factory=list)


def run(names: Sequence[str], counts: Sequence[int], seed: str, folder: Path) -> dict[str, Told]:
    """Feed each target so many inputs. A child that dies or hangs is a failure of the input that it was at; the next goes on after it."""
    found = {name: Told() for name in names}
    waiting = [
        [name, first, min(first + MOST_AT_ONCE, count)]
        for name, count in zip(names, counts, strict=True)
        for first in range(0, count, MOST_AT_ONCE)
    ]
    while waiting:
        size = sum(end - first for _, first, end in waiting)
        batch, waiting = (waiting, []) if size <= MOST_AT_ONCE else (waiting[:1], waiting[1:])
        words = [":".join(map(str, one)) for one in batch]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "tests.fuzz.child", str(folder), seed, *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        ended = set()
        for line in done.stdout.splitlines():
            said: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            told = found.get(said.get("target", ""))
            if told is None:
                continue
            if "failure" in said:
                told.failures.append(f"{seed} {said['target']}:{said['index']}: {said['failure']}")
            else:
                ended.add(said["target"])
                told.fed, told.refused, told.passed = told.fed + said["fed"], told.refused + said["refused"], told.passed + said["passed"]
        if done.returncode:
            progress = folder / "progress.txt"
            at = progress.read_text().split(":") if progress.exists() and progress.read_text() else [batch[0][0], "0", "1"]
            name, index = at[0], int(at[1])
            found[name].failures.append(f"{seed} {name}:{index}: the process ended with {done.returncode}: {done.stderr[-1500:]}")
            if len(found[name].failures) < 5:
                left = next(place for place, one in enumerate(batch) if one[0] == name)
                waiting = [[name, index + 1, batch[left][2]], *batch[left + 1 :], *waiting]
                waiting = [one for one in waiting if one[1] < one[2]]
    return found


@pytest.fixture(scope="module")
def slice_(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """All targets' slices, in one child: most of the time is its start."""
    names = list(TARGETS)
    return run(names, [SHORT.get(name, 25) for name in names], "slice", tmp_path_factory.mktemp("fuzz"))


def check(told: Told, count: int) -> None:
    assert not told.failures, (
        f"{len(told.failures)} failures; see one again: python -m tests.fuzz.child FOLDER SEED TARGET:N:N+1\n"
        + "\n".join(told.failures[:20])
    )
    assert told.fed == count and told.refused + told.passed == count


@pytest.mark.parametrize("name", TARGETS)
def test_a_slice_of_mutated_inputs(slice_: dict[str, Told], name: str) -> None:
    """Each ends as a RealCompoError or in use; no file but below the folder, no process, no address, no question."""
    check(slice_[name], SHORT.get(name, 25))


@pytest.mark.deep
@pytest.mark.parametrize("name", TARGETS)
def test_all_mutated_inputs(name: str, tmp_path: Path) -> None:
    count = max(1, round(DEEP * SHARES[name] / 100))
    seed = os.environ.get("REALCOMPO_FUZZ_SEED") or secrets.token_hex(4)
    print(f"{name}: {count} inputs, REALCOMPO_FUZZ_SEED={seed}")
    told = run([name], [count], seed, tmp_path)[name]
    print(f"{name}: {told.refused} refused, {told.passed} used, {len(told.failures)} failures")
    check(told, count)


# -- that it could fail -----------------------------------------------------------------------------------------------------------


def test_all_is_fuzzed() -> None:
    assert set(SHARES) == set(TARGETS) and sum(SHARES.values()) == pytest.approx(100)


def test_a_seed_makes_the_same_input() -> None:
    data = {"a": [1, 2.5, "x", None, {"b": [True]}], "c": "words"}
    made = [[Mutator(f"s/{n}").data(data) for n in range(50)] for _ in range(2)]
    assert repr(made[0]) == repr(made[1]), "a failure could not be seen again"
    assert sum(one != data for one in made[0]) > 40 and data["c"] == "words", "inputs are changed, the sample is not"
    assert len(places([data])) == 10
    assert (
        len({Mutator(f"s/{n}").bytes(bytes(100)) for n in range(50)}) > 40
        and len({Mutator(f"s/{n}").words("a = 1\nb = 2\n") for n in range(50)}) > 40
    )


MISDEEDS = {
    "an exception": "raise KeyError('x')",
    "a file elsewhere": "open(str(folder) + '/../outside.txt', 'w').close()",
    "a process": "import os; os.system('true')",
    "an address": "import socket; socket.getaddrinfo('localhost', 9)",
    "a question": "input()",
    "memory": "bytes(3 << 30)",
    "a pickle": "import pickle; pickle.loads(pickle.dumps(pickle.Unpickler))",
    "an error without a mend": "from realcompo.errors import BadOption; raise BadOption('x')",
}
CHILD = """
import sys, types
from pathlib import Path
import tests.fuzz
from tests.fuzz import child
folder = Path(sys.argv[1])
misdeeds = {misdeeds!r}
class Bad:
    def __init__(self, folder): pass
    def make(self, seed): return int(seed.rpartition("/")[2]) if "/" in seed else 0
    def feed(self, sample):
        if sample % 2 == 1: exec(misdeeds[sample // 2], {{"folder": folder}})
stub = types.ModuleType("tests.fuzz.targets")
stub.TARGETS, stub.Mutator = {{"bad": Bad}}, str
tests.fuzz.targets = sys.modules["tests.fuzz.targets"] = stub
for name in ("diffusers", "diffusers.utils"):  # no misdeed takes it, and importing it takes longer than all of them
    sys.modules[name] = types.ModuleType(name)
raise SystemExit(child.main(sys.argv[1:]))
"""


def misdo(misdeeds: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A child whose every second input is a misdeed, without any target's imports."""
    command = [sys.executable, "-c", CHILD.format(misdeeds=list(misdeeds)), str(folder), "s", f"bad:0:{2 * len(misdeeds)}"]
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def test_each_misdeed_is_noticed(tmp_path: Path) -> None:
    """By its index, and the inputs after it are fed all the same."""
    done = misdo(list(MISDEEDS.values()), tmp_path / "in")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    seen = {list(MISDEEDS)[line["index"] // 2] for line in lines if "failure" in line and line["index"] % 2}
    expected = set(MISDEEDS) if Path("/proc/self/statm").exists() else set(MISDEEDS) - {"memory"}
    assert seen == expected, done.stdout + done.stderr[-2000:]
    assert sum("failure" in line for line in lines) == len(expected) and lines[-1]["fed"] == 2 * len(MISDEEDS)


def test_the_end_of_a_child_is_the_fault_of_its_input(tmp_path: Path) -> None:
    done = misdo(["import os; os._exit(3)"], tmp_path / "in")
    assert done.returncode == 3 and (tmp_path / "in" / "progress.txt").read_text().startswith("bad:1:")


def test_the_watch_knows_its_folder(tmp_path: Path) -> None:
    watch = Watch.__new__(Watch)
    watch.folder = str(tmp_path.resolve())
    (tmp_path / "link").symlink_to(tmp_path.parent)
    assert watch._inside(tmp_path / "a") and watch._inside("/dev/null") and watch._inside(3)
    assert not watch._inside(tmp_path / ".." / "a") and not watch._inside("/etc/x") and not watch._inside(tmp_path / "link" / "a")
