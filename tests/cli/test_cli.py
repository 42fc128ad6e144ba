"""The command line: what each verb prints, its exit code, and that nothing heavy is imported for --help."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import realcompo.registry
from realcompo.draw import kept
from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, PlannerSpec
from realcompo.testing import toys
from tests import ROOT

SCENE = """branches = ["toy/fidelity", "toy/spatial"]
num_inference_steps = 4
device = "cpu"

[[pictures]]
name = "both"
prompt = "a cat and a dog"
seed = 3
[pictures.conditions.boxes]
"a cat" = [0.0, 0.3, 0.5, 0.9]
"a dog" = [0.5, 0.3, 1.0, 0.9]

[[pictures]]
prompt = "a dog"
[pictures.conditions.boxes]
"a dog" = [0.5, 0.3, 1.0, 0.9]
"""
TOYS = ["--fidelity", "toy/fidelity", "--spatial", "toy/spatial", "--device", "cpu", "--steps", "4"]
Cli = Callable[..., Result]


def _mini() -> ModuleType:
    """A plugin that stands for the embedded default: toys, and a planner that gives each noun a column."""
    module = ModuleType("cli_test_mini")

    @hookimpl
    def register_branches() -> list[BranchSpec]:
        return [
            BranchSpec(id="mini/fidelity", role="fidelity", summary="a toy", recommended={"num_inference_steps": 4}, **toys._COMMON),
            BranchSpec(id="mini/boxes", role="spatial", condition="boxes", summary="a toy", **toys._COMMON),
        ]

    @hookimpl
    def register_planners() -> list[PlannerSpec]:
        return [PlannerSpec(id="mini/planner", target="cli_test_mini:Columns", summary="columns")]

    module.__dict__.update(REALCOMPO_API=1, register_branches=register_branches, register_planners=register_planners, Columns=Columns)
    return module


class Columns(realcompo.registry.Planner):
    def plan(self, request: Any) -> Any:
        import realcompo as rc
        from realcompo.errors import PlanningError
        from realcompo.interfaces import Plan

        nouns = re.findall(r"an? \w+", request.prompt)
        if not nouns:
            raise PlanningError(f"no noun in {request.prompt!r}", mend="write a cat")
        top = 0.1 + request.seed % 4 / 10
        return Plan(rc.Boxes([(noun, (n / len(nouns), top, (n + 1) / len(nouns), 0.9)) for n, noun in enumerate(nouns)]))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cli]:
    """Run a command in an empty folder, with toys and a default family installed, and no user file."""
    points = [EntryPoint("toy", "realcompo.testing.toys", "realcompo"), EntryPoint("mini", "cli_test_mini", "realcompo")]
    monkeypatch.setitem(sys.modules, "cli_test_mini", _mini())
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


def test_show_prints_every_options_meaning(cli: Cli) -> None:
    from realcompo.builtin.options import BalanceOptions

    shown = " ".join(cli("show", "core/balance").stdout.split())
    for name, field in BalanceOptions.model_fields.items():
        assert name in shown and " ".join(str(field.description).split()[:4]) in shown


def test_show_schema_is_the_shipped_one(cli: Cli) -> None:
    from realcompo.recipes.schema import SCHEMA_FILE

    assert cli("show", "--schema").stdout == SCHEMA_FILE.read_text(encoding="utf-8")


# -- errors ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["generate", "a cat", "--box", "a cat"], "not of the form PHRASE=X0,Y0,X1,Y1"),
        (["generate", "a cat", "--box", "a cat=0,0,2,1"], "lies outside the picture"),
        (["generate", "a cat", "--box", "a cat=0,0,0,1"], "has no area"),
        (["generate", "a cat", "--size", "big"], "not of the form WIDTHxHEIGHT"),
        (["generate", "a cat", "--size", "65x64"], "nearest: 64×64"),
        (["generate", "a cat", "--show", "wieghts"], "did you mean 'weights'"),
        (["generate", "a cat", "-o", "x.jpg"], "cannot carry the recipe"),
        (["generate", "a cat", "-n", "2", "-o", "x.png"], "one file for 2 pictures"),
        (["generate", "a cat", "--set", "num_steps=5"], "did you mean 'num_inference_steps'"),
        (["generate", "a cat", "--fidelity", "toy/fidelty"], "did you mean 'toy/fidelity'"),
        (["generate", "a cat", "--device", "cuda:99"], "no device cuda:99 here"),
        (["generate", "a cat", "--dtype", "float8"], "dtype should be"),
        (["generate", "nothing"], "no noun in 'nothing'"),
        (["run", "none.toml"], "there is no such recipe"),
        (["run", "x.png"], "realcompo reproduce x.png"),
        (["run", "empty.toml"], "it draws nothing"),
        (["check", "none.toml"], "there is no such recipe"),
        (["check", "none.png"], "there is no such picture"),
        (["show"], "no component was named"),
        (["show", "toy/spatail"], "did you mean 'toy/spatial'"),
        (["reproduce", "none.png"], "there is no such picture"),
        (["reproduce", "empty.toml"], "it is no PNG"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_of_the_user_are_messages(cli: Cli, words: list[str], told: str) -> None:
    Path("empty.toml").write_text('branches = ["toy/fidelity"]\n')
    done = cli(*words)
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert "mend: " in done.stderr and "Traceback" not in done.output


def test_debug_shows_the_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALCOMPO_DEBUG", "1")
    done = cli("run", "none.toml")
    assert isinstance(done.exception, realcompo.errors.BadRecipe)  # type: ignore[attr-defined]


def test_a_mistake_of_ours_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toys.ToyBranch, "predict", lambda *_, **__: 1 / 0)
    done = cli("generate", "a cat")
    assert done.exit_code == 1
    assert "unexpected ZeroDivisionError" in done.stderr and "--debug" in done.stderr


def test_ctrl_c(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(toys.ToyBranch, "decode", stop)
    done = cli("generate", "a cat")
    assert done.exit_code == 130
    assert "nothing was written" in done.stderr
    assert not list(Path().iterdir())


def test_a_misspelt_verb_or_option(cli: Cli) -> None:
    assert cli("genrate", "a cat").exit_code == 2
    assert cli("generate", "a cat", "--stpes", 5).exit_code == 2


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


# -- names by a template -----------------------------------------------------------------------------------------------------


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


def test_run_with_a_manifest(cli: Cli) -> None:
    """Guards the verb's other way: an address or a format keeps a manifest, and what belongs to one process alone is refused."""
    Path("scene.toml").write_text(SCENE)
    done = cli("run", "scene.toml", "--format", "webdataset", "--quiet")
    assert done.exit_code == 0 and "2 drawn, 0 already there in scene" in done.stdout, done.output
    assert {path.name for path in Path("scene").iterdir()} == {".lock", "manifest.jsonl", "shard-000000.tar"}
    assert "0 drawn, 2 already there in scene" in cli("run", "scene.toml", "--format", "webdataset").stdout
    assert "2 drawn, 0 already there in memory://cli/scene" in cli("run", "scene.toml", "-o", "memory://cli/scene").stdout
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
