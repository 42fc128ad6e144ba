"""The verb `bench`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from realcompo.cli import app
from realcompo.cli.bench_tables import longer_first_calls

FAST = ["--mini", "--steps", "3", "--size", "64x64", "--device", "cpu", "--runs", "1", "--no-warm"]


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["bench", *words])
    assert done.exit_code == code, done.output
    return str(done.output)


def test_a_recipe_beside_itself_with_another_setting(tmp_path: Path) -> None:
    """The table has F and every part; the record is the same in JSON."""
    path = tmp_path / "record.json"
    other = ("--against-set", "balancer=core/hand-over")
    said = run("sd15-gligen", *FAST, *other, "--set", "scheduler=euler", "--channels-last", "-o", str(path))
    for word in ("predict gligen/box", "move sd/v1-5 backward", "solver", "our own", "F of sampling a picture", "1 pairs", "held at most"):
        assert word in said, word
    told = json.loads(path.read_text(encoding="utf-8"))
    first, second = (one["recipe"] for one in told["measured"])
    assert first["balancer"]["name"] == "core/guided" and second["balancer"]["name"] == "core/hand-over"
    assert first["scheduler"] == second["scheduler"] == "euler" and first["runtime"]["channels_last"]
    assert told["measured"][0]["cost_f"]["predict sd/v1-5"] == 4.0
    assert told["against"]["sampling_f"] > 1 and told["tool"] == "realcompo bench"


def test_what_it_refuses() -> None:
    assert "neither a recipe's file" in run("sd15-gligem", *FAST, code=2)
    assert "sd15-gligen" in run("sd15-gligem", *FAST, code=2)
    assert "leave --against out" in run("sd15", "--limits", "--against", "sdxl", code=2)
    assert "name it something.json" in run("sd15", "-o", "record.txt", code=2)
    assert "no file" in run("missing.toml", code=2) or "missing.toml" in run("missing.toml", code=2)


def test_first_calls_are_told_apart() -> None:
    """By how much they are longer than the median, over all parts that have others."""
    rows = {"predict a": (4, 11.0, 5.0, 2.5), "move a forward": (2, 3.0, 1.0, 1.5), "encode": (1, 9.0, 9.0, 9.0)}
    names = ("calls", "seconds", "first_call", "call")
    parts = {part: dict(zip(names, row, strict=True)) for part, row in rows.items()}
    assert longer_first_calls({"parts": parts, "own": {"seconds": 2.0}}) == (2.5, 0.1)
