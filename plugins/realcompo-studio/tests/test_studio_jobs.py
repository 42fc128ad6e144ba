"""The queue over time: restarts, kills, many clients. A finished picture is never lost, a job that waited waits again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from studio_client import TOKEN, Client, serving, toys

from realcompo.pictures.png import read_recipe
from realcompo.recipes.recipe import Recipe

RUNNER = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from studio_client import serving
import time
with serving(Path({folder!r})) as client:
    print(client.port, flush=True)
    sys.stdin.read()
"""


def other_process(folder: Path) -> tuple[subprocess.Popen[str], Client]:
    """A server with toys in a process of its own."""
    code = RUNNER.format(here=str(Path(__file__).parent), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Client(int(process.stdout.readline()))


def whole_pictures(folder: Path) -> list[str]:
    """Names of the pictures, each of them read to its end."""
    from PIL import Image

    names = []
    for path in sorted(folder.glob("*.png")):
        read_recipe(path)
        with Image.open(path) as image:
            image.load()
        names.append(path.name)
    return names


def left_parts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".part")]


def test_a_restart_shows_what_was_and_draws_what_waited(tmp_path: Path) -> None:
    """As Ctrl-C ends it: the run stops after its step, the queue stays."""
    with serving(tmp_path) as client:
        done = client.drawn(toys())
        running = client.draw(toys(num_inference_steps=900), client="me")
        waiting = client.draw(toys(seed=9), client="me")
        for _, name, _ in client.events(f"/api/jobs/{running}/events"):
            if name == "step":
                break
    with serving(tmp_path) as client:
        jobs = {job["id"]: job for job in client.get("/api/jobs").json["jobs"]}
        assert jobs[running]["status"] == "interrupted" and jobs[running]["client"] == "me"
        assert client.finished(waiting)["status"] == "done"
        assert done in [one["name"] for one in client.get("/api/pictures").json["pictures"]]
        assert client.get(f"/api/pictures/{done}/trace").json["count"] == 6
        assert [name for _, name, _ in client.events(f"/api/jobs/{running}/events")] == ["state", "interrupted"]
        client.drawn(client.get(f"/api/jobs/{running}").json["recipe"] | {"num_inference_steps": 3})
    assert not left_parts(tmp_path)


def test_files_of_jobs_that_are_none_are_left_aside(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        id = client.draw(toys())
        client.finished(id)
    jobs = tmp_path / ".studio" / "jobs"
    good = json.loads((jobs / f"{id}.json").read_text())
    (jobs / "a.json").write_text("{")
    (jobs / "b.json").write_text("[]")
    (jobs / "c.json").write_text(
        json.dumps({**good, "job": {**good["job"], "id": "c", "status": 5, "device": None}, "recipe": {"version": 99}})
    )
    (jobs / "d.json").write_text(json.dumps(good))
    with serving(tmp_path) as client:
        assert [job["id"] for job in client.get("/api/jobs").json["jobs"]] == [id]


def test_the_oldest_that_are_over_are_forgotten(tmp_path: Path) -> None:
    from realcompo_studio.settings import Limits

    with serving(tmp_path, limits=Limits(finished=3)) as client:
        ids = [client.draw(toys(seed=seed)) for seed in range(6)]
        client.finished(ids[-1])
        assert [job["id"] for job in client.get("/api/jobs").json["jobs"]] == ids[-3:]
        assert client.get("/api/pictures").json["total"] == 6, "their pictures stay"
    assert len(list((tmp_path / ".studio" / "jobs").iterdir())) == 3


def test_a_reader_that_is_slow_is_told_how_things_stand(tmp_path: Path) -> None:
    """A ring of few events: what was missed is not kept for anybody."""
    from realcompo_studio.settings import Limits

    with serving(tmp_path, limits=Limits(events=4)) as client:
        id = client.draw(toys())
        client.finished(id)
        first = f"{client.get('/api/state').json['run']}-1"
        again = list(client.events(f"/api/jobs/{id}/events", Last_Event_ID=first))
        assert [name for _, name, _ in again] == ["state", "done"] and again[0][2]["jobs"][0]["status"] == "done"


def kill_in_the_midst(tmp_path: Path, times: int) -> None:
    """Kill a server while it draws, again and again: what it had finished is whole and listed, nothing half stands in the gallery."""
    finished: set[str] = set()
    for turn in range(times):
        process, client = other_process(tmp_path)
        try:
            listed = {one["name"] for one in client.get("/api/pictures?limit=500").json["pictures"]}
            assert finished <= listed
            ids = [client.draw(toys(seed=100 * turn + n, num_inference_steps=4 + 40 * (n == 2))) for n in range(4)]
            for id in ids[:2]:
                finished.add(client.finished(id)["picture"])
            for _, name, data in client.events(f"/api/jobs/{ids[2]}/events"):
                if name == "step" and data["index"] >= turn % 5:
                    break
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert finished <= set(whole_pictures(tmp_path))
    with serving(tmp_path) as client:
        jobs = client.get("/api/jobs").json["jobs"]
        assert not [job for job in jobs if job["status"] == "running" and job["device"] != "cpu"]
        for job in jobs:
            if job["status"] in ("queued", "running"):
                assert client.finished(job["id"])["status"] == "done"
        assert {job["status"] for job in client.get("/api/jobs").json["jobs"]} <= {"done", "interrupted"}
        listed = {one["name"] for one in client.get("/api/pictures?limit=500").json["pictures"]}
        assert finished <= listed and listed == set(whole_pictures(tmp_path))
        for name in listed:
            assert client.get(f"/api/pictures/{name}/trace").status == 200
    assert not left_parts(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
@pytest.mark.deep
def test_a_kill_leaves_whole_pictures(tmp_path: Path) -> None:
    kill_in_the_midst(tmp_path, 1)


@pytest.mark.deep
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_many_kills_leave_whole_pictures(tmp_path: Path) -> None:
    kill_in_the_midst(tmp_path, 8)


def storm(tmp_path: Path, clients: int, each: int) -> None:
    """Clients that ask at once, each with a stream of its own: every request is answered, every picture is there once, and memory does not
    grow with their number."""
    with serving(tmp_path) as client:
        client.drawn(toys(seed=0))
        answers: dict[str, dict[str, Any]] = {}
        failures: list[BaseException] = []

        def one(name: str) -> None:
            try:
                ids = [
                    client.draw(toys(seed=hash_of(name, n), num_inference_steps=3, prompt=f"a cat and a dog, {name} {n}"), name)
                    for n in range(each)
                ]
                waiting = set(ids)
                for _, kind, data in client.events(f"/api/events?client={name}"):
                    told = data["jobs"] if kind == "state" else [data["state"]] if kind in ("done", "failed", "cancelled") else []
                    for job in told:
                        if job["id"] in waiting and job["status"] not in ("queued", "running"):
                            waiting.discard(job["id"])
                            answers[job["id"]] = job
                    if not waiting:
                        return
            except BaseException as error:
                failures.append(error)

        tracemalloc.start()
        first = tracemalloc.get_traced_memory()[0]
        threads = [threading.Thread(target=one, args=(f"client-{n}",)) for n in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        grown = tracemalloc.get_traced_memory()[0] - first
        tracemalloc.stop()
        assert not failures, failures
        assert len(answers) == clients * each and {job["status"] for job in answers.values()} == {"done"}
        pictures = {job["picture"] for job in answers.values()}
        assert len(pictures) == clients * each and pictures <= set(whole_pictures(tmp_path))
        for job in answers.values():
            assert read_recipe(tmp_path / job["picture"]).recipe.pictures[0].seed == job["seed"]
        assert grown < 60_000 * clients * each + 20_000_000, f"{grown / 1e6:.1f} MB"
        assert client.studio is not None
        held = [job for job in client.studio.queues._jobs.values() if job.seen.maps or job.seen.previews]
        assert not held, "what was seen of a finished run lies on disk, not in memory"


def hash_of(name: str, number: int) -> int:
    return int(re.sub(r"\D", "", name)) * 1000 + number


def test_a_few_clients_at_once(tmp_path: Path) -> None:
    storm(tmp_path, 3, 4)


@pytest.mark.deep
def test_two_hundred_requests_of_four_clients(tmp_path: Path) -> None:
    storm(tmp_path, 4, 50)


def test_ids_sort_as_they_were_asked_for() -> None:
    from realcompo_studio.jobs import _new_id

    ids = []
    for _ in range(50):
        ids.append(_new_id())
        time.sleep(0.00001)
    assert len(set(ids)) == 50 and all(re.fullmatch(r"\d{8}-\d{6}-\d{6}-[0-9a-f]{4}", id) for id in ids)


def test_parents_are_the_same_networks_with_one_weight() -> None:
    from realcompo_studio.drawing import parents_of

    found = parents_of(Recipe.model_validate(toys()))
    assert {which: one.balancer.options for which, one in found.items()} == {"fidelity": {"spatial": 0.0}, "spatial": {"spatial": 1.0}}
    alone = Recipe.model_validate(toys(branches=[{"name": "toy/fidelity"}]))
    assert list(parents_of(alone)) == ["fidelity"]
    assert all(one.pictures == Recipe.model_validate(toys()).pictures for one in found.values())
    assert TOKEN not in str(found)
