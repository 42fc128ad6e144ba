"""Batches of which a planner made the layouts: nothing is planned twice, its words are kept, and who judges sees what was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realcompo.errors import PlanningError
from tests.plans.rows import BASE, Row

WORDY = {**BASE, "planner": {"name": "rows/row", "use": ["background", "negative"]}}
THREE = {**WORDY, "pictures": [{"prompt": f"a {noun} and a dog", "seed": n} for n, noun in enumerate(("cat", "cow", "car"))]}


def test_what_is_there_is_not_planned_again(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a batch of three is gone: it alone is planned, and drawn beside the layouts and words that the others' files carry: the same
    file to the byte. The control: what the network is asked is looked at."""
    from realcompo.draw.batch import draw
    from realcompo.pictures.png import read_recipe
    from realcompo.recipes.recipe import Recipe
    from realcompo.testing.toys import ToyBranch

    asked: list[tuple[str, ...]] = []
    encode = ToyBranch.encode
    monkeypatch.setattr(ToyBranch, "encode", lambda self, request: asked.append(tuple(request.prompts)) or encode(self, request))
    recipe = Recipe.model_validate(THREE)
    draw(recipe, tmp_path / "out", batch_size=3)
    file = tmp_path / "out" / "a-cow-and-a-dog.png"
    whole, before = file.read_bytes(), list(asked)
    file.unlink()
    asked.clear()
    assert Row.batches == [3]
    assert len(draw(recipe, tmp_path / "out", batch_size=3).drawn) == 1
    assert Row.batches == [3, 1] and file.read_bytes() == whole
    assert asked == before and all(prompt.endswith(", deep sea") for prompt in before[0]) and len(before[0]) == 3
    assert read_recipe(file).facts["batch"] == {"index": 1, "size": 3}


@pytest.mark.parametrize("lost", ["picture", "picture and manifest"])
def test_a_manifest_keeps_the_planners_words(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """As above with a manifest: the companions' words are read from it, or, where it is lost too, from their files. Pictures and manifest
    are those of the undisturbed batch, to the byte."""
    from realcompo.draw.many.run import draw_many
    from realcompo.recipes.recipe import Recipe
    from realcompo.testing.toys import ToyBranch

    asked: list[tuple[str, ...]] = []
    encode = ToyBranch.encode
    monkeypatch.setattr(ToyBranch, "encode", lambda self, request: asked.append(tuple(request.prompts)) or encode(self, request))
    recipe = Recipe.model_validate(THREE)
    draw_many(recipe, tmp_path, batch_size=3)
    whole, before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}, list(asked)
    (tmp_path / "a-cow-and-a-dog.png").unlink()
    if lost == "picture and manifest":
        (tmp_path / "manifest.jsonl").unlink()
    asked.clear()
    assert draw_many(recipe, tmp_path, batch_size=3).drawn == 1 and Row.batches == [3, 1]
    assert asked == before and all(prompt.endswith(", deep sea") for prompt in before[0]) and len(before[0]) == 3
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == whole and b'"words": {"prompt": ' in whole["manifest.jsonl"]


def test_a_picture_that_cannot_be_planned_is_recorded(registry: Any, tmp_path: Path) -> None:
    """As one that cannot be drawn: tried twice more, recorded, and the rest goes on; also where nothing else is left to plan. The controls:
    where nothing of a recipe can be planned, or eight of a window, a server may be down, and the run ends."""
    from realcompo.draw.many.run import draw_many
    from realcompo.recipes.recipe import Recipe

    def asked(*prompts: str) -> Any:
        return Recipe.model_validate({**BASE, "pictures": [{"prompt": prompt, "seed": n} for n, prompt in enumerate(prompts)]})

    one = asked("a cat", "zebra", "a dog")
    tally = draw_many(one, tmp_path / "one")
    assert str(tally) == "2 drawn, 0 already there, 1 failed" and "no noun" in tally.failed["zebra.png"] and Row.batches == [3, 1, 1]
    lines = (tmp_path / "one" / "manifest.jsonl").read_text().splitlines(keepends=True)
    (failed,) = [line for line in lines if '"state": "failed"' in line]
    assert '"tries": 3' in failed and str(draw_many(one, tmp_path / "one")) == "0 drawn, 2 already there, 1 failed"
    (tmp_path / "one" / "manifest.jsonl").write_text("".join(line for line in lines if line != failed))
    assert str(draw_many(one, tmp_path / "one")) == "0 drawn, 2 already there, 1 failed", "it alone was pending"
    with pytest.raises(PlanningError, match="2 of 2 pictures have no plan"):
        draw_many(asked("zebra", "lion"), tmp_path / "two")
    with pytest.raises(PlanningError, match="8 of 8 pictures have no plan"):
        draw_many(asked("a cat", "zebra", "a dog", *(f"lion {n}" for n in range(8))), tmp_path / "one")


def test_a_scorer_is_told_what_was_asked(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt without the planner's words, whoever judges: where it is drawn, or later. The control: a second run judges nothing."""
    from dataclasses import replace

    from realcompo.draw.many.run import draw_many
    from realcompo.recipes.recipe import Recipe
    from realcompo.testing.scenes import ToyLight

    told: list[str] = []
    score = ToyLight.score
    monkeypatch.setattr(ToyLight, "score", lambda self, shots: [told.append(shot.case.prompt) for shot in shots] and score(self, shots))
    monkeypatch.setitem(registry.scorers, "toy/light", replace(registry.scorers["toy/light"], reads=("prompt", "conditions")))
    draw_many(Recipe.model_validate(THREE), tmp_path / "one", scorers={"toy/light": {}})
    assert told == ["a cat and a dog", "a cow and a dog", "a car and a dog"]
    draw_many(Recipe.model_validate(THREE), tmp_path / "two")
    draw_many(Recipe.model_validate(THREE), tmp_path / "two", scorers={"toy/light": {}})
    assert told[3:] == told[:3] and (tmp_path / "one" / "manifest.jsonl").read_bytes() == (tmp_path / "two" / "manifest.jsonl").read_bytes()
    assert draw_many(Recipe.model_validate(THREE), tmp_path / "one", scorers={"toy/light": {}}).judged == 0
