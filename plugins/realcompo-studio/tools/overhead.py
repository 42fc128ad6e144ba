"""What the studio costs: ``python plugins/realcompo-studio/tools/overhead.py`` draws the same pictures alternately in this process and by a
server, and prints the median of the ratios, and how soon the first preview came. Before that it starts a few servers, and prints how soon
the page and what it asks first were answered, and what that took of a processor. It judges nothing: machines differ, and a busy one from
itself.

By the server the picture is checked, queued, drawn with its events and previews told to a listener, and written with its trace; here it is
only drawn and written.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from realcompo_studio.settings import TOKEN_VARIABLE

from realcompo.recipes.configuration import resolve

PICTURE = {
    "prompt": "a cat and a red balloon on grass",
    "conditions": {"boxes": {"a cat": [0.08, 0.45, 0.5, 0.87], "a red balloon": [0.6, 0.1, 0.9, 0.5]}},
}


def recipe_of(seed: int, steps: int) -> dict[str, Any]:
    """The embedded family's picture of a seed."""
    return {"num_inference_steps": steps, "pictures": [{**PICTURE, "seed": seed}]}


def alone(seed: int, steps: int, folder: Path) -> float:
    """Seconds of a picture drawn and written in this process."""
    import realcompo

    start = time.perf_counter()
    result = realcompo.run(resolve(recipe_of(seed, steps)).recipe)
    result.image.save(folder / f"alone-{seed}.png")
    return time.perf_counter() - start


def served(port: int, token: str, seed: int, steps: int) -> tuple[float, float]:
    """(seconds to the picture, seconds to the first preview) of one that a server draws, its events and previews read."""
    start, first = time.perf_counter(), None
    body = json.dumps({"recipe": recipe_of(seed, steps)}).encode()
    job = json.loads(_ask(port, token, "POST", "/api/draw", body))["jobs"][0]["id"]
    for name, data in _events(port, token, job):
        if name == "step" and data["preview"]:
            _ask(port, token, "GET", f"/api/jobs/{job}/previews/{data['index']}" if first is None else f"/api/jobs/{job}/previews/last")
            first = first or time.perf_counter() - start
        if name == "failed":
            raise SystemExit(data["error"]["text"])
    return time.perf_counter() - start, first or 0.0


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def _ask(port: int, token: str, method: str, path: str, body: bytes | None = None) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request(method, path, body, _headers(token))
        return connection.getresponse().read()
    finally:
        connection.close()


def _events(port: int, token: str, job: str) -> Iterator[tuple[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", f"/api/jobs/{job}/events", headers=_headers(token))
    name = ""
    for line in connection.getresponse():
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])
    connection.close()


def launched(folder: Path, token: str) -> tuple[subprocess.Popen[str], int]:
    """A server in a process of its own, and its port."""
    command = [sys.executable, "-m", "realcompo", "studio", "--no-browser", "--port", "0", "--folder", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, TOKEN_VARIABLE: token})
    match = re.search(r":(\d+)/", server.stdout.readline() if server.stdout is not None else "")
    if match is None:
        server.kill()
        raise SystemExit("the server did not start")
    return server, int(match[1])


def started(folder: Path, token: str) -> tuple[float, float]:
    """(seconds, processor seconds) from nothing to a page that is answered, with the state that it begins with."""
    before, start = os.times(), time.perf_counter()
    server, port = launched(folder, token)
    for path in ("/", "/studio.js", "/api/state"):
        if not _ask(port, token, "GET", path):
            raise SystemExit(f"{path} was not answered")
    wall = time.perf_counter() - start
    server.kill()
    server.wait()
    after = os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Print the ratios and what comes of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--starts", type=int, default=5)
    told = parser.parse_args()
    token = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starts = [started(folder / f"start-{n}", token) for n in range(told.starts)]
        walls, spent = (median(part) for part in zip(*starts, strict=True))
        print(f"the page is answered after {walls:.2f} s, {spent:.2f} s of a processor (median of {len(starts)} starts)")
        server, port = launched(folder / "studio", token)
        try:
            alone(0, told.steps, folder)  # both are warm
            served(port, token, 0, told.steps)
            ratios, firsts = [], []
            for seed in range(1, told.pairs + 1):
                mine = alone(seed, told.steps, folder)
                theirs, first = served(port, token, seed, told.steps)
                ratios.append(theirs / mine)
                firsts.append(first)
                print(
                    f"  {told.steps} steps, seed {seed}: alone {mine:.2f} s, by the studio {theirs:.2f} s, its first preview {first:.2f} s"
                )
        finally:
            server.terminate()
            server.wait()
    print(
        f"the studio costs {median(ratios) - 1:+.1%} of a run (median of {len(ratios)} pairs); first preview after {median(firsts):.2f} s"
    )


if __name__ == "__main__":
    main()
