"""The toys with a planner whose answers are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plans.rows import Row, module_of_rows
from tests.toyworld import toys_installed


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    with toys_installed("rows", module_of_rows(), monkeypatch, tmp_path) as found:
        Row.batches.clear()
        yield found
