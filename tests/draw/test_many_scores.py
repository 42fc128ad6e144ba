"""Scores of a batch: said where a picture is drawn, kept in its line, the same whoever drew or judged, and never a reason to draw again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import realcompo as rc
from realcompo.draw.many import manifest, work
from realcompo.draw.many.run import draw_many
from realcompo.draw.many.scores import TOGETHER
from realcompo.draw.many.stores import Folder
from realcompo.draw.many.tally import Tally
from realcompo.draw.many.workers import Workers
from realcompo.errors import BadOption, PluginProblem, UnknownName
from realcompo.interfaces import Case, Crew, Shot
from realcompo.recipes.recipe import PictureEntry, Recipe
from realcompo.testing.scenes import ToyLight
from realcompo.testing.toys import ToyBranch
from tests import ROOT

JUDGES = "tests.draw.scoring_toys:judging_registry"
BOXES = {"boxes": rc.Boxes({"a dog": (0.5, 0.3, 1.0, 0.9)})}
FIVE = ("a dog", "a small dog", "a dog", "a dog on grass", "two dogs")
BOTH: dict[str, dict[str, Any]] = {"toy/light": {}, "judges/moody": {}}


def recipe(*prompts: str, conditions: Any = BOXES) -> Recipe:
    pictures = tuple(PictureEntry(prompt=prompt, conditions=conditions) for prompt in prompts)
    branches = ("toy/fidelity", "toy/spatial") if conditions else ("toy/fidelity",)
    return Recipe(branches=branches, num_inference_steps=3, device="cpu", pictures=pictures)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in Folder(folder).sizes() if name != ".lock"}


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in (folder / manifest.NAME).read_text().splitlines()]
    return {line["picture"]: line for line in found if "picture" in line}


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five pictures, drawn and judged undisturbed, by one process."""
    folder = tmp_path_factory.mktemp("judged")
    tally = draw_many(recipe(*FIVE), folder, registry=JUDGES, scorers=BOTH)
    assert str(tally) == "5 drawn, 0 already there, 5 judged"
    return folder


def test_a_line_has_what_the_scorer_says_of_the_file(judged: Path, tmp_path: Path) -> None:
    """Against the scorer asked for each file by hand. The controls: the records differ, and without scorers there are none of them, and
    the pictures are the same to the byte."""
    lights = []
    for name, line in rows(judged).items():
        with Image.open(judged / name) as image:
            shot = Shot(Case(id=name, prompt="", seed=0, conditions=BOXES), image.convert("RGB"))
        assert line["scores"]["toy/light"]["score"] == ToyLight().score([shot])[0]
        lights.append(line["scores"]["judges/moody"]["score"]["light"])
    assert len(set(lights)) == 5
    tally = draw_many(recipe(*FIVE), judged, registry=JUDGES, scorers=BOTH)
    assert str(tally) == "0 drawn, 5 already there", "nothing is judged twice"
    assert [record["light"] for record in tally.records["judges/moody"]] == lights and len(tally.records["toy/light"]) == 5
    draw_many(recipe(*FIVE), tmp_path, registry=JUDGES)
    assert not any("scores" in line for line in rows(tmp_path).values())
    assert {name: data for name, data in files(tmp_path).items() if name in rows(tmp_path)} == {
        name: files(judged)[name] for name in rows(judged)
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_two_workers_say_the_same(judged: Path, tmp_path: Path) -> None:
    """To the byte, manifest and all."""
    draw_many(recipe(*FIVE), tmp_path, registry=JUDGES, scorers=BOTH, engine=Workers(Crew(2)))
    assert files(tmp_path) == files(judged)


class Stop(Exception):
    """What ends a run from within."""


@pytest.mark.parametrize("format", ["png", "webdataset"])
def test_what_is_there_is_judged_and_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Any) -> None:
    """A batch that was drawn without scorers, one that was stopped, a picture whose line was lost: each ends as the undisturbed one.
    The control: drawing anything fails the test."""
    words: dict[str, Any] = {"registry": JUDGES, "format": format, "shard_size": 2}
    one, two, three = tmp_path / "one", tmp_path / "two", tmp_path / "three"
    draw_many(recipe(*FIVE), one, scorers=BOTH, **words)

    def stopping(tally: Tally) -> None:
        if tally.drawn == 3:
            raise Stop

    with pytest.raises(Stop):
        draw_many(recipe(*FIVE), two, scorers=BOTH, told=stopping, **words)
    assert sum("scores" in line for line in rows(two).values()) == 3
    draw_many(recipe(*FIVE), two, scorers=BOTH, **words)
    draw_many(recipe(*FIVE), three, **words)
    with monkeypatch.context() as patch:
        patch.setattr(work, "attempt", lambda *_: pytest.fail("it was drawn again"))
        assert str(draw_many(recipe(*FIVE), three, scorers=BOTH, **words)) == "0 drawn, 5 already there, 5 judged"
        if format == "png":
            (three / manifest.NAME).unlink()
            draw_many(recipe(*FIVE), three, scorers={"toy/light": {}}, **words)
            assert str(draw_many(recipe(*FIVE), three, scorers=BOTH, **words)) == "0 drawn, 5 already there, 5 judged"
        else:
            (three / "shard-000002.tar").unlink()
            with pytest.raises(pytest.fail.Exception):
                draw_many(recipe(*FIVE), three, scorers=BOTH, **words)
    draw_many(recipe(*FIVE), three, scorers=BOTH, **words)
    assert files(two) == files(one) == files(three)


def test_another_option_or_condition_is_judged_again() -> None:
    """What a scorer reads decides: `asked` holds the options and what is read, and nothing else."""
    from realcompo.draw.many.judging import asked_of_entry
    from tests.draw.scoring_toys import judging_registry

    registry, entry = judging_registry(), PictureEntry(prompt="a dog", conditions=BOXES)  # type: ignore[arg-type]
    moved = entry.model_copy(update={"conditions": {"boxes": rc.Boxes({"a dog": (0, 0, 1, 0.5)})}})
    light, moody = registry.scorers["toy/light"], registry.scorers["judges/moody"]
    assert asked_of_entry(light, {}, entry) != asked_of_entry(light, {}, moved)
    assert asked_of_entry(light, {}, entry) != asked_of_entry(light, {"threshold": 1}, entry)
    assert asked_of_entry(moody, {}, entry) == asked_of_entry(moody, {}, moved)
    assert asked_of_entry(light, {}, entry) == asked_of_entry(light, {}, entry.model_copy(update={"prompt": "a cat"}))
    planned = moved.model_dump_plain()["conditions"]
    assert asked_of_entry(light, {}, entry, planned) == asked_of_entry(light, {}, moved)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_a_scorer_that_dies_costs_a_score_and_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of seven pictures are too much for it: one it stumbles over, one kills the worker. All are drawn, five have scores; the control:
    a calm scorer, with --retry, judges the two and draws nothing."""
    asked = recipe(*FIVE, "a dog, a bomb", "a dog, a tree")
    tally = draw_many(asked, tmp_path, registry=JUDGES, scorers=BOTH, engine=Workers(Crew(2)))
    assert (tally.drawn, tally.failed) == (7, {}) and tally.unjudged["a-dog-a-tree.png"] == "judges/moody: ValueError: a tree is too much"
    assert tally.unjudged.keys() == {"a-dog-a-bomb.png", "a-dog-a-tree.png"} and "died" in tally.unjudged["a-dog-a-bomb.png"]
    assert len(tally.records["judges/moody"]) == 5
    monkeypatch.setenv("CALM", "1")
    monkeypatch.setenv("JUDGED", str(tmp_path))
    assert len(draw_many(asked, tmp_path, registry=JUDGES, scorers=BOTH).unjudged) == 2, "without --retry nothing is tried again"
    mended = draw_many(asked, tmp_path, registry=JUDGES, scorers=BOTH, retry=True)
    assert (mended.drawn, mended.unjudged, len(mended.records["judges/moody"])) == (0, {}, 7)
    assert (tmp_path / "judged").read_text().split() == ["a-dog-a-bomb.png", "a-dog-a-tree.png"]


def test_a_scorer_that_stumbles_over_all_ends_the_batch(tmp_path: Path) -> None:
    """At the eighth; the pictures are kept."""
    asked = recipe(*(["a tree, a dog"] * 10))
    with pytest.raises(PluginProblem, match="judges/moody stumbles over all of the first 8 pictures; the first: ValueError: a tree"):
        draw_many(asked, tmp_path, registry=JUDGES, scorers=BOTH)
    assert len(rows(tmp_path)) == 8 == TOGETHER
    assert draw_many(asked, tmp_path, registry=JUDGES).drawn == 2


def test_what_cannot_be_judged_is_said_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No branch is made, nothing is written. The control: the scorer that can judge gets as far as the branches."""
    monkeypatch.setattr(ToyBranch, "__init__", lambda *_, **__: pytest.fail("a branch was made"))
    bare = recipe("a dog", conditions={})
    for asked, scorers, error, said in (
        (recipe("a dog"), {"toy/lihgt": {}}, UnknownName, "toy/light"),
        (recipe("a dog"), {"judges/truth": {}}, BadOption, "only a suite knows of a picture"),
        (recipe("a dog"), {"toy/light": {"threshold": 1}}, BadOption, "threshold"),
        (bare, {"toy/light": {}}, BadOption, "picture 1 of the recipe has no conditions"),
    ):
        with pytest.raises(error, match=said):
            draw_many(asked, tmp_path / "none", registry=JUDGES, scorers=scorers)
    assert not files(tmp_path / "none")
    with pytest.raises(pytest.fail.Exception, match="a branch was made"):
        draw_many(bare, tmp_path / "some", registry=JUDGES, scorers={"judges/moody": {}})


def test_a_picture_that_was_changed_is_not_judged(tmp_path: Path) -> None:
    """Of the size that the manifest says, and with other pixels."""
    draw_many(recipe("a dog", "two dogs"), tmp_path, registry=JUDGES)
    line = (tmp_path / manifest.NAME).read_text()
    pixels = rows(tmp_path)["a-dog.png"]["pixels"]
    (tmp_path / manifest.NAME).write_text(line.replace(pixels, "0" * len(pixels)))
    tally = draw_many(recipe("a dog", "two dogs"), tmp_path, registry=JUDGES, scorers=BOTH)
    assert tally.unjudged.keys() == {"a-dog.png"} and "are not those that were drawn" in tally.unjudged["a-dog.png"]
    assert tally.judged == 1
