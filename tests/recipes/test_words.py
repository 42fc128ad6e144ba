"""`words`: said once, they are options of every branch that has them, in Python, recipe and on the command line; a planner reads the prompt
without its marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import realcompo as rc
from realcompo.errors import BadOption, BadRecipe, PlanningError, UnknownName
from realcompo.plans.planning import Task
from realcompo.recipes.configuration import resolve
from realcompo.recipes.recipe import PictureEntry, Recipe

PAIR = ("mini/fidelity", "mini/boxes")
WORDS = {"prompt_weights": "a1111", "clip_skip": 1}
PROMPT = "a (cat:1.3) and a [red balloon] on grass"


def told(composer: rc.Composer) -> list[dict[str, Any]]:
    return [{name: entry.options[name] for name in WORDS} for entry in composer.recipe().branches]


def test_they_are_options_of_every_branch() -> None:
    composer = rc.Composer(*PAIR, words=WORDS)
    assert told(composer) == [WORDS] * 2 and composer.recipe().words is None
    assert told(rc.Composer.from_recipe(Recipe.model_validate(composer.recipe().plain()))) == [WORDS] * 2
    own = rc.Composer({"name": PAIR[0], "options": {"clip_skip": 0}}, PAIR[1], words=WORDS)
    assert told(own)[0]["clip_skip"] == 0, "what a branch says of itself comes first"
    assert told(rc.Composer(*PAIR))[0] == {"prompt_weights": None, "clip_skip": None}


def test_a_branch_upon_another_hands_them_on() -> None:
    composer = rc.Composer(PAIR[0], {"name": "layguide/sd", "options": {"base": "mini/fidelity"}}, words={"prompt_weights": "a1111"})
    assert composer.recipe().branches[1].options["base_options"] == {"prompt_weights": "a1111"}
    assert composer.members[1].weighs


def test_a_recipe_and_the_command_line_say_them(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    file.write_text('branches = ["mini/fidelity", "mini/boxes"]\n[words]\nprompt_weights = "a1111"\n')
    found = resolve(file, sets=["words.clip_skip=1"]).recipe
    assert told(rc.Composer.from_recipe(found)) == [WORDS] * 2
    with pytest.raises(UnknownName, match="'prompt_weight'"):
        resolve(file, sets=["words.prompt_weight=a1111"])
    with pytest.raises(BadRecipe, match="clip_skip"):
        resolve(file, sets=["words.clip_skip=-1"])


@pytest.mark.parametrize("branch", ["mini/flow", "z-image/base"])
def test_a_branch_without_them_is_named(branch: str) -> None:
    with pytest.raises(BadOption, match=f"'{branch}' has no option prompt_weights"):
        rc.Composer(branch, words={"prompt_weights": "a1111"})


def test_a_planner_reads_the_prompt_without_marks() -> None:
    """Its spans, and those of the regions that stay, count the characters of what it reads, and come back as those of what is written."""
    composer = rc.Composer(*PAIR, words=WORDS, planner="mini/planner")
    (planned,) = composer.plan([Task(PictureEntry(prompt=PROMPT, seed=1))])
    items = planned.picture.conditions["boxes"].items
    assert [item.phrase for item in items] == ["a cat", "a red balloon"]
    assert planned.picture.prompt == PROMPT
    assert [PROMPT[slice(*item.span)] for item in items] == ["a (cat", "a [red balloon"]
    (without,) = rc.Composer(*PAIR, planner="mini/planner").plan([Task(PictureEntry(prompt=PROMPT, seed=1))])
    assert isinstance(without, PlanningError) and "does not know the word" in str(without), "where nobody reads weights, they are letters"


def test_branches_that_differ_are_told() -> None:
    mixed = rc.Composer({"name": PAIR[0], "options": {"prompt_weights": "a1111"}}, PAIR[1])
    letters, remark = mixed.remarks([PictureEntry(prompt=PROMPT)])
    assert "mini/fidelity: weights are read" in remark and "mini/boxes" in remark
    assert letters.startswith("mini/boxes: trained on a small language, which lacks '1', '3'")
    assert mixed.remarks([PictureEntry(prompt="a cat")]) == []
    assert rc.Composer(*PAIR, words=WORDS).remarks([PictureEntry(prompt=PROMPT)]) == []


def test_a_wish_about_places_leaves_a_regions_own_prompt() -> None:
    composer = rc.Composer(*PAIR, planner="mini/planner")
    boxes = rc.Boxes([{"phrase": "a cat", "box": (0.1, 0.4, 0.4, 0.9), "prompt": "a striped cat"}, ("a dog", (0.6, 0.4, 0.9, 0.9))])
    picture = PictureEntry(prompt="a cat and a dog on grass", seed=1, conditions={"boxes": boxes})
    layout = composer.check_picture(picture)
    bare = picture.model_copy(update={"conditions": {}})
    (planned,) = composer.plan([Task(bare, layout=layout, wish="move the dog left", before=boxes)])
    items = planned.picture.conditions["boxes"].items
    assert {item.phrase: item.prompt for item in items} == {"a cat": "a striped cat", "a dog": None}
    assert [item.box for item in items] != [item.box for item in boxes.items], "the wish was heard"
