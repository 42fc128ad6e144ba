"""`realcompo check` passes on the recipe of every set-up of the paper, without weights and without warnings."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realcompo.cli import app
from realcompo.testing.sources import small_checkpoint
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


def test_check_says_which_checkpoints_are_not_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A recipe that is fine can still not be drawn: what it lacks is a note, and none is told of what is here or may be fetched."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    file = str(next(file for file in RECIPES if file.stem == "paper-v1"))

    def note(*more: str) -> str:
        said = CliRunner().invoke(app, ["check", file, *more])
        assert said.exit_code == 0 and "fine: 1 picture" in said.output, said.output
        return next((line for line in said.stderr.splitlines() if line.startswith("note: to draw it")), "")

    both = note()
    assert "sd/v1-5 (stable-diffusion-v1-5/stable-diffusion-v1-5), gligen/box (masterful/" in both and "hf download" in both
    one = note("--set", f"branches.1.source={small_checkpoint('gligen')}")
    assert "sd/v1-5" in one and "gligen/box" not in one
    allowed = note("--set", "branches.0.options.download=true")
    assert "sd/v1-5" not in allowed and "gligen/box" in allowed
    monkeypatch.setenv("REALCOMPO_DOWNLOAD", "1")
    assert not note("--set", f"branches.1.source={small_checkpoint('gligen')}", "--set", f"branches.0.source={small_checkpoint('sd1')}")
