"""For all tests: one thread a process (tensors here are tiny, and two threads that wait for each other cost more than they compute),
and small checkpoints that are written once a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import pytest
import torch

from realcompo.testing.sources import small_checkpoint

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoint() -> Callable[[str], Path]:
    """Family → the folder of its small random checkpoint; read only."""
    return lambda family: Path(small_checkpoint(family))  # type: ignore[arg-type]
