"""A batch of a hundred prompts with failures from a seeded list; the cache under kill -9; the canary in nothing that is written."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import tempfile
import threading
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from llm_canary import CANARY
from llm_oracle import labels, right_layout
from llm_scenarios import SCENARIOS
from realcompo_openai.cache import Cache
from realcompo_openai.conformance import LocalServer, prompt_of, reply_of
from realcompo_openai.options import LLMOptions
from realcompo_openai.planner import LLMPlanner

from realcompo.interfaces import PlanRequest

BY_TEXT = {label.text: label for label in labels()}
ONE_MORE = [
    *("rate limit: 429", "server fails: 500", "server fails: 503", "connection cut inside the reply", "prose", "truncated JSON"),
    *("empty list", "NaN in a box", "object that is not in the prompt", "one object too few", "null content", "refusal"),
    "200 with a web page",
]
"""Misbehaviours that cost exactly one further request."""


def hundred() -> list[PlanRequest]:
    """100 different requests: 40 prompts, three seeds."""
    return [PlanRequest(text, (512, 768), seed=seed) for seed in range(3) for text in BY_TEXT][:100]


class Flaky:
    """An honest server that fails at places of a list. Counts by (prompt, seed), so that the order of arrival decides nothing."""

    def __init__(self, failures: dict[tuple[str, int], list[str]]) -> None:
        self.failures, self.met, self.most, self.now = failures, Counter[tuple[str, int]](), 0, 0
        self.lock = threading.Lock()
        self.acts = {scenario.name: scenario.act for scenario in SCENARIOS}

    def __call__(self, body: dict[str, Any], speaker: BaseHTTPRequestHandler) -> str | None:
        spot = (prompt_of(body), body["seed"])
        with self.lock:
            number = self.met[spot]
            self.met[spot] += 1
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            label = BY_TEXT[spot[0]]
            good = right_layout(label, spot[1] % 3)
            due = self.failures.get(spot, [])
            return self.acts[due[number]](speaker, body, label, good) if number < len(due) else reply_of(good)
        finally:
            with self.lock:
                self.now -= 1


def options(url: str, **more: Any) -> LLMOptions:
    return LLMOptions(**{"base_url": url, "cache": "off", "backoff": 0.01, "timeout": 600, "retries": 3, "max_in_flight": 6, **more})


def test_requests_are_one_hundred_and_the_failures(tmp_path: Path) -> None:
    rng = random.Random(20)
    requests = hundred()
    spots = [(request.prompt, request.seed) for request in requests]
    failures: dict[tuple[str, int], list[str]] = {}
    for _ in range(45):
        due = failures.setdefault(rng.choice(spots), [])
        if len(due) < 3:
            due.append(rng.choice(ONE_MORE))
    injected = sum(len(due) for due in failures.values())
    flaky = Flaky(failures)
    with LocalServer(flaky) as server:
        planner = LLMPlanner(options(server.url, cache=str(tmp_path / "cache")))
        plans = asyncio.run(planner.plan_many(requests))
        assert len(plans) == 100 and injected > 35
        assert len(server.bodies) == planner.totals.requests == 100 + injected
        assert planner.totals.prompt_tokens >= 100 * 100 and planner.totals.cache_hits == 0
        assert flaky.most <= 6
        again = LLMPlanner(options(server.url, cache=str(tmp_path / "cache")))
        assert [plan.condition for plan in asyncio.run(again.plan_many(requests))] == [plan.condition for plan in plans]
        assert len(server.bodies) == 100 + injected and again.totals.cache_hits == 100
        assert all(plan.transcript[-1]["cached"] for plan in asyncio.run(again.plan_many(requests[:3])))


def test_equal_requests_in_flight_are_asked_once(tmp_path: Path) -> None:
    with LocalServer(Flaky({})) as server:
        planner = LLMPlanner(options(server.url, cache=str(tmp_path)))
        asyncio.run(planner.plan_many([hundred()[0]] * 8))
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("turns", "size"), [(5, 25), pytest.param(30, 100, marks=pytest.mark.deep, id="storm")], ids=lambda value: str(value)
)
def test_cache_is_whole_after_kill_9(turns: int, size: int, tmp_path: Path) -> None:
    """A child plans a batch and is killed as the server is asked a random time, while other replies are on their way or being kept: each
    entry is whole or is not there. The moment is a count, so that a slow machine sees the same."""
    rng, folder = random.Random(9), tmp_path / "cache"
    due, child, forked = [0], [0], threading.Event()

    def deadly(body: dict[str, Any], speaker: BaseHTTPRequestHandler) -> str | None:
        forked.wait()
        with flaky.lock:
            due[0] -= 1
            if due[0] == 0:
                os.kill(child[0], signal.SIGKILL)
        return flaky(body, speaker)

    flaky = Flaky({})
    with LocalServer(deadly) as server:
        forked.set()
        asyncio.run(LLMPlanner(options(server.url)).plan_many(hundred()[:2]))  # imports are done before the fork
        counts = []
        for turn in range(turns):
            requests = [replace(request, seed=request.seed + 3 * turn) for request in hundred()[:size]]
            due[0] = rng.randint(2, size)
            forked.clear()
            child[0] = os.fork()
            if child[0] == 0:
                try:
                    asyncio.run(LLMPlanner(options(server.url, cache=str(folder))).plan_many(requests))
                finally:
                    os._exit(0)
            forked.set()
            assert os.WIFSIGNALED(os.waitpid(child[0], 0)[1]), "it was killed before it had all replies"
            entries = list(folder.glob("*/*.json"))
            for entry in entries:
                assert Cache(folder).get(entry.stem) is not None, entry
                json.loads(entry.read_text("utf-8"))
            counts.append(len(entries))
        assert counts == sorted(counts) and counts[-1] > 0
        planner = LLMPlanner(options(server.url, cache=str(folder)))
        assert len(asyncio.run(planner.plan_many(requests))) == size


@pytest.mark.parametrize("moment", ["before the file", "half written", "before it is on the disk", "before its name", "after its name"])
def test_an_entry_is_whole_whenever_its_writer_dies(moment: str, tmp_path: Path) -> None:
    """A child dies at each step of keeping a reply over an older one: the old entry or the new one is there, and no third."""
    key, old, new = "ab" * 32, {"reply": "old"}, {"reply": "new" * 5000}
    Cache(tmp_path).put(key, old)

    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def half(data: Any, file: Any, **_: Any) -> None:
        file.write(json.dumps(data)[:7000])
        file.flush()
        die()

    steps = {
        "before the file": (tempfile, "mkstemp", die),
        "half written": (json, "dump", half),
        "before it is on the disk": (os, "fsync", die),
    }
    steps |= {"before its name": (os, "replace", die)}
    child = os.fork()
    if child == 0:
        try:
            if moment in steps:
                setattr(*steps[moment])
            Cache(tmp_path).put(key, new)
            die()
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert Cache(tmp_path).get(key) == (new if moment == "after its name" else old)
    Cache(tmp_path).put(key, new)
    assert Cache(tmp_path).get(key) == new


def test_damaged_entries_count_as_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("ab" * 32, {"reply": "x"})
    (path,) = tmp_path.glob("*/*.json")
    whole = path.read_text()
    for text in ("", whole[:-5], whole.replace('"x"', '"y"'), "[]", "null", "\x00", "[" * 100_000):
        path.write_text(text)
        assert cache.get("ab" * 32) is None
    path.write_text(whole)
    assert cache.get("ab" * 32) == {"reply": "x"} and cache.get("cd" * 32) is None


def test_a_folder_that_cannot_be_written_to_costs_only_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with LocalServer(Flaky({})) as server:
        planner = LLMPlanner(options(server.url, cache=str(tmp_path / "file")))
        assert planner.plan(hundred()[0]).condition


def canaries(folder: Path) -> list[Path]:
    """Files under a folder that hold the key."""
    return [path for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_the_key_is_written_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """The server sends the key back in errors and in replies. A planted copy shows that the search finds it."""
    caplog.set_level(logging.DEBUG)
    sent: list[str] = []

    def handler(body: dict[str, Any], speaker: BaseHTTPRequestHandler) -> str | None:
        sent.append(str(speaker.headers["Authorization"]))
        label = BY_TEXT[prompt_of(body)]
        good = right_layout(label, 0)
        if len(sent) == 1:
            return next(one.act for one in SCENARIOS if one.name == "server fails: 500")(speaker, body, label, good)
        if len(sent) == 2:
            return f"Your key is {CANARY}."
        return reply_of(good).replace('"background": ""', f'"background": "the key {CANARY}"')

    with LocalServer(handler) as server:
        plan = LLMPlanner(options(server.url, cache=str(tmp_path / "cache"))).plan(hundred()[0])
    assert sent == [f"Bearer {CANARY}"] * 3
    (tmp_path / "plan.json").write_text(json.dumps([plan.condition.model_dump(mode="json"), list(plan.transcript)]))
    out, err = capfd.readouterr()
    (tmp_path / "log").write_text(caplog.text + out + err)
    assert "[key]" in (tmp_path / "plan.json").read_text()
    assert canaries(tmp_path) == []
    (tmp_path / "cache" / "planted").write_text(f"x{CANARY}y")
    assert canaries(tmp_path) == [tmp_path / "cache" / "planted"]
    (tmp_path / "cache" / "planted").unlink()  # tests/canary.py searches the whole session
