"""What a user is told when something is wrong, and the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realcompo.errors import BadRecipe, nearest
from realcompo.testing import toys
from tests.cli.toycli import SCENE, Cli


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


def test_a_missing_recipe_says_how_one_is_made(cli: Cli) -> None:
    """The README's `realcompo run scene.toml` is typed before there is a scene.toml; what the mend says makes one that is drawn."""
    done = cli("run", "scene.toml")
    command = done.stderr.split("realcompo plan ")[1].strip()
    assert command == '"a cat and a dog" -o scene.toml'
    assert cli("plan", "a cat and a dog", "-o", "scene.toml").exit_code == 0 and cli("run", "scene.toml", "-q").exit_code == 0
    Path("list.toml").write_text('prompts = "none.txt"\n')
    assert "realcompo plan" not in cli("run", "list.toml").stderr, "a list of prompts is none"


def test_a_place_for_a_plan_is_looked_at_before_the_planner_is_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realcompo.compose.composer.Composer.plan", lambda *_: pytest.fail("the planner was asked, and may want money"))
    done = cli("plan", "a cat and a dog", "-o", "plan.png")
    assert done.exit_code == 2 and "plan.png: .png is no format of a recipe" in done.stderr, done.output


def test_a_recipe_is_no_layout_to_import(cli: Cli) -> None:
    Path("scene.toml").write_text(SCENE)
    done = cli("import", "scene.toml")
    assert done.exit_code == 2 and "it is a recipe" in done.stderr and "realcompo run scene.toml" in done.stderr, done.output


def test_what_is_known_is_told_once(cli: Cli) -> None:
    assert nearest("horse", ["a", "cat", "and", "a", "dog"]) == "known: a, and, cat, dog", "words of a prompt"
    bench = cli("bench", "sd99")
    assert bench.exit_code == 2 and "random networks\n  mend:" in bench.stderr and "random networks:" not in bench.stderr
    Path("scene.toml").write_text(SCENE)
    place = cli("check", "scene.toml", "--set", "branches.spatail.guidance_scale=3")
    assert "did you mean 'spatial'?" in place.stderr, "the short names that are taken"


def test_debug_shows_the_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALCOMPO_DEBUG", "1")
    done = cli("run", "none.toml")
    assert isinstance(done.exception, BadRecipe)


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
