"""Errors by field: each kind of value that can be wrong is told with its place, in the words of the core, and all that is wrong at once."""

from __future__ import annotations

from typing import Any

import pytest
from studio_client import BOXES, Client, toys

from realcompo.errors import RealCompoError
from realcompo.recipes.recipe import read_condition

CAT, DOG = BOXES["items"]


def picture(**changes: Any) -> dict[str, Any]:
    return {**toys()["pictures"][0], **changes}


def boxes(*items: dict[str, Any]) -> dict[str, Any]:
    return {"boxes": {"items": list(items)}}


NEXT: dict[str, tuple[dict[str, Any], list[Any], str]] = {
    "an unknown key": ({"schedular": "ddim"}, ["schedular"], "did you mean 'scheduler'"),
    "a type": ({"num_inference_steps": "many"}, ["num_inference_steps"], "num_inference_steps"),
    "steps out of bounds": ({"num_inference_steps": 0}, ["num_inference_steps"], "denoising steps"),
    "too many steps": ({"num_inference_steps": 5000}, ["num_inference_steps"], ""),
    "a size": ({"height": -3}, ["height"], "pixels"),
    "a height that does not fit": ({"height": 65, "width": 64}, ["height"], "multiples of 8"),
    "a width that does not fit": ({"height": 64, "width": 65}, ["width"], "multiples of 8"),
    "a dtype": ({"dtype": "float8"}, ["dtype"], "networks"),
    "a device": ({"device": "toaster"}, ["device"], "cpu, cuda"),
    "a scheduler": ({"scheduler": "dim"}, ["scheduler"], "ddim"),
    "a scheduler's setting": ({"scheduler_options": {"nonsense": 1}}, ["scheduler_options"], "nonsense"),
    "a balancer": ({"balancer": {"name": "core/blance"}}, ["balancer", "name"], "core/balance"),
    "a balancer's option": ({"balancer": {"name": "core/guided", "options": {"plant": 2}}}, ["balancer", "options", "plant"], "plant"),
    "an option's name": ({"balancer": {"name": "core/guided", "options": {"plan": 0.2}}}, ["balancer", "options", "plan"], "plant"),
    "options that contradict": (
        {"balancer": {"name": "core/guided", "options": {"plant": 0.9, "until": 0.1}}},
        ["balancer", "options"],
        "until 0.1 comes before plant",
    ),
    "an upscaler": ({"hires": {"scale": 1.5, "upscaler": {"name": "core/latnt"}}}, ["hires", "upscaler", "name"], "core/latent"),
    "an upscaler's option": (
        {"hires": {"scale": 1.5, "upscaler": {"name": "core/latent", "options": {"nonsense": 1}}}},
        ["hires", "upscaler", "options", "nonsense"],
        "nonsense",
    ),
    "a second pass without a size": ({"hires": {"strength": 0.4}}, ["hires"], "either a scale or a size"),
    "a second pass's strength": ({"hires": {"scale": 1.5, "strength": 2}}, ["hires", "strength"], "strength"),
    "a planner": ({"planner": {"name": "mini/none"}}, ["planner", "name"], "mini/none"),
    "a fidelity branch": ({"branches": [{"name": "toy/none"}, {"name": "toy/spatial"}]}, ["branches", 0, "name"], "toy/none"),
    "a spatial branch": ({"branches": [{"name": "toy/fidelity"}, {"name": "toy/spatal"}]}, ["branches", 1, "name"], "toy/spatial"),
    "a branch's key": ({"branches": [{"name": "toy/fidelity", "guidance": 3}]}, ["branches", 0, "guidance"], "guidance_scale"),
    "guidance": ({"branches": [{"name": "toy/fidelity", "guidance_scale": -1}]}, ["branches", 0, "guidance_scale"], "guidance"),
    "a branch's option": (
        {"branches": [{"name": "toy/fidelity"}, {"name": "toy/spatial", "options": {"spread": 0}}]},
        ["branches", 1, "options", "spread"],
        "spread",
    ),
    "a transfer": (
        {"branches": [{"name": "toy/fidelity"}, {"name": "toy/spatial", "transfer": {"name": "core/none"}}]},
        ["branches", 1, "transfer", "name"],
        "core/none",
    ),
    "two of a name": ({"branches": [{"name": "toy/fidelity"}, {"name": "toy/spatial"}, {"name": "toy/spatial"}]}, ["branches", 2], "twice"),
    "the probe": ({"probe": {"every": 0}}, ["probe", "every"], "every"),
    "no prompt": ({"pictures": [{"seed": 1}]}, ["pictures", 0, "prompt"], "prompt"),
    "a seed": ({"pictures": [picture(seed=1.5)]}, ["pictures", 0, "seed"], "seed"),
    "a kind of condition": ({"pictures": [picture(conditions={"boxs": {}})]}, ["pictures", 0, "conditions", "boxs"], "boxes"),
    "no condition": ({"pictures": [picture(conditions={})]}, ["pictures", 0, "conditions"], "boxes"),
    "a box outside": (
        {"pictures": [picture(conditions=boxes(CAT, {**DOG, "box": [0.5, 0.5, 1.5, 0.9]}))]},
        ["pictures", 0, "conditions", "boxes", "items", 1],
        "outside",
    ),
    "a box without area": (
        {"pictures": [picture(conditions=boxes({**CAT, "box": [0.5, 0.5, 0.2, 0.9]}, DOG))]},
        ["pictures", 0, "conditions", "boxes", "items", 0],
        "area",
    ),
    "a box without words": (
        {"pictures": [picture(conditions=boxes(CAT, {**DOG, "phrase": " "}))]},
        ["pictures", 0, "conditions", "boxes", "items", 1],
        "phrase",
    ),
    "an id twice": (
        {"pictures": [picture(conditions=boxes(CAT, {**DOG, "id": "1"}))]},
        ["pictures", 0, "conditions", "boxes", "items", 0],
        "twice",
    ),
    "a joint": (
        {"pictures": [picture(conditions={"keypoints": {"items": [{"phrase": "a cat", "points": {"nos": [0.5, 0.5]}}]}})]},
        ["pictures", 0, "conditions", "keypoints", "items", 0],
        "nose",
    ),
    "a joint outside": (
        {"pictures": [picture(conditions={"keypoints": {"items": [{"phrase": "a cat", "points": {"nose": [0.5, 1.5]}}]}})]},
        ["pictures", 0, "conditions", "keypoints", "items", 0],
        "outside",
    ),
    "a polygon": (
        {
            "pictures": [
                picture(
                    conditions={"segmentation": {"size": [8, 8], "items": [{"phrase": "a cat", "label": "sky", "polygons": [[0, 0, 9]]}]}}
                )
            ]
        },
        ["pictures", 0, "conditions", "segmentation", "items", 0],
        "polygon",
    ),
    "a version": ({"version": 99}, ["version"], "update"),
}


@pytest.mark.parametrize("case", NEXT)
def test_an_error_knows_its_field(client: Client, case: str) -> None:
    changes, at, words = NEXT[case]
    answer = client.post("/api/check", {"recipe": {**toys(), **changes}})
    assert answer.status == 200 and not answer.json["fine"], answer.body
    problem = answer.json["errors"][0]
    assert problem["at"] == at, problem
    assert words in problem["text"] and problem["what"] and problem["mend"], problem
    refused = client.post("/api/draw", {"recipe": {**toys(), **changes}})
    assert refused.status == 422 and refused.problems == answer.json["errors"], "draw says the same"


def test_all_that_is_wrong_is_told_at_once(client: Client) -> None:
    wrong = toys(
        scheduler=5,
        num_inference_steps="x",
        conditions=boxes({**CAT, "box": [0, 0, 2, 2]}, {**DOG, "box": [0.9, 0, 0.1, 1]}, {**CAT, "id": "3"}),
    )
    at = [one["at"] for one in client.post("/api/check", {"recipe": wrong}).json["errors"]]
    place = ["pictures", 0, "conditions", "boxes", "items"]
    assert sorted(map(str, at)) == sorted(map(str, [["scheduler"], ["num_inference_steps"], [*place, 0], [*place, 1]]))
    several = toys(branches=[{"name": "toy/fidelity", "options": {"spread": -1, "sharpness": "x"}}, {"name": "toy/x"}])
    at = [one["at"] for one in client.post("/api/check", {"recipe": several}).json["errors"]]
    options = ["branches", 0, "options"]
    assert sorted(map(str, at)) == sorted(map(str, [[*options, "spread"], [*options, "sharpness"], ["branches", 1, "name"]]))


def test_the_words_are_the_core_s(client: Client) -> None:
    bad = {"items": [CAT, {**DOG, "box": [0.5, 0.5, 1.5, 0.9]}]}
    told = client.post("/api/check", {"recipe": toys(conditions={"boxes": bad})}).json["errors"][0]["text"]
    with pytest.raises(RealCompoError) as error:
        read_condition("boxes", bad)
    assert told == str(error.value)


def test_nothing_is_as_if_it_were_left_out(client: Client) -> None:
    """A page's forms hold null where nothing is chosen; an option that is none is a value."""
    empty = toys(height=None, width=None, planner=None, dtype=None)
    empty["branches"] = [{"name": "toy/fidelity", "prompt": None, "guidance_scale": None}, {"name": "toy/spatial", "transfer": None}]
    empty["balancer"] = {"name": "core/balance", "options": {"inside": None}}
    answer = client.post("/api/check", {"recipe": empty}).json
    assert answer["fine"], answer["errors"]
    assert answer["recipe"]["dtype"] == "float32" and answer["recipe"]["balancer"]["options"] == {"inside": None}


def test_a_guarded_option_is_the_user_s_to_turn_on(client: Client) -> None:
    from realcompo_studio.problems import Unfit
    from realcompo_studio.reading import read

    from realcompo.registry import installed

    data = {"branches": [{"name": "sd/v1-5", "options": {"allow_pickle": True}}], "pictures": [{"prompt": "a cat"}]}
    with pytest.raises(Unfit) as unfit:
        read(data, installed())
    (problem,) = unfit.value.problems
    assert problem.at == ("branches", 0, "options", "allow_pickle") and "--set" in str(problem.error)
    recipe = read({"branches": [{"name": "sd/v1-5"}]}, installed(), ("branches.0.options.allow_pickle=true",))
    assert recipe.branches[0].options["allow_pickle"] is True


NO_RECIPE: dict[str, Any] = {
    "nothing": None,
    "a number": 5,
    "a list": [],
    "a text": "x",
    "pictures that are a number": {"pictures": 5},
    "a picture that is a number": {"pictures": [5]},
    "branches that are a text": {"branches": "x"},
    "a branch that is nothing": {"branches": [None]},
    "a key that is no text": {5: 1},
    "half a surrogate pair": {"pictures": [{"prompt": "\ud800"}]},
    "a number of thousands of digits": {"num_inference_steps": 10**5000},
    "tables in each other": {"balancer": {"name": "core/guided", "options": {"a": {"b": [[[[{}]]]]}}}},
}


@pytest.mark.parametrize("kind", NO_RECIPE)
def test_what_is_no_recipe_is_told(kind: str) -> None:
    from realcompo_studio.problems import Unfit
    from realcompo_studio.reading import read

    from realcompo.testing import toy_registry

    with pytest.raises(Unfit) as unfit:
        read(NO_RECIPE[kind], toy_registry())
    assert all(one.error.what and one.error.mend for one in unfit.value.problems)
