"""Where pictures are written and what beside them: names by a template, parameters, a manifest, scores."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from realcompo.files import claimed
from tests.cli.toycli import SCENE, Cli


def test_pictures_are_named_by_a_template(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["generate", "a cat and a dog", "--seed", 4, "-n", 2, "--steps", 2]
    done = cli(*words, "-o", "out/{seed}-{prompt:.5}.png")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("out").iterdir()) == ["4-a-cat.png", "5-a-cat.png"]
    monkeypatch.setenv("REALCOMPO_CONFIG", str(Path("user.toml").resolve()))
    Path("user.toml").write_text('output = "mine/{index}.png"\n')
    done = cli(*words)
    assert done.exit_code == 0 and sorted(path.name for path in Path("mine").iterdir()) == ["1.png", "2.png"], done.output
    Path("scene.toml").write_text(SCENE)
    assert cli("run", "scene.toml").exit_code == 0 and Path("mine/scene/both.png").is_file(), "a run's folder is the one before the fields"


@pytest.mark.parametrize("output", ["{sede}.png", "{seed}.jpg", "{prompt}" * 9], ids=["field", "ending", "long"])
def test_a_wrong_template_is_told_before_anything_is_loaded(cli: Cli, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from realcompo.draw import generate

    monkeypatch.setattr(generate, "composer_of", lambda *_: pytest.fail("a network was asked for"))
    done = cli("generate", "a very long prompt " * 9, "-o", output)
    assert done.exit_code == 2 and "mend:" in done.output, done.output


def test_a_run_with_a_template_finds_its_files_again(cli: Cli) -> None:
    Path("scene.toml").write_text(SCENE)
    words = ["run", "scene.toml", "-q", "-o", "out/{index:02}/{name:.4}.png"]
    first, second = cli(*words), cli(*words)
    assert first.exit_code == second.exit_code == 0, first.output
    assert "2 drawn" in first.output and "0 drawn, 2 already there" in second.output
    assert sorted(path.as_posix() for path in Path("out").rglob("*.png")) == ["out/01/both.png", "out/02/a-do.png"]
    same = cli("run", "scene.toml", "-q", "-o", "one/{prompt:.1}")
    assert same.exit_code == 0 and {path.name for path in Path("one").iterdir()} == {"a.png", "a-2.png"}
    moment = cli("run", "scene.toml", "-o", "{date}/{index}.png")
    assert moment.exit_code == 2 and "must find its files" in moment.output


def test_a_run_of_one_picture_is_written_where_it_is_told(cli: Cli) -> None:
    """A name that ends in .png is a file's, as for generate; it was a folder's."""
    Path("scene.toml").write_text(SCENE)
    several = cli("run", "scene.toml", "-o", "pets.png")
    assert several.exit_code == 2 and "one file for 2 pictures" in several.output and not Path("pets.png").exists()
    Path("one.toml").write_text(SCENE.rsplit("[[pictures]]", 1)[0])
    for told in ("1 drawn, 0 already", "0 drawn, 1 already"):
        done = cli("run", "one.toml", "-q", "-o", "out/pets.png")
        assert done.exit_code == 0 and told in done.output, done.output
    assert [path.name for path in Path("out").iterdir()] == ["pets.png"] and Path("out/pets.png").is_file()
    Path("dir.png").mkdir()
    assert cli("run", "one.toml", "-q", "-o", "dir.png").exit_code == 0 and Path("dir.png/both.png").is_file(), "a folder that is there"


def test_overlays_that_a_run_has_nothing_of_are_told(cli: Cli) -> None:
    words = ["generate", "a cat and a dog", "--seed", 1, "--fidelity", "toy/fidelity", "--steps", 2, "-o", "alone.png"]
    done = cli(*words, "--show", "weights,attention")
    assert done.exit_code == 0 and "nothing to show of weights, attention, loss: one branch drew alone; no step" in " ".join(
        done.stderr.split()
    )
    boxes = ["--box", "a cat=0,0.3,0.5,0.9"]
    whole = cli("generate", "a cat and a dog", "--seed", 1, "--steps", 4, *boxes, "-o", "both.png", "--show", "all")
    assert whole.exit_code == 0 and "nothing to show" not in whole.stderr, whole.output


def test_parameters_are_written_where_they_are_asked_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    def told(path: str) -> str | None:
        with Image.open(path) as seen:
            return seen.info.get("parameters")

    words = ["generate", "a cat and a dog", "--seed", 4, "--steps", 2]
    assert cli(*words, "--parameters", "-o", "a.png").exit_code == 0 and cli(*words, "-o", "b.png").exit_code == 0
    text = told("a.png")
    assert text is not None and "Steps: 2, Sampler: DDIM" in text and "Seed: 4" in text and told("b.png") is None
    monkeypatch.setenv("REALCOMPO_CONFIG", str(Path("user.toml").resolve()))
    Path("user.toml").write_text("parameters = true\n")
    Path("scene.toml").write_text(SCENE)
    assert cli("run", "scene.toml", "-q").exit_code == 0 and "Seed: 3" in (told("scene/both.png") or "")
    assert cli(*words, "--no-parameters", "-o", "c.png").exit_code == 0 and told("c.png") is None
    assert cli("reproduce", "a.png").exit_code == 0, "the picture is the same with it"
    Path("user.toml").write_text('parameters = "yes"\n')
    wrong = cli(*words)
    assert wrong.exit_code == 2 and "write true or false" in wrong.output


def test_run_with_a_manifest(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the verb's other way: an address or a format keeps a manifest, and what belongs to one process alone is refused."""
    Path("scene.toml").write_text(SCENE)
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    done = cli("run", "scene.toml", "--format", "webdataset", "--quiet")
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1", "no bars of loaders, in processes that are started here, too"
    assert done.exit_code == 0 and "2 drawn, 0 already there in scene" in done.stdout, done.output
    assert {path.name for path in Path("scene").iterdir()} == {".lock", "manifest.jsonl", "shard-000000.tar"}
    assert "0 drawn, 2 already there in scene" in cli("run", "scene.toml", "--format", "webdataset").stdout
    plain = cli("run", "scene.toml")
    assert plain.exit_code == 2 and "it holds a batch of webdataset" in plain.stderr and not list(Path("scene").glob("*.png"))
    assert cli("run", "scene.toml", "-o", "pngs", "--workers", 0).exit_code == cli("run", "scene.toml", "-o", "pngs").exit_code == 0
    with claimed(Path("pngs/.lock")):
        busy = cli("run", "scene.toml", "-o", "pngs")
    assert busy.exit_code == 2 and "pngs: another run is at work in it" in busy.stderr
    assert cli("run", "scene.toml", "-o", "pngs").exit_code == 0, "it has ended"
    gone = cli("run", "scene.toml", "-o", "memory://cli/scene")
    assert "2 drawn, 0 already there in memory://cli/scene" in gone.stdout and "goes with it" in gone.stderr and "goes" not in done.stderr
    for told, said in (
        (["--workers", 0, "--show", "layout"], "of one process without a manifest"),
        (["--gpus", 0.5], "add --on ray"),
        (["--on", "abacus"], "there is no such engine"),
        (["--workers", 2, "-o", "memory://cli/scene"], "the memory of one process"),
    ):
        refused = cli("run", "scene.toml", *told)
        assert refused.exit_code == 2 and said in refused.stderr, refused.output


def test_run_with_scores(cli: Cli) -> None:
    """`--score` keeps a manifest and tells the mean of each column, over all pictures; the controls: without it none is told or kept."""
    Path("scene.toml").write_text(SCENE)
    done = cli("run", "scene.toml", "--score", "toy/light", "--score", "toy/spread", "--quiet")
    assert done.exit_code == 0 and "2 drawn, 0 already there, 2 judged in scene" in done.stdout, done.output
    records = [json.loads(line)["scores"]["toy/light"]["score"] for line in Path("scene/manifest.jsonl").read_text().splitlines()[2:]]
    lit = sum(record["lit"] for record in records) / sum(record["boxes"] for record in records)
    assert f"toy/light, lit: {lit:.3f} (2 pictures)" in done.stdout and "toy/spread, spread: " in done.stdout, done.output
    assert "judged" not in cli("run", "scene.toml", "--workers", 0).stdout
    for told, said in (
        (["--score", "toy/lihgt"], "did you mean 'toy/light'"),
        (["--with", "toy/light.threshold=1"], "add --score SCORER"),
        (["--score", "toy/light", "--with", "threshold=1"], "write toy/light.threshold=VALUE"),
        (["--score", "toy/light", "--with", "toy/spread.x=1"], "name it with --score, too"),
        (["--score", "toy/light", "--preview"], "of one process without a manifest"),
    ):
        refused = cli("run", "scene.toml", *told)
        assert refused.exit_code == 2 and said in refused.stderr, refused.output
