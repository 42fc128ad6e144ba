"""`realcompo check` passes on the recipe of every set-up of the paper, without weights and without warnings."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realcompo.cli import app
from tests import ROOT

RECIPES = sorted((ROOT / "examples" / "recipes").glob("paper-*.toml"))
PAIRS = {
    "paper-v1": ("sd/v1-5", "gligen/box"),
    "paper-v2": ("tokencompose/sd14-a", "gligen/box"),
    "paper-v3": ("sd/v1-5", "layguide/sd"),
    "paper-v4": ("tokencompose/sd14-a", "layguide/sd"),
    "paper-coloring-pages": ("styles/coloring-pages", "gligen/box"),
    "paper-cuteyukimix": ("styles/cuteyukimix", "gligen/box"),
    "paper-pose-sdxl": ("sd/xl-base", "controlnet/pose-sdxl"),
    "paper-seg-sd21": ("sd/v2-1", "controlnet/seg-sd21"),
}


def test_they_are_all_here() -> None:
    assert set(PAIRS) == {file.stem for file in RECIPES}, "a set-up of the paper has no recipe, or a recipe no row in this table"


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_check_passes(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    said = CliRunner().invoke(app, ["check", str(file)])
    assert said.exit_code == 0, said.output
    assert "warning" not in said.output and "fine: " in said.output
    told = tomllib.loads(file.read_text(encoding="utf-8"))
    assert tuple(branch["name"] for branch in told["branches"]) == PAIRS[file.stem]
    assert [line.split()[:2] for line in said.output.splitlines() if line.startswith(PAIRS[file.stem])] == [
        [PAIRS[file.stem][0], "fidelity"],
        [PAIRS[file.stem][1], "spatial"],
    ]
    assert (told["num_inference_steps"], told["scheduler"]) == (50, "ddim"), "the paper's settings"


def test_check_reads_no_weights_and_says_what_does_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The control: the same recipe with the other setting's fidelity branch is refused."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    file = next(file for file in RECIPES if file.stem == "paper-pose-sdxl")
    said = CliRunner().invoke(app, ["check", str(file), "--set", "branches.0.name=sd/v1-5"])
    assert said.exit_code != 0 and "latent spaces differ" in said.output + str(said.exception)
    assert not (tmp_path / "hub").exists(), "nothing was fetched"
