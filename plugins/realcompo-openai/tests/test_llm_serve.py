"""The planner against a server that we did not write: `transformers serve`, offline, on loopback, with models of a few kB.

The commands are those that docs/llm-servers.md shows; only the port differs.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llm_parrot
import pytest
from llm_parrot import REPLY, save_parrot, save_random
from realcompo_openai.errors import ReplyProblem, ServerProblem
from realcompo_openai.options import LLMOptions
from realcompo_openai.planner import LLMPlanner

from realcompo.errors import PlanningError
from realcompo.interfaces import PlanRequest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "llm-servers.md"
PROMPT = "a cat and a red balloon on grass"
REQUEST = PlanRequest(PROMPT, (512, 512))
READY = 1200.0
"""Seconds that the server may take to start: it imports torch and transformers, maybe from a cold disk."""


def commands() -> list[list[str]]:
    """The page's three commands as argument lists: write the models, serve, plan."""
    (block,) = re.findall(r"<!-- run: \S*test_llm_serve.py -->\n```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line) for line in block.splitlines()]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server."""
    for needed in ("fastapi", "uvicorn"):
        pytest.importorskip(needed, reason=f"{needed} is not here: pip install -e .[serve]")
    folder = tmp_path_factory.mktemp("serve")
    models, serve, _ = commands()
    assert models[:2] == ["python", str(Path(llm_parrot.__file__).relative_to(ROOT))] and serve[:2] == ["HF_HUB_OFFLINE=1", "transformers"]
    llm_parrot.main(str(folder / models[2]))
    serve[serve.index("--port") + 1] = "0"
    log = folder / "log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "HF_", "PYTEST"))}
    environment = {**kept, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "transformers.cli.transformers", *serve[2:]],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
        )
    try:
        yield _address(server, log)
    finally:
        server.kill()  # it keeps nothing, and would first finish what the last test had no patience for
        server.wait(10)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + READY
    while time.monotonic() < end and server.poll() is None:
        found = re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text(errors="replace"))
        if found:
            return f"{found[1]}/v1"
        time.sleep(0.05)
    raise RuntimeError(f"transformers serve did not start:\n{log.read_text(errors='replace')[-2000:]}")


def planner(url: str, model: Path, **more: Any) -> LLMPlanner:
    return LLMPlanner(LLMOptions(**{"base_url": url, "model": str(model), "cache": "off", "backoff": 0, "timeout": 600, **more}))


def boxes(plan: Any) -> list[tuple[str, tuple[float, ...]]]:
    return [(item.phrase, item.box) for item in plan.condition.items]


def test_the_commands_of_the_page(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from realcompo.cli import app

    monkeypatch.setenv("COLUMNS", "200")
    words = [word.replace("http://127.0.0.1:8000/v1", url) for word in commands()[2]]
    result = CliRunner().invoke(app, [*words[1:], "--set", "planner.options.cache=off"])
    assert result.exit_code == 0, result.output
    assert "layout by openai/planner" in result.output and "0.594" in result.output


def test_a_parrot_yields_exactly_its_layout_and_the_ignored_format_is_reported(url: str, tmp_path: Path) -> None:
    one = planner(url, save_parrot(tmp_path / "parrot"), retries=0)
    plans = [one.plan(PlanRequest(PROMPT, (512, 512), seed=seed)) for seed in range(3)]
    told = [(row["phrase"], (row["x0"], row["y0"], row["x1"], row["y1"])) for row in json.loads(REPLY)["objects"]]
    assert [boxes(plan) for plan in plans] == [told] * 3
    reports = [plan.transcript[-1] for plan in plans]
    assert [report["rung"] for report in reports] == ["schema", "schema", "json"]
    assert [report["notes"] for report in reports] == [["the server ignored the format 'schema'"]] * 2 + [[]]
    assert one.totals.requests == 3 and one.totals.completion_tokens == 6  # the reply is one token, the end another


def test_the_layout_is_the_parrots_own_and_is_judged(url: str, tmp_path: Path) -> None:
    """The control: another parrot, another layout; and one that cannot be right is refused, with its words shown."""
    draw = random.Random(5)
    rows = [
        {"phrase": phrase, "x0": x / 1000, "y0": y / 1000, "x1": (x + 300) / 1000, "y1": (y + 400) / 1000}
        for phrase in ("a red balloon", "a cat")
        for x, y in [(draw.randrange(700), draw.randrange(600))]
    ]
    fenced = f"```json\n{json.dumps({'objects': rows})}\n```"
    found = planner(url, save_parrot(tmp_path / "other", fenced), retries=0).plan(REQUEST)
    assert boxes(found) == [(row["phrase"], (row["x0"], row["y0"], row["x1"], row["y1"])) for row in rows]
    assert found.transcript[-1]["stripped"] == ["code fence"]
    wrong = save_parrot(tmp_path / "wrong", json.dumps({"objects": [{**rows[0], "phrase": "a green dog"}]}))
    with pytest.raises(ReplyProblem, match="a green dog"):
        planner(url, wrong, retries=1).plan(REQUEST)


@pytest.mark.parametrize(
    ("more", "error", "said", "requests"),
    [
        ({"max_tokens": 48, "retries": 1}, ReplyProblem, "cut off at the limit", 2),
        ({"max_tokens": 15_000, "timeout": 1.0, "server_retries": 0}, ServerProblem, "no whole reply within 1 seconds", 1),
    ],
    ids=["nonsense", "too-slow"],
)
def test_a_random_model_ends_in_an_error_of_ours(
    url: str, tmp_path: Path, more: dict[str, Any], error: type[PlanningError], said: str, requests: int
) -> None:
    """After as many requests as it may cost; that it waits no longer than it says is what the second error means: the reply never ends."""
    one = planner(url, save_random(tmp_path / "random"), **more)
    with pytest.raises(error, match=said) as caught:
        one.plan(REQUEST)
    assert one.totals.requests == requests and caught.value.mend


def test_a_model_that_the_server_does_not_have_is_an_error_of_ours(url: str, tmp_path: Path) -> None:
    with pytest.raises(ServerProblem, match="500"):
        planner(url, tmp_path / "nowhere", server_retries=0).plan(REQUEST)
