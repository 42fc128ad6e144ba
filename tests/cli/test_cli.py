"""The command line: what each verb prints, its exit code, and that nothing heavy is imported for --help."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from realcompo.testing import toys
from tests import ROOT
from tests.cli.toycli import SCENE, TOYS, Cli

# -- drawing -----------------------------------------------------------------------------------------------------------------


def test_generate_with_nothing_configured(cli: Cli) -> None:
    done = cli("generate", "a cat and a dog", "--seed", 1)
    assert done.exit_code == 0, done.output
    assert "a cat" in done.stdout and "0.200" in done.stdout, "the layout is printed"
    assert "a-cat-and-a-dog.png  (seed 1)" in done.stdout
    assert Path("a-cat-and-a-dog.png").is_file()
    again = cli("generate", "a cat and a dog", "--seed", 1)
    assert "a-cat-and-a-dog-2.png" in again.stdout, "nothing is written over unasked"


def test_demo(cli: Cli) -> None:
    for _ in range(2):
        done = cli("demo")
        assert done.exit_code == 0, done.output
        assert "two penguins" in done.stdout and "try next" in done.stdout
        assert f"picture   {Path('demo/two-penguins-and-a-yellow-heart-on-snow.png').resolve()}" in done.stdout
    assert len(list(Path("demo").iterdir())) == 4, "the same names each time"


def test_generate_with_boxes_and_overlays(cli: Cli) -> None:
    boxes = ["--box", "a cat=0,0.3,0.5,0.9", "--box", "a dog=0.5,0.3,1,0.9"]
    done = cli("generate", "a cat and a dog", *TOYS, *boxes, "-n", 2, "-o", "out", "--show", "layout,weights,attention", "--scale", 1)
    assert done.exit_code == 0, done.output
    assert {path.name for path in Path("out").iterdir()} == {
        f"a-cat-and-a-dog{number}{show}.png" for number in ("", "-2") for show in ("", ".layout", ".weights", ".attention", ".loss")
    }


def test_candidates_are_told(cli: Cli) -> None:
    """Which noise went on is said beside the seed, and kept in the picture."""
    from realcompo.pictures.png import read_recipe

    done = cli("generate", "a cat and a dog", "--candidates", 3, "--seed", 2, "-n", 2, "-o", "out")
    assert done.exit_code == 0, done.output
    said = [int(number) for number in re.findall(r"noise (\d) of 3\)", done.stdout)]
    kept = sorted((read_recipe(path) for path in Path("out").iterdir()), key=lambda one: one.recipe.pictures[0].seed or 0)
    assert said == [one.facts["decided"]["candidate"] + 1 for one in kept] and len(said) == 2
    assert kept[0].recipe.candidates is not None and kept[0].recipe.candidates.count == 3
    assert "noise" not in cli("generate", "a cat and a dog", "--seed", 2, "-o", "plain.png").stdout
    refused = cli("generate", "a cat", "--candidates", 99)
    assert refused.exit_code == 2 and "candidates.count should be less than or equal to 64" in refused.stderr


def test_generate_options_reach_the_recipe(cli: Cli) -> None:
    from realcompo.pictures.png import read_recipe

    words = [
        "--size",
        "64x128",
        "--negative",
        "blur",
        "--set",
        "balancer.options.moves=3",
        "--set",
        "branches.boxes.guidance_scale=2",
    ]
    done = cli("generate", "a cat", *words, "-o", "x.png", "--seed", 5)
    assert done.exit_code == 0, done.output
    recipe = read_recipe("x.png").recipe
    assert (recipe.width, recipe.height) == (64, 128)
    assert recipe.balancer.options["moves"] == 3
    assert recipe.branches[1].guidance_scale == 2
    assert recipe.pictures[0].negative_prompt == "blur"


def test_pictures_of_nan_are_told_and_the_others_written(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: exit code 2, the branch, step and mend, the good files, and no other."""
    predict = toys.ToyBranch.predict

    def bad(self: Any, z: Any, step: Any, *more: Any) -> Any:
        told = predict(self, z, step, *more)
        told.noise[-1] = float("nan")  # of every batch its last picture
        return told

    Path("scene.toml").write_text(SCENE)
    with monkeypatch.context() as patch:
        patch.setattr(toys.ToyBranch, "predict", bad)
        done = cli("generate", "a cat", "-n", 3, "--seed", 1)
        assert done.exit_code == 2 and "1 of 3 pictures failed: picture 2, mini/boxes, step 1" in done.stderr and "mend:" in done.stderr
        assert "seed 1" in done.stdout and "seed 2" in done.stdout and "seed 3" not in done.stdout
        assert sorted(path.name for path in Path().glob("*.png")) == ["a-cat-2.png", "a-cat.png"]
        alone = cli("generate", "a cat", "-o", "alone.png")
        assert alone.exit_code == 2 and not Path("alone.png").exists()
        ran = cli("run", "scene.toml", "--batch-size", 2)
        assert ran.exit_code == 2 and "1 of 2 pictures failed" in ran.stderr and "1 still to draw (of which 1 failed)" in ran.stderr
    assert len(list(Path("scene").glob("*.png"))) == 1
    assert "1 drawn, 1 already there" in cli("run", "scene.toml", "--batch-size", 2).stdout


def test_run_check_reproduce(cli: Cli) -> None:
    Path("scene.toml").write_text(SCENE)
    checked = cli("check", "scene.toml", "--explain")
    assert checked.exit_code == 0, checked.output
    assert "fine: 2 pictures" in checked.stdout
    assert re.search(r"num_inference_steps +4 +scene\.toml", checked.stdout)
    assert "words 'dog'" in checked.stdout
    assert not Path("scene").exists()

    done = cli("run", "scene.toml", "--batch-size", 2)
    assert done.exit_code == 0, done.output
    assert "2 drawn, 0 already there in scene" in done.stdout
    assert "0 drawn, 2 already there in scene" in cli("run", "scene.toml", "--batch-size", 2).stdout

    again = cli("reproduce", "scene/a-dog.png", "-o", "again.png")
    assert again.exit_code == 0, again.output
    assert "the same pixels" in again.stdout
    assert "in a batch of 2" in again.stderr
    assert Path("again.png").is_file()


def test_reproduce_says_when_pixels_differ(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("generate", "a cat", "-o", "x.png", "--seed", 5).exit_code == 0
    decode = toys.ToyBranch.decode
    monkeypatch.setattr(toys.ToyBranch, "decode", lambda self, z: decode(self, z * 0.5))
    done = cli("reproduce", "x.png")
    assert done.exit_code == 1
    assert "not the same pixels" in done.stdout


def test_check_writes_the_recipe_of_a_picture(cli: Cli) -> None:
    assert cli("generate", "a cat", "-o", "x.png", "--seed", 5).exit_code == 0
    assert cli("check", "x.png", "-o", "x.toml").exit_code == 0
    assert cli("run", "x.toml", "-o", "out").exit_code == 0
    assert Path("out/a-cat.png").read_bytes() != b""
    from realcompo.pictures.png import read_recipe

    assert read_recipe("out/a-cat.png").facts["pixels"] == read_recipe("x.png").facts["pixels"]


def test_check_tells_each_picture_that_cannot_be_drawn(cli: Cli) -> None:
    Path("scene.toml").write_text(SCENE + '[[pictures]]\nprompt = "no boxes"\n')
    done = cli("check", "scene.toml")
    assert done.exit_code == 2
    assert "picture 2: 'toy/spatial' has no boxes" in done.stderr
    assert "1 of 3 pictures cannot be drawn" in done.stderr
    assert cli("check").exit_code == 0, "what is configured, without pictures"


def test_check_loads_no_weights(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(toys.ToyBranch, "__init__", refuse)
    Path("scene.toml").write_text(SCENE)
    assert cli("check", "scene.toml").exit_code == 0


def test_plan(cli: Cli) -> None:
    done = cli("plan", "a cat and a dog", "--seed", 2, "-o", "planned.yaml")
    assert done.exit_code == 0, done.output
    assert "layout by mini/planner, seed 2" in done.stdout
    drawn = cli("run", "planned.yaml", "-o", "out")
    assert drawn.exit_code == 0, drawn.output
    assert cli("plan", "nothing here").exit_code == 2


# -- looking -----------------------------------------------------------------------------------------------------------------


def test_list(cli: Cli) -> None:
    done = cli("list")
    assert done.exit_code == 0
    assert re.search(r"toy/spatial +spatial +boxes +realcompo\.testing\.toys +a Gaussian world with regions", done.stdout)
    for id in ("core/balance", "mini/planner", "core/boxes"):
        assert id in done.stdout
    assert "problem: plugin 'broken'" in done.stdout and "ModuleNotFoundError" in done.stdout
    assert "toy/spatial\n" in cli("list", "--plain").stdout


@pytest.mark.parametrize("name", ["toy/spatial", "core/balance", "mini/planner", "core/boxes", "balance"])
def test_show(cli: Cli, name: str) -> None:
    done = cli("show", name)
    assert done.exit_code == 0, done.output
    assert name in done.stdout and "options" in done.stdout


def test_a_shown_sample_can_be_run(cli: Cli) -> None:
    sample = cli("show", "toy/spatial").stdout.split("scene.toml)\n")[1]
    Path("scene.toml").write_text(sample)
    assert cli("run", "scene.toml", "--set", "num_inference_steps=3").exit_code == 0


@pytest.mark.parametrize("name", ["core/mean", "core/lanczos"])
def test_a_shown_sample_of_a_part_is_a_whole_recipe(cli: Cli, name: str) -> None:
    """ "Save it, then run it" holds for balancers and upscalers, too: it has a picture, drawn by what is configured."""
    Path("scene.toml").write_text(cli("show", name).stdout.split("scene.toml)\n")[1])
    done = cli("run", "scene.toml", "--set", "num_inference_steps=3", "-q")
    assert done.exit_code == 0 and "1 drawn" in done.stdout, done.output
    assert name in cli("check", "scene/a-cat-and-a-dog.png", "-o", "taken.toml", "--explain").stdout


def test_show_prints_every_options_meaning(cli: Cli) -> None:
    from realcompo.builtin.options import BalanceOptions

    shown = " ".join(cli("show", "core/balance").stdout.split())
    for name, field in BalanceOptions.model_fields.items():
        assert name in shown and " ".join(str(field.description).split()[:4]) in shown


def test_show_schema_is_the_shipped_one(cli: Cli) -> None:
    from realcompo.recipes.schema import SCHEMA_FILE

    assert cli("show", "--schema").stdout == SCHEMA_FILE.read_text(encoding="utf-8")


# -- as a program ------------------------------------------------------------------------------------------------------------


def program(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "REALCOMPO_CONFIG": "/nonexistent"}
    environment.pop("REALCOMPO_DEBUG", None)
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, timeout=120, **more)


def test_help_imports_little() -> None:
    """It comes at once because next to nothing is imported for it (measured: 15 modules of ours, 340 in all)."""
    done = program("-X", "importtime", "-m", "realcompo", "--help")
    assert done.returncode == 0 and "generate" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "realcompo.cli" in imported
    heavy = ("torch", "pydantic", "numpy", "PIL", "yaml", "diffusers", "transformers", "pluggy", "scipy", "skimage", "openai")
    assert not sorted(name for name in imported if name.split(".")[0] in heavy)
    assert len([name for name in imported if name.split(".")[0] == "realcompo"]) <= 22 and len(imported) <= 500


def test_the_program(tmp_path: Path) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*\n", program("-m", "realcompo", "--version").stdout)
    plain = program("-m", "realcompo", "check", "none.toml", cwd=tmp_path)
    assert plain.returncode == 2 and plain.stderr.startswith("error: none.toml: there is no such recipe")
    assert "Traceback" not in plain.stderr
    for words in (["check", "none.toml", "--debug"], ["--debug", "check", "none.toml"]):
        debugged = program("-m", "realcompo", *words, cwd=tmp_path)
        assert debugged.returncode == 1 and "Traceback" in debugged.stderr
