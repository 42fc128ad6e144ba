"""A canary for the whole suite: a key of an account that nothing may write anywhere. A pytest plugin; conftest.py loads it.

The key is in the environment of every test. What a session writes lies below one folder: pytest's own, in which every worker of
pytest-xdist has one, also for `tempfile`, caches, settings and the home. When all tests of all workers have ended, the process that started
them searches that folder, the checkout, and all that the tests printed, logged, warned of or failed with. What it finds fails the run,
whatever the tests said.

So that a search that finds nothing shows something, copies are planted for it: each worker leaves one in its folder as it ends, the
searching process leaves one of each form (compressed, in an archive, …), and a test of tests/house/test_canary.py logs one. A copy that is
not found fails the run too.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

KEY = "sk-canary-5c1f9be0d7a84e62"
HOLDERS = {ROOT / "tests/canary.py", ROOT / "plugins/realcompo-openai/tests/llm_canary.py"}
"""The sources that make it."""
SPOKEN = "test_a_planted_copy_is_overheard"
"""The test that logs it, for the search to find."""
OTHERS = {".git", ".venv", "__pycache__"}
FOLDERS = {
    **{"HOME": "home", "TMPDIR": "tempfile", "HF_HOME": "hub"},
    **{"XDG_CACHE_HOME": "caches", "XDG_CONFIG_HOME": "settings", "XDG_DATA_HOME": "data"},
}
PLANTED = "planted-canary"
"""How the names of planted copies begin."""
STATE = pytest.StashKey["State"]()


class State:
    """What a session remembers for its search.

    Attributes:
        base: the folder below which the session writes; set as it starts.
        started: a file that was written then.
        heard: names of tests and of their stages in whose words the key stands.
        spoken: whether the test that logs it has passed.
        workers: copies that workers left.
        wrong: what the search found, or failed to find.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.spoken = False
        self.workers: list[Path] = []
        self.wrong: list[str] = []

    def start(self, base: Path) -> None:
        self.base, self.started = base, base / "started"
        self.started.touch()

    def hear(self, name: str, *texts: str) -> None:
        if any(KEY in text for text in texts):
            self.heard.append(name)


# -- in every process ---------------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """The key, for this process and its children."""
    os.environ["OPENAI_API_KEY"] = KEY
    config.stash[STATE] = State()
    if not is_worker(config):
        config.pluginmanager.register(Ears(config), "canary-ears")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let everything be written below pytest's own folder."""
    base: Path = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    for name, folder in FOLDERS.items():
        (base / folder).mkdir(exist_ok=True)
        os.environ[name] = str(base / folder)
    tempfile.tempdir = None  # look at TMPDIR again
    session.config.stash[STATE].start(base)


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


# -- what is said: reports of all workers pass through the process that started them ----------------------------------------------


class Ears:
    """Hooks of the searching process."""

    def __init__(self, config: pytest.Config) -> None:
        self.state = config.stash[STATE]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.state.hear(f"{report.nodeid} ({report.when})", *(text for _, text in report.sections), report.longreprtext)
        self.state.spoken |= report.nodeid.endswith(f"::{SPOKEN}") and report.when == "call" and report.passed

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.state.hear(f"{report.nodeid} (collected)", *(text for _, text in report.sections), report.longreprtext)

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str) -> None:
        self.state.hear(f"{nodeid} (warned)", str(warning_message.message))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker has ended: where its copy lies. One that crashed left none; its folder is searched as well."""
        place = (getattr(node, "workeroutput", None) or {}).get(PLANTED)
        if place:
            self.state.workers.append(Path(place))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker leaves its copy; the process that started them, which comes last, searches.

    After pytest-xdist has ended its workers, and before pytest gives its folder up, which it then removes if three newer sessions have
    started: of the hooks of one name, those registered last run first.
    """
    config = session.config
    if is_worker(config):
        copy = config.stash[STATE].base / "caches" / f"{PLANTED}-by-worker"
        copy.write_text(KEY)
        config.workeroutput[PLANTED] = str(copy)  # type: ignore[attr-defined]
    elif not config.option.collectonly:
        state = config.stash[STATE]
        state.wrong += search(state)
        if state.wrong and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    wrong = config.stash[STATE].wrong if STATE in config.stash else []
    if wrong:
        terminalreporter.section("canary", red=True)
        for line in wrong:
            terminalreporter.line(line, red=True)


# -- the search ---------------------------------------------------------------------------------------------------------------


def search(state: State, places: Iterable[Path] = (ROOT,)) -> list[str]:
    """What is wrong: where the key stands, and copies that were not found.

    Args:
        places: searched beside the session's folder, for files that were written since it started.
    """
    own = plant(state.base / "caches")
    try:
        since = state.started.stat().st_mtime
        candidates = [*files(state.base), *(path for place in places for path in files(place, since))]
        found = {path for path in candidates if holds(path, KEY)}
    finally:
        for path in own:
            path.unlink()
    planted = {*own, *state.workers}
    wrong = [f"the key was written to {path}" for path in sorted(found - planted - HOLDERS)]
    wrong += [f"the search did not find the planted copy {path}" for path in sorted(planted - found)]
    expected = {name for name in state.heard if f"::{SPOKEN} (" in name}
    wrong += [f"the key was said by {name}" for name in state.heard if name not in expected]
    if state.spoken and not expected:
        wrong.append(f"what {SPOKEN} logged was not heard")
    return wrong


def plant(folder: Path) -> list[Path]:
    """A copy of each form, in a folder."""
    from PIL import Image, PngImagePlugin

    names = ("plain", "squeezed", "archive", "sparse", "picture.png")
    plain, squeezed, archive, sparse, picture = paths = [folder / f"{PLANTED}-{name}" for name in names]
    plain.write_text(f"x{KEY}y")
    squeezed.write_bytes(gzip.compress(KEY.encode()))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inner", KEY * 3)
    with sparse.open("wb") as file:
        file.seek(1 << 30)
        file.write(KEY.encode())
    chunk = PngImagePlugin.PngInfo()
    chunk.add_itxt("realcompo", f"a recipe with {KEY}", zip=True)
    Image.new("RGB", (8, 8)).save(picture, pnginfo=chunk)
    return paths


def files(folder: Path, since: float = 0.0) -> Iterator[Path]:
    """Files below a folder that were written since a time; links are not followed."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - OTHERS)
        for path in (Path(here, name) for name in sorted(names)):
            try:
                if path.is_file() and not path.is_symlink() and path.stat().st_mtime >= since:
                    yield path
            except OSError:  # gone meanwhile, or in a folder whose rights a test took away
                continue


def holds(path: Path, text: str) -> bool:
    """Whether a file holds a text: as it stands, compressed, in an archive, or in a picture's text chunks."""
    wanted = text.encode()
    try:
        data = _written(path)
    except (PermissionError, FileNotFoundError):  # a test took its rights away; another process removed it
        return False
    return wanted in data or any(wanted in inner for inner in _inside(path, data))


def _written(path: Path) -> bytes:
    """What was written to a file, without the holes of a sparse one: checkpoints of full size that hold a header only, gigabytes each."""
    about = path.stat()
    if not hasattr(os, "SEEK_DATA") or about.st_blocks * 512 >= about.st_size:
        return path.read_bytes()
    parts, place = [], 0
    with path.open("rb") as file:
        while place < about.st_size:
            try:
                place = os.lseek(file.fileno(), place, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                break
            end = os.lseek(file.fileno(), place, os.SEEK_HOLE)
            parts.append(os.pread(file.fileno(), end - place, place))
            place = end
    return b"\0".join(parts)


def _inside(path: Path, data: bytes) -> Iterator[bytes]:
    try:
        if data[:2] == b"\x1f\x8b":
            yield gzip.decompress(data)
        elif data[:4] == b"PK\x03\x04" and len(data) < 50_000_000:
            with zipfile.ZipFile(path) as archive:
                # what is stored as it stands was searched as it stands
                yield from (archive.read(one) for one in archive.infolist() if one.compress_type != zipfile.ZIP_STORED)
        elif data[:4] == b"\x89PNG":
            from PIL import Image

            with Image.open(path) as picture:
                picture.load()
                yield repr(picture.info).encode()
    except (OSError, ValueError, SyntaxError, EOFError, zipfile.BadZipFile):  # a test damaged it: it is searched as it stands
        return
