"""For all tests: one thread a process (tensors here are tiny, and two threads that wait for each other cost more than they compute),
small checkpoints that are written once a session, and a canary: a key of an account that nothing may write anywhere.

The canary is in the environment of every test. What the session writes lies below one folder (pytest's own, also for `tempfile` and
for caches), and tests/house/test_canary.py, which runs last, searches it, and all that the tests printed, logged or reported.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import pytest
import torch

from realcompo.testing.sources import small_checkpoint

torch.set_num_threads(1)

CANARY = "sk-canary-5c1f9be0d7a84e62"
TOLD = pytest.StashKey[list[tuple[str, str]]]()
"""(test, what it printed, logged or failed with), where the canary stands in it."""


def pytest_configure(config: pytest.Config) -> None:
    """The key, for this process and its children. No user file and no server of the developer's own."""
    os.environ["OPENAI_API_KEY"] = CANARY
    for name in ("OPENAI_BASE_URL", "REALCOMPO_CONFIG"):
        os.environ.pop(name, None)
    config.stash[TOLD] = []


@pytest.fixture(scope="session", autouse=True)
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder below which the session writes."""
    base = tmp_path_factory.getbasetemp()
    for name, folder in {"TMPDIR": "tempfile", "XDG_CACHE_HOME": "caches", "XDG_CONFIG_HOME": "settings", "XDG_DATA_HOME": "data"}.items():
        (base / folder).mkdir(exist_ok=True)
        os.environ[name] = str(base / folder)
    tempfile.tempdir = None  # look at TMPDIR again
    (base / "started").touch()
    return base


@pytest.fixture
def overheard(request: pytest.FixtureRequest) -> list[tuple[str, str]]:
    """What tests printed, logged or reported so far that holds the canary."""
    return request.config.stash[TOLD]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The search for the canary is the last test."""
    items.sort(key=lambda item: item.path.name == "test_canary.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Look at what each test printed and logged, and at its traceback if it failed."""
    report = yield
    for text in (*(text for _, text in report.sections), report.longreprtext):
        if CANARY in text:
            item.config.stash[TOLD].append((item.nodeid, text))
    return report


@pytest.fixture(scope="session")
def checkpoint() -> Callable[[str], Path]:
    """Family → the folder of its small random checkpoint; read only."""
    return lambda family: Path(small_checkpoint(family))  # type: ignore[arg-type]
