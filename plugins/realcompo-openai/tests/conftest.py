"""The canary: a key that is set for all tests here, and that nothing may write anywhere. The folder's helpers can be imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from llm_canary import CANARY


@pytest.fixture(autouse=True)
def canary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Set in every test; no user file, no proxy, no address of the developer's own."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "no-such-file.toml"))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    yield CANARY
