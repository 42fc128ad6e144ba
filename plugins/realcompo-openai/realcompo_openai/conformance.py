"""The planner under the host's contract (`realcompo test openai`), against a small honest server on this machine.

`LocalServer` speaks as much of the protocol as a planner needs. Other tests give it other answers.
"""

from __future__ import annotations

import atexit
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from realcompo.testing import PlannerContract

Handler = Callable[[dict[str, Any], BaseHTTPRequestHandler], "str | None"]
"""A request's body → the content of the reply; None if it has answered by itself."""


class LocalServer:
    """A chat server on loopback, on a port of its own.

    Args:
        handler: says what to answer.

    Attributes:
        url: for base_url.
        bodies: of all requests, in order.
    """

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        outer = self

        class Speaker(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.bodies.append(body)
                    outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                content = outer.handler(body, self)
                if content is not None:
                    send(self, 200, completion(content))

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A planner may hang up; that is its right."""

        self._server = Listener(("127.0.0.1", 0), Speaker)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def completion(content: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "local",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
    }


def send(speaker: BaseHTTPRequestHandler, status: int, data: Any, headers: Mapping[str, str] | None = None) -> None:
    """Answer with JSON (or with a text, as it is)."""
    payload = (data if isinstance(data, str) else json.dumps(data)).encode("utf-8", "surrogatepass")
    speaker.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(payload)), **(headers or {})}.items():
        speaker.send_header(name, value)
    speaker.end_headers()
    speaker.wfile.write(payload)


def prompt_of(body: Mapping[str, Any]) -> str:
    """The sentence that a request asks about: the last question that is no complaint."""
    asked = [one["content"] for one in body["messages"] if one["role"] == "user" and one["content"].startswith("Sentence: ")]
    found: str = json.loads(asked[-1].splitlines()[0].removeprefix("Sentence: "))
    return found


def reply_of(
    objects: Sequence[tuple[str, tuple[float, float, float, float]]], beside: Mapping[str, Mapping[str, str]] | None = None, **more: str
) -> str:
    """A well-formed reply.

    Args:
        beside: phrase → further keys of its objects, such as pose and class.
        more: further keys of the whole, such as background_class.
    """
    rows = [
        {"phrase": phrase, **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)), **(beside or {}).get(phrase, {})}
        for phrase, box in objects
    ]
    return json.dumps({"objects": rows, "counts": [], "relations": [], "background": "", "negative": "", **more})


_LAYOUTS: dict[str, list[tuple[str, tuple[float, float, float, float]]]] = {
    "a cat and a red balloon on grass": [("a cat", (0.05, 0.4, 0.5, 0.95)), ("a red balloon", (0.6, 0.05, 0.9, 0.45))],
    "three apples to the left of a blue cup": [
        ("three apples", (0.02, 0.1, 0.25, 0.35)),
        ("three apples", (0.02, 0.4, 0.25, 0.65)),
        ("three apples", (0.02, 0.7, 0.25, 0.95)),
        ("a blue cup", (0.55, 0.3, 0.9, 0.8)),
    ],
    "a woman waving to a man and a dog on grass": [
        ("a woman", (0.05, 0.1, 0.35, 0.95)),
        ("a man", (0.4, 0.1, 0.65, 0.95)),
        ("a dog", (0.7, 0.6, 0.95, 0.95)),
    ],
}
_POSES = {"a woman": "waving", "a man": "standing"}
_CLASSES = {"a woman": "person", "a man": "person", "a dog": "animal", "a cat": "animal", "a red balloon": "ball", "a blue cup": "glass"}


def _honest(body: dict[str, Any], _: BaseHTTPRequestHandler) -> str:
    """The layout of a known prompt, without what is kept; nothing for another prompt. Poses and classes where the schema asks for them."""
    asked = [one["content"] for one in body["messages"] if one["role"] == "user" and one["content"].startswith("Sentence: ")][-1]
    rest = list(_LAYOUTS.get(prompt_of(body), []))
    for line in asked.splitlines():
        if line.startswith('- "'):
            phrase = json.loads(line[2 : line.rindex('"') + 1])
            twin = next((one for one in rest if one[0] == phrase), None)
            if twin is not None:
                rest.remove(twin)
    wanted = str(body.get("response_format", {}))
    beside: dict[str, dict[str, str]] = {phrase: {} for phrase, _ in rest}
    for phrase, keys in beside.items():
        keys |= {"pose": _POSES.get(phrase, "none")} if "'pose'" in wanted else {}
        keys |= {"class": _CLASSES.get(phrase, "food")} if "'class'" in wanted else {}
    return reply_of(rest, beside, **({"background_class": "grass"} if "'class'" in wanted else {}))


@cache
def honest_server() -> LocalServer:
    """One for the process."""
    server = LocalServer(_honest)
    atexit.register(server.close)
    return server


class PlannerConformance(PlannerContract):
    """The contract of planners, asked of this one."""

    component = "openai/planner"
    prompts: ClassVar[Mapping[str, Sequence[str]]] = {
        "boxes": tuple(_LAYOUTS)[:2],
        "keypoints": tuple(_LAYOUTS)[2:],
        "segmentation": tuple(_LAYOUTS)[:1],
    }
    seeds: ClassVar[Sequence[int]] = (0, 1)

    @classmethod
    def planner(cls) -> Any:
        cls.options = {"base_url": honest_server().url, "cache": "off", "retries": 1, "backoff": 0, "timeout": 600}
        return super().planner()
