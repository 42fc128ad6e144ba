"""`realcompo check` passes on the recipe of every set-up of the paper, without weights and without warnings."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from realcompo.cli import app

RECIPES = sorted((Path(__file__).parent.parent / "examples" / "recipes").glob("paper-*.toml"))
PAIRS = {
    "paper-v1": ("sd/v1-5", "gligen/box"),
    "paper-v2": ("tokencompose/sd14-a", "gligen/box"),
    "paper-v3": ("sd/v1-5", "layguide/sd"),
    "paper-v4": ("tokencompose/sd14-a", "layguide/sd"),
    "paper-coloring-pages": ("styles/coloring-pages", "gligen/box"),
    "paper-cuteyukimix": ("styles/cuteyukimix", "gligen/box"),
}


def test_they_are_all_here() -> None:
    assert set(PAIRS) <= {file.stem for file in RECIPES}


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_check_passes(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    said = CliRunner().invoke(app, ["check", str(file)])
    assert said.exit_code == 0, said.output
    assert "warning" not in said.output and "fine: " in said.output
    for id in PAIRS.get(file.stem, ()):
        assert id in said.output
