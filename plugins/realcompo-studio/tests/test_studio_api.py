"""The API on the toy branches: what is there, words, plans, checks, looking inside, the gallery, recipes as texts."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections import Counter
from typing import Any

import pytest
from PIL import Image
from studio_client import BOXES, Client, toys

from realcompo.pictures.png import read_recipe


@pytest.fixture(scope="module")
def drawn(client: Client) -> str:
    """A picture of the gallery."""
    return client.drawn(toys(balancer={"name": "core/balance", "options": {"warmup": 0.2}}))


# -- what there is -----------------------------------------------------------------------------------------------------


def test_state_tells_the_tool_and_its_bounds(client: Client) -> None:
    state = client.get("/api/state").json
    assert state["api"] == 1 and state["limits"]["boxes"] == 1000 and {"boxes", "keypoints", "segmentation"} <= set(state["kinds"])
    assert not state["embedded"]["ready"] and state["embedded"]["problem"]["mend"], "the toys' registry has no embedded family"


def test_components_bring_their_forms_and_what_composes(client: Client) -> None:
    assert client.studio is not None
    before = client.get("/api/components").json
    assert before["checked"] is False and before["pairs"] is None
    branch = next(one for one in before["branches"] if one["id"] == "toy/spatial")
    assert branch["condition"] == "boxes" and branch["latent"]["name"] == "toy"
    assert branch["schema"]["properties"]["spread"]["description"].startswith("standard deviation")
    client.studio.catalogue.look()
    after = client.get("/api/components").json
    assert after["checked"] and after["pairs"]["toy/fidelity"]["toy/spatial"] is None
    assert "ddim" in after["schedulers"] and after["solvers"]["toy/fidelity"]["ddim"] is None
    assert after["balances"]["core/guided"] is None


def test_pairs_that_do_not_compose_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """On what is installed: the embedded family has a latent space of its own. A branch's files are looked at once for each of its roles,
    not once a pair: the page waits for it."""
    from realcompo_studio.describing import Catalogue

    from realcompo.registry import Registry, installed

    looked: Counter[str] = Counter()
    inspect = Registry.inspect

    def counted(self: Registry, name: str, *more: Any) -> Any:
        looked[name] += 1
        return inspect(self, name, *more)

    monkeypatch.setattr(Registry, "inspect", counted)
    catalogue = Catalogue(installed())
    catalogue.look()
    assert set(looked.values()) <= {1, 2} and looked["mini/fidelity"] == 1
    plain = catalogue.plain()
    json.dumps(plain)
    assert plain["pairs"]["mini/fidelity"]["mini/boxes"] is None and plain["pairs"]["mini/fidelity"]["mini/pose"] is None
    other = next(id for id in plain["pairs"]["mini/fidelity"] if id.startswith("gligen/"))
    problem = plain["pairs"]["mini/fidelity"][other]
    assert problem["what"] and problem["mend"]
    assert next(one for one in plain["planners"] if one["id"] == "mini/planner")["revises"] is True
    guarded = next(one for one in plain["branches"] if one["id"] == "sd/v1-5")["schema"]["properties"]
    assert guarded["allow_pickle"]["x-guarded"] and "x-guarded" not in guarded["lora"]


def test_poses_and_vocabulary(client: Client) -> None:
    poses = client.get("/api/poses?box=0.2,0.1,0.8,0.9&size=512,256").json
    assert len(poses["joints"]) == 18 and len(poses["limbs"]) == 17 and len(poses["joint_colours"]) == 18
    for points in poses["poses"].values():
        assert all(0.2 <= x <= 0.8 and 0.1 <= y <= 0.9 for x, y in points.values())
    assert client.get("/api/poses?box=0.5,0,0.5,1").status == 422 and client.get("/api/poses?size=x").status == 422
    words = client.get("/api/vocabulary").json
    assert not words["closed"] and {"name": "sky", "colour": [6, 230, 230], "words": []} in words["classes"]
    assert client.get("/api/vocabulary?branch=toy/none").status == 422
    assert client.get("/api/schema").json["title"] == "RealCompo recipe"


def test_a_branch_s_own_vocabulary() -> None:
    from realcompo_studio.describing import vocabulary

    from realcompo.registry import installed

    own = vocabulary(installed(), "mini/segmentation")
    assert own["closed"] and own["classes"] and all(len(one["colour"]) == 3 for one in own["classes"])


def test_openapi_documents_every_route(client: Client) -> None:
    told = client.get("/api/openapi.json").json
    paths = set(told["paths"])
    assert {"/api/draw", "/api/check", "/api/plan", "/api/events", "/api/import", "/api/pictures/{name}/trace"} <= paths
    for path, methods in told["paths"].items():
        for method, route in methods.items():
            assert route.get("description"), f"{method} {path} says nothing"
            assert "4XX" in route["responses"]
    assert client.get("/api/docs").status == 404, "its page would load scripts from elsewhere"


# -- words and plans ---------------------------------------------------------------------------------------------------


def test_phrases_find_their_words(client: Client) -> None:
    items = [
        {"id": "1", "phrase": "a red cat"},
        {"id": "2", "phrase": "a bird"},
        {"id": "3", "phrase": "cat"},
        {"id": "4", "phrase": "x", "span": [0, 3]},
    ]
    told = client.post("/api/phrases", {"prompt": "two red cats and a cat", "items": items}).json["matches"]
    assert [one["span"] for one in told] == [[4, 12], None, [19, 22], [0, 3]]
    assert told[1]["problem"]["kind"] == "PhraseNotFound" and "'2'" in told[1]["problem"]["where"]
    assert client.post("/api/phrases", {"prompt": "x", "items": [{"id": "1", "phrase": "x", "more": 1}]}).problems[0]["at"] == [
        "items",
        0,
        "more",
    ]


def test_a_recipe_without_a_planner_says_so(client: Client) -> None:
    answer = client.post("/api/plan", {"recipe": toys(conditions={})})
    assert answer.status == 422 and "planner" in answer.problems[0]["text"]


# -- check -------------------------------------------------------------------------------------------------------------


def test_a_fine_recipe_is_told_with_its_regions_and_cost(client: Client) -> None:
    found = client.post("/api/check", {"recipe": toys(balancer={"name": "core/fixed", "options": {"spatial": 1.0}})}).json
    assert found["fine"] and found["errors"] == []
    assert [region["id"] for region in found["pictures"][0]["regions"]] == ["1", "2"]
    assert found["pictures"][0]["regions"][0] == {**BOXES["items"][0], "span": None, "kinds": ["boxes"]}
    assert (found["recipe"]["height"], found["recipe"]["width"]) == (64, 64)
    assert found["cost"]["total"] == 6.0 and found["cost"]["parts"] == {"predict toy/spatial": 6.0}, (
        "6 steps of one branch, without guidance"
    )


def test_cost_is_counted_by_the_balancer_s_schedule(client: Client) -> None:
    two = toys(num_inference_steps=10, balancer={"name": "core/balance", "options": {"warmup": 0.5, "finish": 1.0}})
    two["branches"] = [{"name": "toy/fidelity", "guidance_scale": 3.0}, {"name": "toy/spatial"}]
    parts = client.post("/api/check", {"recipe": two}).json["cost"]["parts"]
    assert parts["predict toy/spatial"] == 10 and parts["predict toy/fidelity"] == 10, "5 steps of two passes"
    assert parts["probe toy/spatial"] == parts["probe toy/fidelity"] == 15, "5 probes, forward and twice as much back"


def test_several_noises_are_counted_up_to_the_choice(client: Client) -> None:
    """Four noises for the first 2 of 6 steps, a look at each, and one from there on."""
    parts = client.post("/api/check", {"recipe": toys(candidates={"count": 4, "until": 0.34})}).json["cost"]["parts"]
    one = client.post("/api/check", {"recipe": toys()}).json["cost"]["parts"]
    assert parts == one | {"predict toy/spatial": 4 * 2, "look toy/fidelity": 4} and one["predict toy/spatial"] == 2, parts


def test_cost_is_measured_once_it_was_drawn(client: Client) -> None:
    mine = toys(num_inference_steps=9)
    assert client.post("/api/check", {"recipe": mine}).json["cost"]["how"] == "counted"
    client.drawn(mine)
    cost = client.post("/api/check", {"recipe": mine}).json["cost"]
    assert cost["how"] == "measured" and cost["seconds"] is not None and "predict toy/spatial" in cost["parts"]
    assert client.post("/api/check", {"recipe": toys(num_inference_steps=8)}).json["cost"]["how"] == "counted"


# -- look inside -------------------------------------------------------------------------------------------------------


def unpacked(told: dict[str, Any]) -> Any:
    import numpy as np

    cells = np.frombuffer(base64.b64decode(told["data"]), dtype=np.uint8).reshape(told["height"], told["width"])
    return told["low"] + cells / 255 * (told["high"] - told["low"])


def test_weights_and_attention_of_a_step(client: Client, drawn: str) -> None:
    import numpy as np

    trace = client.get(f"/api/pictures/{drawn}/trace").json
    assert trace["branches"] == ["toy/fidelity", "toy/spatial"] and [r["id"] for r in trace["regions"]] == ["1", "2"]
    assert len(trace["steps"]) == 6 and trace["cost"]
    last = client.get(f"/api/pictures/{drawn}/steps/5").json
    weights = [unpacked(one) for one in last["weights"].values()]
    assert weights[0].shape == (8, 8) and np.allclose(sum(weights), 1, atol=0.01)
    maps = last["attention"]["toy/spatial"]
    assert set(maps) == {"1", "2"}
    left = unpacked(maps["1"])
    assert left[:, :4].mean() > left[:, 4:].mean(), "a cat stands left"
    assert set(last["losses"]["toy/spatial"]) == {"1", "2"} and last["loss"] is not None and last["gradients"]["toy/spatial"] > 0
    first = client.get(f"/api/pictures/{drawn}/steps/0").json
    assert first["phase"] == "spatial alone" and first["attention"] == {} and first["loss"] is None
    for index in (-1, 6, 10**30):
        assert client.get(f"/api/pictures/{drawn}/steps/{index}").status == 404
    assert client.get(f"/api/pictures/{drawn}/steps/x").status == 422


def test_large_maps_are_averaged() -> None:
    import torch
    from realcompo_studio.inside import packed

    told = packed(torch.ones(256, 128), high=1.0)
    assert (told["height"], told["width"]) == (64, 32) and set(base64.b64decode(told["data"])) == {255}
    nothing = packed(torch.tensor([[float("nan"), float("inf")], [0.0, 2.0]]))
    assert list(base64.b64decode(nothing["data"])) == [0, 0, 0, 255]


def test_the_parents_alone(client: Client, drawn: str) -> None:
    assert client.get(f"/api/pictures/{drawn}/parents/fidelity").status == 404
    jobs = client.post(f"/api/pictures/{drawn}/parents").json["jobs"]
    assert [(job["kind"], job["of"], job["parent"]) for job in jobs] == [("parent", drawn, "fidelity"), ("parent", drawn, "spatial")]
    for job in jobs:
        assert client.finished(job["id"])["status"] == "done"
    pictures = [client.get(f"/api/pictures/{drawn}/parents/{which}").body for which in ("fidelity", "spatial")]
    digests = {hashlib.sha256(Image.open(io.BytesIO(data)).tobytes()).hexdigest() for data in pictures}
    assert len(digests) == 2
    assert client.get(f"/api/pictures/{drawn}").json["parents"] == ["fidelity", "spatial"]
    assert client.post(f"/api/pictures/{drawn}/parents").json["jobs"] == [], "they are there"
    assert f"{drawn[:-4]}.fidelity.png" not in str(client.get("/api/pictures").json)


# -- the gallery -------------------------------------------------------------------------------------------------------


def test_the_gallery_lists_what_was_drawn(client: Client, drawn: str) -> None:
    assert client.studio is not None
    folder = client.studio.settings.folder
    Image.new("RGB", (8, 8)).save(folder / "strange.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    found = client.get("/api/pictures?limit=500").json
    names = [one["name"] for one in found["pictures"]]
    assert drawn in names and found["total"] == len(names) and not {"strange.png", "broken.png"} & set(names)
    one = next(one for one in found["pictures"] if one["name"] == drawn)
    assert (one["prompt"], one["seed"], one["width"], one["trace"], one["stopped"]) == ("a cat and a dog", 3, 64, True, None)
    page = client.get("/api/pictures?offset=1&limit=1").json
    assert page["pictures"] == [found["pictures"][1]] and page["total"] == found["total"]
    assert client.get("/api/pictures?limit=0").status == 422
    assert client.get("/api/pictures/strange.png").status == 422 and client.get("/api/pictures/strange.png/trace").status == 404
    thumbnail = Image.open(io.BytesIO(client.get(f"/api/pictures/{drawn}/thumbnail").body))
    assert max(thumbnail.size) <= 256
    download = client.get(f"/api/pictures/{drawn}/image?download=1")
    assert drawn in download.headers["content-disposition"] and download.body == (folder / drawn).read_bytes()


def test_a_picture_s_state_comes_back(client: Client, drawn: str) -> None:
    state = client.get(f"/api/pictures/{drawn}/state").json
    assert client.post("/api/check", {"recipe": state["recipe"]}).json["fine"]
    again = client.drawn(state["recipe"])
    assert again != drawn
    first, second = (Image.open(io.BytesIO(client.get(f"/api/pictures/{name}/image").body)).tobytes() for name in (drawn, again))
    assert first == second
    body = client.get(f"/api/pictures/{drawn}/image").body
    sent = client.ask("POST", "/api/import", body, {"Content-Type": "image/png"}).json
    assert sent["recipe"] == state["recipe"] and [r["id"] for r in sent["regions"]] == ["1", "2"]


def test_a_removed_picture_s_name_and_trace_are_not_taken_over(client: Client) -> None:
    assert client.studio is not None
    name = client.drawn(toys(prompt="a cat, a dog, removed"))
    (client.studio.settings.folder / name).unlink()
    assert client.get(f"/api/pictures/{name}/trace").status == 404
    assert client.drawn(toys(prompt="a cat, a dog, removed")) != name


# -- recipes as texts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "toml", "yaml", "python", "command"])
def test_a_recipe_is_told_in_every_form(client: Client, drawn: str, form: str) -> None:
    told = client.get(f"/api/pictures/{drawn}/recipe?as={form}").json
    assert "a cat and a dog" in told["text"] and told["file"].startswith(drawn[:-4])
    download = client.get(f"/api/pictures/{drawn}/recipe?as={form}&download=1")
    assert download.body.decode() == told["text"] and "attachment" in download.headers["content-disposition"]
    now = client.post("/api/recipe", {"recipe": toys(), "as": form})
    assert now.status == 200 and "a cat and a dog" in now.json["text"]
    assert client.get(f"/api/pictures/{drawn}/recipe?as=exe").status == 422


def test_files_are_read_back_equal(client: Client, drawn: str) -> None:
    from realcompo.recipes.configuration import parse_text

    recipe = read_recipe(client.studio.settings.folder / drawn).recipe  # type: ignore[union-attr]
    for form in ("json", "toml", "yaml"):
        text = client.get(f"/api/pictures/{drawn}/recipe?as={form}").json["text"]
        assert parse_text(text, f".{form}").plain() == recipe.plain()
