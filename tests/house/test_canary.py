"""The canary of tests/canary.py finds what it should: in every form, in every worker's folder and in all that is said; and each breakage
of its search fails. Whether the key stands anywhere is asked when all tests have ended."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT, canary

PLUGIN = f"import sys; sys.path.insert(0, {str(ROOT)!r})\npytest_plugins = ['tests.canary']\n"


def test_a_planted_copy_is_overheard() -> None:
    """For the search to find."""
    assert os.environ["OPENAI_API_KEY"] == canary.KEY
    logging.getLogger("planted").warning("the key is %s", canary.KEY)


def test_the_sources_that_make_it_are_named() -> None:
    assert all(canary.KEY in path.read_text(encoding="utf-8") for path in canary.HOLDERS)


# -- the search itself -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> Iterator[canary.State]:
    """A session's folder with those of two workers, each with its copy."""
    base = tmp_path / "base"
    for worker in ("gw0", "gw1"):
        (base / worker / "caches").mkdir(parents=True)
    (base / "caches").mkdir()
    found = canary.State()
    found.start(base)
    for worker in ("gw0", "gw1"):
        found.workers.append(base / worker / "caches" / f"{canary.PLANTED}-by-worker")
        found.workers[-1].write_text(canary.KEY)
    found.hear(f"tests/x.py::{canary.SPOKEN} (call)", f"the key is {canary.KEY}")
    found.spoken = True
    yield found
    shutil.rmtree(base)  # or the search of the whole suite finds it


def look(state: canary.State) -> list[str]:
    return canary.search(state, places=())


def test_nothing_is_wrong_where_only_what_was_planted_is_found(state: canary.State) -> None:
    assert look(state) == []
    assert [path for path in state.base.rglob("*") if path.is_file()] == [state.started, *state.workers], "its own copies are gone"


@pytest.mark.parametrize("place", ["leak", "gw1/leak", "gw1/deep/er/leak.png"])
def test_a_leak_is_told_wherever_it_lies(state: canary.State, place: str) -> None:
    (state.base / place).parent.mkdir(parents=True, exist_ok=True)
    (state.base / place).write_text(f"x{canary.KEY}")
    assert look(state) == [f"the key was written to {state.base / place}"]


def test_a_leak_in_the_checkout_is_told(state: canary.State, tmp_path: Path) -> None:
    old, new = tmp_path / "checkout" / "old", tmp_path / "checkout" / "new"
    old.parent.mkdir()
    old.write_text(canary.KEY)
    os.utime(old, (1, 1))  # written before the session started: not this session's
    new.write_text(canary.KEY)
    try:
        assert canary.search(state, places=(tmp_path / "checkout",)) == [f"the key was written to {new}"]
    finally:
        shutil.rmtree(old.parent)


def test_what_is_said_is_told(state: canary.State) -> None:
    state.hear("tests/y.py::test_z (teardown)", "fine", f"the key {canary.KEY}")
    assert look(state) == ["the key was said by tests/y.py::test_z (teardown)"]


def no_inside(*_: Any) -> Iterator[bytes]:
    return iter(())


BREAKAGES: dict[str, tuple[str, Any, int]] = {
    "no file is read": ("holds", lambda *_: False, 7),
    "no folder is walked": ("files", lambda *_: iter(()), 7),
    "nothing compressed is opened": ("_inside", no_inside, 3),
    "sparse files are not read": ("_written", lambda path: b"" if path.stat().st_size > 1 << 29 else path.read_bytes(), 1),
    "a worker's folder is left out": ("OTHERS", {"gw1"}, 1),
    "the session's own folder is left out": ("OTHERS", {"caches"}, 7),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_breakage_of_the_search_fails(breakage: str, state: canary.State, monkeypatch: pytest.MonkeyPatch) -> None:
    name, instead, lost = BREAKAGES[breakage]
    monkeypatch.setattr(canary, name, instead)
    assert [line.startswith("the search did not find the planted copy") for line in look(state)] == [True] * lost


def test_deaf_ears_fail(state: canary.State) -> None:
    state.heard.clear()
    assert look(state) == [f"what {canary.SPOKEN} logged was not heard"]


# -- in sessions of pytest -----------------------------------------------------------------------------------------------------------

CLEAN = f"import logging, os\ndef test_fine():\n    pass\ndef {canary.SPOKEN}():\n    logging.warning(os.environ['OPENAI_API_KEY'])\n"
LEAKS = {
    "a file": ("def test_leak(tmp_path):\n    (tmp_path / 'x').write_text(os.environ['OPENAI_API_KEY'])\n", "the key was written to"),
    "standard output": (
        "def test_leak():\n    print(os.environ['OPENAI_API_KEY'])\n",
        "the key was said by test_inner.py::test_leak (call)",
    ),
    "a warning": ("import warnings\ndef test_leak():\n    warnings.warn(os.environ['OPENAI_API_KEY'])\n", "test_leak (warned)"),
}
BROKEN = {
    "ears": ("canary.State.hear = lambda *_: None", f"what {canary.SPOKEN} logged was not heard"),
    "walk": ("canary.OTHERS.add('popen-gw1')", "did not find the planted copy"),
}


def session(folder: Path, source: str, broken: str = "", workers: int = 2, base: bool = True) -> tuple[int, str]:
    """Exit code and output of a suite of one file with the plugin. What it wrote is removed."""
    folder.mkdir()
    (folder / "conftest.py").write_text(f"{PLUGIN}from tests import canary\n{broken}\n")
    (folder / "test_inner.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    words = ["-q", "-p", "xdist", "-p", "no:cacheprovider", "-n", str(workers), str(folder)]
    words += ["--basetemp", str(folder / "base")] if base else []
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "OPENAI"))}
    command = [sys.executable, "-B", "-m", "pytest", "-c", str(folder / "pytest.ini"), *words]
    environment = {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_DEBUG_TEMPROOT": str(folder)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    finally:
        shutil.rmtree(folder)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_a_clean_session_passes(tmp_path: Path, workers: int) -> None:
    """The control of the next two."""
    code, said = session(tmp_path / "inner", CLEAN, workers=workers)
    assert code == 0 and "2 passed" in said, said


@pytest.mark.parametrize("workers", [0, 2])
def test_the_folder_is_locked_while_it_is_searched(tmp_path: Path, workers: int) -> None:
    """Without its lock, any other session of pytest that ends may remove it: the last three are kept, and this one may have taken long."""
    locked = (
        "search = canary.search\ndef asked(state):\n    assert (state.base / '.lock').is_file(), 'not locked'\n    return search(state)\n"
    )
    code, said = session(tmp_path / "inner", CLEAN, f"{locked}canary.search = asked", workers, base=False)
    assert code == 0 and "2 passed" in said, said


@pytest.mark.parametrize("leak", LEAKS)
def test_a_session_with_a_leak_fails_though_its_tests_pass(leak: str, tmp_path: Path) -> None:
    source, told = LEAKS[leak]
    code, said = session(tmp_path / "inner", CLEAN + source)
    said = said.replace(canary.KEY, "[key]")
    assert code == 1 and "3 passed" in said and told in said, said


@pytest.mark.parametrize("part", BROKEN)
def test_a_session_whose_search_is_broken_fails(part: str, tmp_path: Path) -> None:
    broken, told = BROKEN[part]
    code, said = session(tmp_path / "inner", CLEAN, broken)
    assert code == 1 and "2 passed" in said and told in said.replace(canary.KEY, "[key]"), said
