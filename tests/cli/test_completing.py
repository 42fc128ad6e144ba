"""Completion by the shell: which words are offered where, without torch, and silently where something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from realcompo.cli import completing
from realcompo.cli.completing import ids, recipes, words
from realcompo.registry import installed


def test_ids_of_a_kind_and_role() -> None:
    spatial = dict(ids("branches", role="spatial")(""))
    assert "mini/boxes" in spatial and "mini/fidelity" not in spatial, "a role that the base states counts"
    assert spatial["mini/boxes"] == installed().branches["mini/boxes"].summary
    assert [id for id, _ in ids("balancers")("core/pap")] == ["core/paper"]
    assert {"core/latent", "mini/planner", "mini/scenes"} & {id for id, _ in ids()("")} >= {"core/latent", "mini/planner"}
    assert ("mini", "a plugin, all of it") in ids("suites", plugins=True)("min")
    assert words("cpu", "cuda")("cu") == ["cuda"]


def test_recipes_of_the_folder_that_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("scene.toml", "scene.png", ".hidden.toml", "other.yaml"):
        (tmp_path / name).touch()
    assert [name for name, _ in recipes("")] == ["other.yaml", "scene.toml"]
    assert [name for name, _ in recipes(f"{tmp_path}/s")] == [f"{tmp_path}/scene.toml"]
    (tmp_path / "scenes").mkdir()
    assert recipes("sc") == [], "the shell goes on into the folder"
    assert recipes("no/such/folder/") == [] and recipes("a\0b") == []


def test_what_is_broken_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a plugin")

    monkeypatch.setattr(completing, "_offers", broken)
    assert ids("branches")("") == []


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("realcompo generate --fidelity sd/v1", ["sd/v1-4", "sd/v1-5"]),
        ("realcompo show gligen/", ["gligen/box", "gligen/sd15-gligen"]),
    ],
    ids=["option", "argument"],
)
def test_the_shell_asks_the_program_and_no_torch_is_imported(line: str, wanted: list[str], tmp_path: Path) -> None:
    """As bash does, by Typer's protocol."""
    pytest.importorskip("realcompo_gligen")
    environment = {**os.environ, "_REALCOMPO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "realcompo"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert sorted(told.stdout.split()) == wanted, told.stderr[-500:]
    imported = {one.rpartition("|")[2].strip().partition(".")[0] for one in told.stderr.splitlines()}
    assert "pluggy" in imported and not imported & {"torch", "diffusers", "transformers", "scipy"}
