"""The command line as the tests call it."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

import realcompo.registry
from realcompo.draw import kept
from tests.cli.toycli import Cli, mini


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cli]:
    """Run a command in an empty folder, with toys and a default family installed, and no user file."""
    points = [EntryPoint("toy", "realcompo.testing.toys", "realcompo"), EntryPoint("mini", "cli_test_mini", "realcompo")]
    monkeypatch.setitem(sys.modules, "cli_test_mini", mini())
    points.append(EntryPoint("broken", "no_such_module", "realcompo"))
    others = importlib.metadata.entry_points
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **what: points if what == {"group": "realcompo"} else others(**what))
    realcompo.registry.installed.cache_clear()
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.delenv("REALCOMPO_DEBUG", raising=False)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    from realcompo.cli import app

    yield lambda *words, **more: CliRunner().invoke(app, [str(word) for word in words], **more)
    realcompo.registry.installed.cache_clear()
    kept._kept = None
