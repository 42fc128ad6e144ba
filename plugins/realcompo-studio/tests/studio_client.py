"""A server of the studio inside the test's process, and a client that can also say what no browser would."""

from __future__ import annotations

import copy
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvicorn
from realcompo_studio.app import create_app
from realcompo_studio.settings import Limits, Settings
from realcompo_studio.studio import Studio

TOKEN = "a-token-that-only-tests-know"
BOXES = {
    "items": [{"id": "1", "phrase": "a cat", "box": [0.05, 0.3, 0.45, 0.9]}, {"id": "2", "phrase": "a dog", "box": [0.55, 0.3, 0.95, 0.9]}]
}
TOYS: dict[str, Any] = {
    "branches": [{"name": "toy/fidelity"}, {"name": "toy/spatial"}],
    "num_inference_steps": 6,
    "device": "cpu",
    "pictures": [{"prompt": "a cat and a dog", "seed": 3, "conditions": {"boxes": BOXES}}],
}


def toys(**changes: Any) -> dict[str, Any]:
    """A recipe of the toys; `prompt`, `seed` and `conditions` are its picture's."""
    mine = {key: changes.pop(key) for key in ("prompt", "seed", "conditions") if key in changes}
    own = copy.deepcopy(TOYS)
    return {**own, "pictures": [{**own["pictures"][0], **mine}], **changes}


@dataclass
class Answer:
    """Of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problems(self) -> list[dict[str, Any]]:
        """The errors of an answer that is one."""
        assert self.status >= 400, self.body
        found: list[dict[str, Any]] = self.json["errors"]
        assert found and all(one["what"] and one["text"] for one in found)
        return found


@dataclass
class Client:
    """Asks one server."""

    port: int
    token: str | None = TOKEN
    studio: Studio | None = None

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str | None] | None = None) -> Answer:
        """One request; a body that is no bytes is sent as JSON. A header that is None is left out."""
        told: dict[str, str | None] = {"Host": f"127.0.0.1:{self.port}"}
        if self.token is not None:
            told["Authorization"] = f"Bearer {self.token}"
        if body is not None and not isinstance(body, (bytes, Iterator)):
            body, told["Content-Type"] = json.dumps(body).encode(), "application/json"
        told |= headers or {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if isinstance(body, bytes) and "Content-Length" not in told:
                told["Content-Length"] = str(len(body))
            for name, value in told.items():
                if value is not None:
                    connection.putheader(name, value)
            try:
                connection.endheaders()
                for piece in [body] if isinstance(body, bytes) else body or ():
                    connection.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was refused before it had read all
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str | None) -> Answer:
        return self.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, body: Any = None) -> Answer:
        return self.ask("POST", path, body)

    def draw(self, recipe: Mapping[str, Any], client: str | None = None) -> str:
        """Ask for a picture; the job's id."""
        answer = self.post("/api/draw", {"recipe": recipe, "client": client})
        assert answer.status == 202, answer.body
        id: str = answer.json["jobs"][0]["id"]
        return id

    def events(self, path: str, **headers: str) -> Iterator[tuple[str, str, Any]]:
        """(id, name, data) of a stream, until it ends."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        told = {"Authorization": f"Bearer {self.token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request("GET", path, headers=told)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        assert answer.getheader("content-type", "").startswith("text/event-stream")
        event: dict[str, str] = {}
        try:
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    event[name] = value
                elif "data" in event:
                    yield event["id"], event["event"], json.loads(event["data"])
                    event = {}
        finally:
            connection.close()

    def finished(self, id: str) -> dict[str, Any]:
        """A job, once it is over."""
        name, data = [(name, data) for _, name, data in self.events(f"/api/jobs/{id}/events")][-1]
        assert name == data["state"]["status"]
        job: dict[str, Any] = data["state"]
        return job

    def drawn(self, recipe: Mapping[str, Any]) -> str:
        """Draw a picture; its name in the gallery."""
        job = self.finished(self.draw(recipe))
        assert job["status"] == "done", job["error"]
        name: str = job["picture"]
        return name


@contextmanager
def serving(folder: Path, *, registry: Any = None, limits: Limits | None = None, **more: Any) -> Iterator[Client]:
    """A server on a free port, with toys; ended as Ctrl-C ends one."""
    if registry is None:
        from realcompo.testing import toy_registry  # it imports torch

        registry = toy_registry()
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    settings = Settings(folder, port=bound.getsockname()[1], token=TOKEN, warm=False, limits=limits or Limits())
    settings = replace(settings, **more)
    studio = Studio(settings, registry)
    app = create_app(settings, studio)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5))
    bound.listen(64)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield Client(settings.port, studio=studio)
    finally:
        studio.hub.close()
        server.should_exit = True
        thread.join(60)
        bound.close()
