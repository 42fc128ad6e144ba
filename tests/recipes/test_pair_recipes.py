"""`realcompo check` passes on the recipe of every pair across architectures, without weights and without warnings."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from realcompo.cli import app
from tests import ROOT

PAIRS = {
    "pair-pixart-gligen": ("pixart/alpha-512", "gligen/box"),
    "pair-sigma-pose-sdxl": ("pixart/sigma", "controlnet/pose-sdxl"),
    "pair-sdxl-sigma-layguide": ("sd/xl-base", "layguide/any"),
    "pair-sd3-5-pose": ("sd3/v3-5-medium", "sd3/pose"),
    "pair-flux-pose": ("flux/dev", "flux/pose"),
    "pair-z-image-flux-pose": ("z-image/turbo", "flux/pose"),
    "pair-z-image-regional": ("z-image/base", "regional/any"),
}
TWO_PROCESSES = ("pair-pixart-gligen", "pair-sigma-pose-sdxl", "pair-sdxl-sigma-layguide")
"""PixArt's noise is linear, Stable Diffusion's is not."""


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    """`realcompo check` on a machine with no user file and an empty cache of the hub."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return lambda name, *more: CliRunner().invoke(app, ["check", str(ROOT / "examples" / "recipes" / f"{name}.toml"), *more])


def test_they_are_all_here() -> None:
    assert set(PAIRS) == {file.stem for file in (ROOT / "examples" / "recipes").glob("pair-*.toml")}


@pytest.mark.parametrize("name", PAIRS)
def test_check_passes(check, name: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    said = check(name)
    assert said.exit_code == 0, said.output
    assert "fine: " in said.output
    warned = [line for line in said.output.splitlines() if "warning: " in line]
    assert all("meet by noise level" in line for line in warned), "two processes are remarked on, and nothing else is"
    assert len(warned) == (name in TWO_PROCESSES)
    shown = [line.split()[:2] for line in said.output.splitlines() if line.startswith(PAIRS[name])]
    assert shown[:2] == [[PAIRS[name][0], "fidelity"], [PAIRS[name][1], "spatial"]]
    assert not (tmp_path / "hub").exists(), "nothing was fetched"


@pytest.mark.parametrize(
    ("name", "other", "why"),
    [
        ("pair-sd3-5-pose", "flux/dev", "latent spaces differ"),
        ("pair-pixart-gligen", "pixart/sigma", "latent spaces differ"),
        ("pair-flux-pose", "sd/xl-base", "latent spaces differ"),
    ],
    ids=["sd3 and flux", "sigma and sd", "sdxl and flux"],
)
def test_other_latents_are_refused_by_name(check, name: str, other: str, why: str) -> None:  # type: ignore[no-untyped-def]
    """16 channels against 4, and SD 3's against FLUX.1's, which have the same shape."""
    said = check(name, "--set", f"branches.0.name={other}")
    text = said.output + str(said.exception)
    assert said.exit_code != 0 and why in text and other in text and PAIRS[name][1] in text


@pytest.mark.parametrize("name", ["flux/schnell", "z-image/turbo"])
def test_guidance_of_a_distilled_model_is_refused(check, name: str) -> None:  # type: ignore[no-untyped-def]
    said = check("pair-flux-pose", "--set", f"branches.0.name={name}", "--set", "branches.0.guidance_scale=4")
    text = said.output + str(said.exception)
    assert said.exit_code != 0 and "distilled" in text and name in text


def test_a_size_between_patches_is_refused(check) -> None:  # type: ignore[no-untyped-def]
    said = check("pair-flux-pose", "--set", "height=1000", "--set", "width=1000")
    text = said.output + str(said.exception)
    assert (said.exit_code != 0 and "multiples of 16" in text and "992" in text) or "1008" in text
