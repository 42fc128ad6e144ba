"""A server with the toy branches for a module's tests; the folder's helpers can be imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from studio_client import Client, serving


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of one server a module. No user file: the runs of tests have none (conftest.py at the root)."""
    with serving(tmp_path_factory.mktemp("studio") / "mine") as one:
        yield one
