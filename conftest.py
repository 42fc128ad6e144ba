"""For all tests: one thread a process (tensors here are tiny, and two threads that wait for each other cost more than they compute),
nothing of the developer's own (home, settings, servers, terminal, network), small checkpoints that are written once a run, and a canary
(tests/canary.py): a key of an account that nothing may write anywhere.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings

from realcompo.testing.sources import share_checkpoints, small_checkpoint
from tests import refused_address

torch.set_num_threads(1)
gc.disable()  # until all is imported and collected: see `pytest_runtestloop`
pytest_plugins = ["tests.canary"]

OWN = {
    *("REALCOMPO_CONFIG", "REALCOMPO_DEBUG", "REALCOMPO_DOWNLOAD", "OPENAI_BASE_URL"),
    *("COLUMNS", "LINES", "TERMINAL_WIDTH", "FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "PY_COLORS"),
}
"""What a developer may have set, and no test may see."""

MOST_WORKERS = 8
"""Each holds torch, diffusers and transformers: about 1 GB."""

# No clock: neither a deadline nor "too slow" may fail a property on a busy machine. `ci` draws the same examples every time, so that what
# fails was changed; `deep` (make test-deep) draws others every time, twenty times as many, and prints what draws a failure again.
NO_CLOCK: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, **NO_CLOCK)
settings.register_profile("deep", max_examples=2000, print_blob=True, **NO_CLOCK)
settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    """No user file, no server, no terminal of the developer's own; no way out of this machine."""
    for name in list(os.environ):
        if name in OWN or name.startswith("HF_"):
            del os.environ[name]
    sys.addaudithook(stay_here)


def stay_here(event: str, args: tuple[Any, ...]) -> None:
    """Refuse connections and questions for names that lead elsewhere, as a machine without a network does."""
    if event in ("socket.connect", "socket.getaddrinfo"):
        address = args[1] if event == "socket.connect" else args[0]
        if refused_address(address):
            raise OSError(f"no test may reach {address}")


def pytest_xdist_auto_num_workers() -> int:
    """Of ``-n auto``: the cores that this process may use (hyperthreads count), up to a maximum."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With the profile `deep` every property is a deep test."""
    if settings.get_current_profile_name() == "deep":
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker("deep")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """What is imported and collected by now (torch, diffusers, transformers, thousands of tests) lives to the end. The garbage collector
    looks at what comes after it, and less often: walking all of it again and again, it took a sixth of the run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers of a run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    share_checkpoints(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint() -> Callable[[str], Path]:
    """Family → the folder of its small random checkpoint; read only."""
    return lambda family: Path(small_checkpoint(family))  # type: ignore[arg-type]
