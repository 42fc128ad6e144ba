"""The embedded family through the API: plans and revisions, pictures that `reproduce` draws again, texts that draw the same picture."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from studio_client import Client, serving

import realcompo as rc
from realcompo.pictures.png import read_recipe
from realcompo.pictures.result import pixel_digest
from realcompo.recipes.configuration import resolve
from realcompo.registry import installed
from tests import lacking

PROMPT = "a cat and a red balloon on grass"
BOXES = [{"phrase": "a cat", "box": [0.08, 0.45, 0.5, 0.87]}, {"phrase": "a red balloon", "box": [0.6, 0.1, 0.9, 0.5]}]
MINI: dict[str, Any] = {
    "branches": [{"name": "mini/fidelity"}, {"name": "mini/boxes"}],
    "num_inference_steps": 4,
    "device": "cpu",
    "pictures": [{"prompt": PROMPT, "seed": 7, "conditions": {"boxes": BOXES}}],
}


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("mini"), registry=installed()) as client:
        yield client


def planned(client: Client, picture: dict[str, Any], **asked: Any) -> dict[str, Any]:
    answer = client.post("/api/plan", {"recipe": {**MINI, "pictures": [picture]}, **asked})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def test_a_sentence_is_planned_revised_and_locked(mini: Client) -> None:
    first = planned(mini, {"prompt": PROMPT, "seed": 1})
    assert len(first["regions"]) == 2
    ids = {region["id"]: region["box"] for region in first["regions"]}
    cat, balloon = ids
    moved = planned(mini, first["picture"], wish="move the cat left")
    boxes = {region["id"]: region["box"] for region in moved["regions"]}
    assert boxes[cat][0] < ids[cat][0] or ids[cat][0] == 0
    assert boxes[balloon] == ids[balloon]
    other = planned(mini, {**first["picture"], "seed": 5}, locked=[cat])
    boxes = {region["id"]: region["box"] for region in other["regions"]}
    assert boxes[cat] == ids[cat], "what is locked stays"
    assert planned(mini, {**first["picture"], "seed": 1})["regions"] == first["regions"], "nothing locked: planned anew from the seed"


def test_a_wish_moves_nothing_that_is_locked(mini: Client) -> None:
    first = planned(mini, {"prompt": PROMPT, "seed": 1})
    cat = first["regions"][0]["id"]
    answer = mini.post("/api/plan", {"recipe": {**MINI, "pictures": [first["picture"]]}, "wish": "move the cat left", "locked": [cat]})
    if answer.status == 200:
        assert answer.json["regions"][0]["box"] == first["regions"][0]["box"]
    else:
        assert "was to stay" in answer.problems[0]["what"]


def test_poses_and_maps_are_planned_for_branches_that_take_them(mini: Client) -> None:
    found = planned(
        mini,
        {"prompt": "a person and a dog", "seed": 2},
        recipe={
            **MINI,
            "branches": [{"name": "mini/fidelity"}, {"name": "mini/pose"}],
            "pictures": [{"prompt": "a person and a dog", "seed": 2}],
        },
    )
    assert set(found["picture"]["conditions"]) == {"keypoints"} and found["regions"][0]["kinds"] == ["keypoints"]


def test_a_word_that_is_not_known_is_told_at_the_prompt(mini: Client) -> None:
    answer = mini.post("/api/plan", {"recipe": {**MINI, "pictures": [{"prompt": "a zeppelin"}]}})
    (problem,) = answer.problems
    assert answer.status == 422 and problem["kind"] == "PlanningError" and problem["at"] == ["pictures", 0, "prompt"] and problem["mend"]
    first = planned(mini, {"prompt": PROMPT, "seed": 1})
    answer = mini.post("/api/plan", {"recipe": {**MINI, "pictures": [first["picture"]]}, "wish": "make it better"})
    assert answer.status == 422 and answer.problems[0]["at"] == ["wish"]


@pytest.fixture(scope="module")
def picture(mini: Client) -> Path:
    """A picture that was drawn by the API."""
    if lacking("fidelity", "boxes"):
        pytest.skip(lacking("fidelity", "boxes"))
    assert mini.studio is not None
    return mini.studio.settings.folder / mini.drawn(MINI)


def test_the_picture_is_drawn_again_from_its_recipe(mini: Client, picture: Path) -> None:
    recipe = read_recipe(picture).recipe
    assert [item.model_dump(include={"phrase", "box"}, mode="json") for item in recipe.pictures[0].conditions["boxes"].items] == BOXES  # type: ignore[attr-defined]
    found = rc.reproduce(picture)
    assert found.same and not found.edited, found.notes


def test_previews_come_with_every_step(mini: Client, picture: Path) -> None:
    trace = mini.get(f"/api/pictures/{picture.name}/trace").json
    assert trace["previews"] == [0, 1, 2, 3] and all(step["preview"] for step in trace["steps"])
    data = mini.get(f"/api/pictures/{picture.name}/previews/last").body
    assert data == mini.get(f"/api/pictures/{picture.name}/previews/3").body != mini.get(f"/api/pictures/{picture.name}/previews/0").body


def test_what_is_stopped_and_kept_is_reproduced(mini: Client, picture: Path) -> None:
    id = mini.draw({**MINI, "num_inference_steps": 200})
    for _, name, data in mini.events(f"/api/jobs/{id}/events"):
        if name == "step" and data["index"] == 1:
            mini.post(f"/api/jobs/{id}/cancel", {"keep": True})
    job = mini.get(f"/api/jobs/{id}").json
    assert job["status"] == "cancelled" and job["step"] < 200
    found = rc.reproduce(picture.parent / job["picture"])
    assert found.same


@pytest.mark.parametrize("changes", ["plain", "options", "pose", "spans"])
def test_every_text_is_the_same_recipe(mini: Client, changes: str, tmp_path: Path) -> None:
    """The command line and the script, as they are read: what they would draw is what was asked for."""
    recipe = {**MINI, "num_inference_steps": 3}
    if changes == "options":
        recipe["branches"] = [
            {"name": "mini/fidelity", "guidance_scale": 2.5, "options": {"places": ["up"]}},
            {"name": "mini/boxes", "prompt": "x {prompt}"},
        ]
        recipe |= {
            "balancer": {"name": "core/balance", "options": {"inside": [0.9, 0.5]}},
            "scheduler": "euler",
            "height": 64,
            "width": 128,
        }
    if changes == "spans":
        recipe["pictures"] = [{**MINI["pictures"][0], "conditions": {"boxes": [{**BOXES[0], "span": [2, 5], "id": "x"}, BOXES[1]]}}]
    if changes == "pose":
        recipe["branches"] = [{"name": "mini/fidelity"}, {"name": "mini/pose"}]
        points = rc_pose()
        recipe["pictures"] = [
            {"prompt": "a person", "seed": 1, "conditions": {"keypoints": {"items": [{"phrase": "a person", "points": points}]}}}
        ]
    asked = mini.post("/api/check", {"recipe": recipe}).json
    assert asked["fine"], asked["errors"]
    texts = {form: mini.post("/api/recipe", {"recipe": recipe, "as": form}).json["text"] for form in ("command", "python")}
    words = shlex.split(texts["command"])
    if changes in ("plain", "options"):
        assert words[:3] == ["realcompo", "generate", PROMPT]
        sets = [words[n + 1] for n, word in enumerate(words) if word == "--set"]
        names = [{"name": words[n + 1], "role": word[2:]} for n, word in enumerate(words) if word in ("--fidelity", "--spatial")]
        told = resolve({"branches": names}, sets=sets).recipe.plain()
        wanted = asked["recipe"]
        given = resolve(recipe).recipe.plain()
        for key in ("balancer", "scheduler", "num_inference_steps", "probe", "device"):
            assert told.get(key) == given.get(key), key
        assert [(one["name"], one["options"], one.get("guidance_scale"), one.get("prompt")) for one in told["branches"]] == [
            (one["name"], one["options"], one.get("guidance_scale"), one.get("prompt")) for one in wanted["branches"]
        ]
        boxes = [words[n + 1] for n, word in enumerate(words) if word == "--box"]
        assert boxes == ["a cat=0.08,0.45,0.5,0.87", "a red balloon=0.6,0.1,0.9,0.5"]
    else:
        assert texts["command"].startswith("cat > ") and "realcompo run" in texts["command"]
    assert "rc.Composer(" in texts["python"]
    compile(texts["python"], "script", "exec")


def rc_pose() -> dict[str, list[float]]:
    from realcompo.conditions.skeletons import skeleton

    return {name: list(point) for name, point in skeleton("standing", (0.3, 0.1, 0.7, 0.95)).items()}


@pytest.mark.deep
def test_the_script_draws_the_picture(mini: Client, picture: Path, tmp_path: Path) -> None:
    text = mini.get(f"/api/pictures/{picture.name}/recipe?as=python").json["text"]
    (tmp_path / "draw.py").write_text(text)
    subprocess.run([sys.executable, "draw.py"], cwd=tmp_path, check=True)
    (again,) = tmp_path.glob("*.png")
    assert pixel_digest(Image.open(again)) == pixel_digest(Image.open(picture))
