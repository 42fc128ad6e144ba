"""What is wrong with where pictures go, and with how many steps a run has, is told before anything is loaded or drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from realcompo.cli import app

LCM = ["--set", "scheduler=lcm", "--set", "branches.0.options.distilled=true", "--steps", "4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "s3://bucket/a.png"], "an address is no folder"),
        (["-o", "file/a.png"], "file is a file"),
        (["-o", "file/{seed}.png"], "file is a file"),
        (["-o", "file/deep/er"], "file is a file"),
        (["-o", f"{'long' * 100}/a.png"], "File name too long"),
        (["-o", f"{'long' * 100}.png"], "File name too long"),
        (["-o", f"{'long' * 100}{{seed}}.png"], "longer than 240 bytes"),
        (["--embedding", "folder"], "it is a folder"),
        (["--set", "branches.0.options.lora_region=a cat"], "mini/fidelity, its options: lora_region names a region"),
        (["--set", 'branches.0.options.lora=""'], "its options: lora names no file"),
        (LCM, "draws in 4 steps"),
    ],
    ids=["address", "file", "template", "folder", "long", "long-file", "long-template", "embedding", "options", "lora", "steps"],
)
def test_generate(options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("realcompo.toolkit.loading.Loader.module", lambda *_: pytest.fail("weights were loaded"))
    Path("file").touch()
    Path("folder").mkdir()
    found = CliRunner().invoke(app, ["generate", "a cat on grass", "--box", "a cat=0,0,0.5,1", *options])
    assert found.exit_code == 2 and message in found.output, found.output
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard-size", "2"], "makes no shards"),
        (["--format", "png", "--shard-size", "2"], "makes no shards"),
        (["-o", "memory://x/{seed}.png"], "a template of names"),
        (["--workers", "2", "-o", "pets.png"], "a file's name"),
        (["--workers", "100000"], "on a machine of"),
        (["--workers", "2", "--gpus", "1"], "add --on ray"),
        (["--workers", "0", "--address", "auto"], "add --on ray"),
        (["--format", "webdataset", "--max-in-flight", "4"], "add --on ray"),
        (["--on", "ray", "--workers", "0"], "0 workers of ray"),
        (["-o", "s3:/bucket/x"], "no such kind of address"),
        (["--workers", "2", "-o", "scene.toml"], "scene.toml: it is a file, and pictures need a folder"),
    ],
    ids=["shards", "png", "address", "name", "workers", "gpus", "cluster", "in-flight", "none", "slash", "file"],
)
def test_run(options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("realcompo.draw.many.workers._mother", lambda *_: pytest.fail("a process was started"))
    monkeypatch.setattr("realcompo.draw.many.on_ray.OnRay.__init__", lambda *_: pytest.fail("a Ray was started"))
    scene = tmp_path / "scene.toml"
    scene.write_text('branches = ["mini/fidelity", "mini/boxes"]\nplanner = "mini/planner"\n[[pictures]]\nprompt = "a cat on grass"\n')
    found = CliRunner().invoke(app, ["run", str(scene), *options])
    assert found.exit_code == 2 and message in found.output, found.output
