"""Drawing by the API, on the toy branches: its events, its end, who sees it, and what the picture is."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from studio_client import BOXES, Client, serving, toys

from realcompo.pictures.png import read_recipe
from realcompo.pictures.result import pixel_digest


def test_a_drawing_tells_its_steps_and_ends_with_its_picture(client: Client) -> None:
    before = client.draw(toys(num_inference_steps=900))
    id = client.draw(toys(balancer={"name": "core/guided", "options": {"plant": 0.34}}), client="me")
    stream = client.events(f"/api/jobs/{id}/events")
    told = [next(stream)]
    client.post(f"/api/jobs/{before}/cancel")  # it waited until somebody listened
    told += list(stream)
    names = [name for _, name, _ in told]
    assert names[0] == "state" and names[-1] == "done" and "planned" in names
    steps = [data for _, name, data in told if name == "step"]
    job = told[-1][2]["state"]
    assert [one["index"] for one in steps] == list(range(6)) and all(one["count"] == 6 for one in steps)
    assert (job["status"], job["client"], job["step"], job["count"], job["seed"]) == ("done", "me", 6, 6, 3)
    name = told[-1][2]["picture"]
    drawn = read_recipe(client.studio.settings.folder / name)  # type: ignore[union-attr]
    assert drawn.recipe.pictures[0].prompt == "a cat and a dog"
    assert [item.id for item in drawn.recipe.pictures[0].conditions["boxes"].items] == ["1", "2"]  # type: ignore[attr-defined]


def test_the_picture_is_what_python_draws(client: Client) -> None:
    import realcompo as rc
    from realcompo.testing import toy_registry

    balancer = {"name": "core/balance", "options": {"warmup": 0.2}}
    image = Image.open(io.BytesIO(client.get(f"/api/pictures/{client.drawn(toys(balancer=balancer))}/image").body))
    composer = rc.Composer("toy/fidelity", "toy/spatial", balancer=balancer, num_inference_steps=6, device="cpu", registry=toy_registry())
    again = composer("a cat and a dog", rc.Boxes(BOXES["items"]), seed=3).image
    assert pixel_digest(image) == pixel_digest(again)


def test_each_picture_of_a_recipe_is_a_job_and_a_missing_seed_is_told(client: Client) -> None:
    several = toys()
    several["pictures"] = [{**several["pictures"][0], "seed": None}, {**several["pictures"][0], "prompt": "a cat with a dog"}]
    jobs = client.post("/api/draw", {"recipe": several}).json["jobs"]
    assert len(jobs) == 2 and isinstance(jobs[0]["seed"], int) and jobs[1]["prompt"] == "a cat with a dog"
    assert [client.finished(job["id"])["status"] for job in jobs] == ["done", "done"]
    recipe = client.get(f"/api/jobs/{jobs[0]['id']}").json["recipe"]
    assert recipe["pictures"][0]["seed"] == jobs[0]["seed"]
    assert client.post("/api/draw", {"recipe": {**toys(), "pictures": []}}).problems[0]["at"] == ["pictures"]


def test_events_resume_where_they_were_left(client: Client) -> None:
    id = client.draw(toys())
    told = list(client.events(f"/api/jobs/{id}/events"))
    middle = len(told) // 2
    again = list(client.events(f"/api/jobs/{id}/events", Last_Event_ID=told[middle][0]))
    assert again == told[middle + 1 :]
    assert list(client.events(f"/api/jobs/{id}/events?after={told[middle][0]}")) == again
    assert list(client.events(f"/api/jobs/{id}/events?after={told[-1][0]}")) == [], "who has seen the last does not wait"
    other = list(client.events(f"/api/jobs/{id}/events", Last_Event_ID="anotherrun-5"))
    assert [name for _, name, _ in other] == ["state", "done"], "of another run: how it stands now"
    whole = [one for one in _until(client, "/api/events?after=" + told[0][0], id)]
    assert [one for one in whole if one[2].get("job") == id] == told[1:]


def _until(client: Client, path: str, id: str) -> Any:
    """Events until the last one of a job."""
    for one in client.events(path):
        yield one
        if one[1] == "done" and one[2]["job"] == id:
            return


def test_a_client_sees_its_own(client: Client) -> None:
    mine, theirs = client.draw(toys(), client="mine"), client.draw(toys(), client="theirs")
    client.finished(theirs)
    state = next(client.events("/api/events?client=mine"))[2]
    assert mine in [job["id"] for job in state["jobs"]] and theirs not in [job["id"] for job in state["jobs"]]
    assert [job["id"] for job in client.get("/api/jobs?client=theirs").json["jobs"] if job["client"] == "theirs"] == [theirs]
    assert all(job["status"] == "failed" for job in client.get("/api/jobs?status=failed").json["jobs"])


def test_cancel_stops_after_the_step_and_keeps_what_is_asked(client: Client) -> None:
    slow = toys(num_inference_steps=900)
    first, second, third = client.draw(slow), client.draw(slow), client.draw(slow)
    for _, name, _data in client.events(f"/api/jobs/{first}/events"):
        if name == "step":
            break
    inside = client.get(f"/api/jobs/{first}/steps/0").json
    assert set(inside["weights"]) == {"toy/fidelity", "toy/spatial"}
    assert Image.open(io.BytesIO(client.get(f"/api/jobs/{first}/previews/last").body)).size
    assert client.get(f"/api/jobs/{third}").json["position"] == 1
    assert client.post(f"/api/jobs/{third}/cancel").json["status"] == "cancelled", "out of the queue at once"
    client.post(f"/api/jobs/{first}/cancel", {"keep": True})
    job = client.finished(first)
    assert job["status"] == "cancelled" and 0 < job["step"] < 900
    kept = client.get(f"/api/pictures/{job['picture']}").json
    assert kept["stopped"] == job["step"] - 1 and kept["recipe"]["num_inference_steps"] == 900
    client.post(f"/api/jobs/{second}/cancel")
    assert client.finished(second)["picture"] is None
    again = client.post(f"/api/jobs/{second}/cancel")
    assert again.status == 409 and "over" in again.problems[0]["what"]
    assert client.get("/api/jobs/none").status == 404 and client.post("/api/jobs/none/cancel").status == 404


def test_a_failure_is_told_and_the_next_is_drawn(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from realcompo.testing.toys import ToyBranch

    with monkeypatch.context() as patch:
        patch.setattr(ToyBranch, "decode", lambda self, z: 1 / 0)
        job = client.finished(client.draw(toys()))
    assert job["status"] == "failed" and "ZeroDivisionError" in job["error"]["what"] and job["error"]["mend"]
    client.drawn(toys())


def test_a_server_that_ends_ends_its_streams(tmp_path: Any) -> None:
    with serving(tmp_path) as one:
        stream = one.events("/api/events")
        next(stream)
    assert list(stream) == []


def test_a_run_of_two_passes_counts_its_steps_on(tmp_path: Any) -> None:
    """As a run that is drawn over at a larger size tells them: each pass counts from 0."""
    from types import SimpleNamespace

    import torch
    from realcompo_studio.drawing import Artist, _Watch
    from realcompo_studio.jobs import Job
    from realcompo_studio.store import Store

    import realcompo as rc
    from realcompo.interfaces import Step
    from realcompo.pictures.trace import TraceEntry

    job = Job("x", "cpu", rc.Recipe.model_validate(toys()))
    watch = _Watch(Artist(Store(tmp_path), rc.installed()), job, ["a", "b"], ())
    for which, count in ((1, 3), (2, 2)):
        for index in range(count):
            step = Step(index, count, 1.0, 0.0, 0.5, 0.6)
            entry = TraceEntry(step, ("a",), torch.zeros(2, 1, 4, 4))
            told = SimpleNamespace(**vars(entry), seen=entry.seen, placement=None, phase=entry.phase, passes=(which, 2))
            told.preview = lambda: [Image.new("RGB", (4, 4))]
            told.stop = lambda keep: None
            watch(step, told)
            assert (job.phase == "decoding") == (which == 2 and index == 1)
    assert [one["index"] for one in job.seen.steps] == [0, 1, 2, 3, 4] == sorted(job.seen.previews)
    assert [one["pass"] for one in job.seen.steps] == [[1, 2]] * 3 + [[2, 2]] * 2
    assert (job.step, job.count, job.preview) == (5, 5, 4)


def test_previews_that_the_decoder_has_to_make_are_few(client: Client) -> None:
    """Nobody has measured the toys' latent space: a preview costs as much as decoding a picture."""
    trace = client.get(f"/api/pictures/{client.drawn(toys(num_inference_steps=40))}/trace").json
    assert trace["previews"] == [0, 5, 10, 15, 20, 25, 30, 35, 39]
    assert [step["index"] for step in trace["steps"] if step["preview"]] == trace["previews"]
