"""The planner's manners: keys, options, the ladder, coordinates, what is kept, the fallback, the transcript."""

from __future__ import annotations

import asyncio
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from realcompo_openai.conformance import LocalServer, completion, reply_of, send
from realcompo_openai.coordinates import to_boxes
from realcompo_openai.errors import KeyProblem, ReplyProblem, ServerProblem, shown
from realcompo_openai.examples import closest, load_examples, own_examples
from realcompo_openai.keys import PLACEHOLDER, is_loopback, key_for
from realcompo_openai.options import LLMOptions, settled
from realcompo_openai.planner import LLMPlanner
from realcompo_openai.reply import RawObject, Unreadable, parse_reply
from realcompo_openai.schema import response_schema
from realcompo_openai.validate import validate

from realcompo.errors import BadOption, PlanningError, UnknownName
from realcompo.interfaces import PlanRequest, Region
from realcompo.testing.common import imported_by

PROMPT = "a cat and a dog"
GOOD = reply_of([("a cat", (0.05, 0.3, 0.45, 0.9)), ("a dog", (0.55, 0.3, 0.95, 0.9))])
REQUEST = PlanRequest(PROMPT, (512, 512))


def planner(server: LocalServer, **more: Any) -> LLMPlanner:
    return LLMPlanner(LLMOptions(**{"base_url": server.url, "cache": "off", "backoff": 0, "timeout": 600, "retries": 2, **more}))


def honest(body: dict[str, Any], speaker: BaseHTTPRequestHandler) -> str:
    return GOOD


def test_declaring_imports_nothing_heavy() -> None:
    assert not imported_by("realcompo_openai", ("torch", "diffusers", "transformers", "openai", "httpx2"))


def test_contract_of_planners() -> None:
    from realcompo.testing import run

    assert run("openai/planner", extra_args=["-k", "kept or limit or valid"]) == 0


# -- the ladder --------------------------------------------------------------------------------------------------------------


def test_asks_for_structured_output_first() -> None:
    with LocalServer(honest) as server:
        plan = planner(server).plan(REQUEST)
        (body,) = server.bodies
    assert body["response_format"]["json_schema"]["strict"] is True
    assert body["seed"] == 0 and body["temperature"] == 0.3 and body["max_completion_tokens"] == 2000
    assert plan.transcript[-1]["rung"] == "schema" and plan.transcript[-1]["notes"] == []
    assert "512 pixels wide" in body["messages"][0]["content"]


def test_schema_is_of_the_strict_kind() -> None:
    def walk(part: Any) -> None:
        if isinstance(part, dict):
            assert "prefixItems" not in part and "default" not in part
            if part.get("type") == "object":
                assert part["additionalProperties"] is False and set(part["required"]) == set(part["properties"])
            for one in part.values():
                walk(one)
        elif isinstance(part, list):
            for one in part:
                walk(one)

    schema = response_schema()
    walk(schema)
    assert set(schema["$defs"]["PlacedObject"]["properties"]) == {"phrase", "x0", "y0", "x1", "y1"}


def test_steps_down_on_400_and_remembers_it_on_disk(tmp_path: Path) -> None:
    def picky(body: dict[str, Any], speaker: BaseHTTPRequestHandler) -> str | None:
        if "response_format" not in body:
            return GOOD
        send(speaker, 400, {"error": {"message": "response_format is not supported"}})
        return None

    with LocalServer(picky) as server:
        plan = planner(server, cache=str(tmp_path)).plan(REQUEST)
        assert len(server.bodies) == 3 and plan.transcript[-1]["rung"] == "text"
        assert [note for note in plan.transcript[-1]["notes"] if "format: schema → json" in note]
        another = planner(server, cache=str(tmp_path)).plan(PlanRequest(PROMPT, (512, 512), seed=1))
        assert len(server.bodies) == 4 and another.transcript[-1]["rung"] == "text"


def test_a_200_that_ignores_the_format_is_told_apart_and_remembered() -> None:
    with LocalServer(lambda body, speaker: f"```json\n{GOOD}\n```") as server:
        one = planner(server)
        plans = [one.plan(PlanRequest(PROMPT, (512, 512), seed=seed)) for seed in range(6)]
    rungs = [plan.transcript[-1]["rung"] for plan in plans]
    assert rungs == ["schema", "schema", "json", "json", "text", "text"]
    assert "the server ignored the format 'schema'" in plans[0].transcript[-1]["notes"]
    assert plans[-1].transcript[-1]["notes"] == []


@pytest.mark.parametrize("refused", ["temperature", "seed", "max_completion_tokens"])
def test_parameters_that_are_refused_are_dropped_and_reported(refused: str) -> None:
    def picky(body: dict[str, Any], speaker: BaseHTTPRequestHandler) -> str | None:
        if refused not in body:
            return GOOD
        send(speaker, 400, {"error": {"message": f"Unsupported parameter: '{refused}' is not supported with this model."}})
        return None

    with LocalServer(picky) as server:
        plan = planner(server).plan(REQUEST)
        last = server.bodies[-1]
    assert plan.transcript[-1]["rung"] == "schema" and len(server.bodies) == 2
    assert ("max_tokens" in last) == (refused == "max_completion_tokens")
    assert plan.transcript[-1]["notes"]


def test_what_was_wrong_is_told_to_the_model() -> None:
    replies = [reply_of([("a cat", (0.1, 0.1, 0.4, 0.4))]), GOOD]

    with LocalServer(lambda body, speaker: replies.pop(0)) as server:
        plan = planner(server).plan(REQUEST)
        told = server.bodies[1]["messages"]
    assert "'a dog': it needs one box, and you gave 0" in told[-1]["content"] and told[-2]["role"] == "assistant"
    assert [one["role"] for one in plan.transcript][-4:] == ["assistant", "user", "assistant", "planner"]


def test_cut_replies_get_more_room() -> None:
    def short(body: dict[str, Any], speaker: BaseHTTPRequestHandler) -> str | None:
        if body["max_completion_tokens"] >= 4000:
            return GOOD
        send(speaker, 200, completion(GOOD[:40], "length"))
        return None

    with LocalServer(short) as server:
        planner(server).plan(REQUEST)
        assert [body["max_completion_tokens"] for body in server.bodies] == [2000, 4000]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("length", completion("{", "length")),
        ("refusal", completion(None, refusal="I will not.")),
        ("null", completion(None)),
        ("layout", completion("no")),
    ],
)
def test_endings_are_told_apart(kind: str, data: dict[str, Any]) -> None:
    with LocalServer(lambda body, speaker: send(speaker, 200, data)) as server, pytest.raises(ReplyProblem) as caught:
        planner(server, retries=1).plan(REQUEST)
    assert caught.value.kind == kind and (
        kind in ("null", "length") or data["choices"][0]["message"].get("refusal", "no") in caught.value.what
    )


def test_long_waits_are_told_not_slept() -> None:
    with (
        LocalServer(lambda body, speaker: send(speaker, 429, {}, {"Retry-After": "3600"})) as server,
        pytest.raises(ServerProblem, match="3600"),
    ):
        planner(server).plan(REQUEST)


# -- keys and options --------------------------------------------------------------------------------------------------------


def test_placeholder_goes_to_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert key_for("http://localhost:1/v1", "OPENAI_API_KEY") == key_for("http://[::1]:1/v1", "X_KEY") == PLACEHOLDER
    with LocalServer(honest) as server:
        planner(server).plan(REQUEST)
        assert server.headers[0]["authorization"] == f"Bearer {PLACEHOLDER}"
    far = LLMPlanner(LLMOptions(base_url="https://llm.example.invalid/v1", cache="off"))
    with pytest.raises(KeyProblem, match="OPENAI_API_KEY"):
        far.plan(REQUEST)
    assert not any(is_loopback(url) for url in ("http://127.0.0.1.example.invalid", "http://10.0.0.1", "http://localhost.example.invalid"))


def test_a_broken_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-part one\nsk-part two")
    with pytest.raises(KeyProblem) as caught:
        key_for("https://api.openai.com/v1", "OPENAI_API_KEY")
    assert "part" not in str(caught.value)


def test_the_users_table_lies_beneath_the_options() -> None:
    user = {"base_url": "http://localhost:8000/v1/", "model": "theirs", "retries": 1}
    found = settled(LLMOptions(model="ours"), user)
    assert (found.base_url, found.model, found.retries) == ("http://localhost:8000/v1", "ours", 1)
    for table, error in (({"modle": "x"}, UnknownName), ({"api_key": "sk-x"}, BadOption), ({"retries": "x"}, BadOption)):
        with pytest.raises(error):
            settled(LLMOptions(), table)
    for url in ("ftp://x", "localhost:8000", "http://user:secret@host/v1", "http://host/v1?key=secret"):
        with pytest.raises(BadOption) as caught:
            settled(LLMOptions(base_url=url), {})
        assert "secret" not in str(caught.value)


def test_a_strangers_files_do_not_move_the_key(tmp_path: Path) -> None:
    from realcompo.recipes.configuration import resolve

    recipe = tmp_path / "scene.toml"
    recipe.write_text('planner = { name = "openai/planner", options = { base_url = "https://evil.example.invalid/v1" } }\n')
    with pytest.raises(BadOption, match="base_url"):
        resolve(recipe)
    (tmp_path / "realcompo.toml").write_text('[llm]\nbase_url = "https://evil.example.invalid/v1"\n')
    with pytest.raises(BadOption, match="project file"):
        LLMPlanner()


# -- reading replies ---------------------------------------------------------------------------------------------------------


def test_coordinates_are_converted_under_one_reading_only() -> None:
    def raw(*rows: tuple[float, ...], form: str = "corners") -> list[RawObject]:
        return [RawObject("x", (a, b, c, d), form) for a, b, c, d in rows]

    pixels = raw((100, 100, 1200, 700), (50, 60, 300, 400))
    boxes, reading = to_boxes(pixels, (1024, 2048))
    assert reading == "pixels x0 y0 x1 y1" and boxes[0] == (100 / 2048, 100 / 1024, 1200 / 2048, 700 / 1024)
    assert to_boxes(raw((10, 20, 900, 950)), (512, 512))[1] == "0-1000 x0 y0 x1 y1"
    assert to_boxes(raw((0.5, 0.5, 0.3, 0.2), form="list"), (512, 512)) == ([(0.5, 0.5, 0.8, 0.7)], "shares x y width height")
    for several in (raw((10, 20, 400, 500)), raw((0.1, 0.1, 0.5, 0.5), form="list"), raw((0.6, 0.7, 0.2, 0.3))):
        with pytest.raises(Unreadable):
            to_boxes(several, (512, 512))


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"objects": 1}', '{"objects": [1]}', '{"objects": [{"phrase": ""}]}',
                                  '{"objects": [{"phrase": "a", "x0": true, "y0": 0, "x1": 1, "y1": 1}]}', "<think>",
                                  "```json\n```", "{" * 3000,
                                  '{"objects": [{"phrase": "a", "x0": ' + "9" * 5000 + ', "y0": 0, "x1": 1, "y1": 1}]}'])  # fmt: skip
def test_unreadable_replies_are_one_error(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_reply(text)


def test_foreign_text_cannot_write_to_the_terminal() -> None:
    assert shown("\x1b[2Jhi\u202e\ud800") == "�[2Jhi��"


# -- prompts, examples, keeping ----------------------------------------------------------------------------------------------


def test_own_examples_are_valid_and_picked_by_likeness(tmp_path: Path) -> None:
    for example in own_examples():
        assert not validate(parse_reply(example.reply()), PlanRequest(example.prompt, (512, 512)), 60).problems
    assert "two foxes" in closest("three cats and two dogs", own_examples(), 1)[0].prompt
    assert "between" in closest("a cup between two plates", own_examples(), 1)[0].prompt
    file = tmp_path / "mine.toml"
    file.write_text('[[example]]\nprompt = "a zebra"\nobjects = [["a zebra", 0.1, 0.1, 0.9, 0.9]]\n')
    assert load_examples(str(file))[0].prompt == "a zebra"
    with LocalServer(honest) as server:
        planner(server, examples=str(file)).plan(REQUEST)
        assert any("a zebra" in one["content"] for one in server.bodies[0]["messages"])
    for text in ("", "x = 1", "[[example]]\nprompt = 3", '[[example]]\nprompt = "x"\nobjects = [["x", 1]]'):
        file.write_text(text)
        with pytest.raises(BadOption):
            load_examples(str(file))


def test_limits_and_vocabulary_are_stated_and_kept() -> None:
    request = PlanRequest(PROMPT, (512, 512), max_objects=5, vocabulary=("a", "cat", "and"))
    with LocalServer(honest) as server:
        with pytest.raises(PlanningError, match="'dog', which the models do not know"):
            planner(server).plan(request)
        said = server.bodies[0]["messages"][0]["content"]
    assert "At most 5 objects" in said and "a, cat, and" in said


def test_what_is_kept_stays_and_the_rest_is_planned() -> None:
    kept = Region("pet", "a cat", box=(0.6, 0.2, 0.9, 0.8))
    only = reply_of([("a dog", (0.05, 0.3, 0.4, 0.9))])
    with LocalServer(lambda body, speaker: only) as server:
        plan = planner(server).plan(PlanRequest(PROMPT, (512, 512), keep=(kept,)))
        assert "do not repeat them" in server.bodies[0]["messages"][-1]["content"]
    items = plan.condition.items  # type: ignore[attr-defined]
    assert (items[0].id, items[0].phrase, items[0].box) == ("pet", "a cat", (0.6, 0.2, 0.9, 0.8)) and len(items) == 2


def test_works_inside_a_running_loop() -> None:
    async def notebook(one: LLMPlanner) -> Any:
        return one.plan(REQUEST)

    with LocalServer(honest) as server:
        assert asyncio.run(notebook(planner(server))).condition


def test_batch_errors_say_how_many() -> None:
    def half(body: dict[str, Any], speaker: BaseHTTPRequestHandler) -> str:
        return GOOD

    with LocalServer(half) as server, pytest.raises(PlanningError, match="1 of 2 prompts have no plan"):
        asyncio.run(planner(server).plan_many([REQUEST, PlanRequest("a horse", (512, 512))]))


def test_fallback_only_if_asked() -> None:
    from realcompo.registry import installed

    with LocalServer(lambda body, speaker: "no") as server:
        with pytest.raises(ReplyProblem):
            planner(server, retries=0).plan(REQUEST)
        if "mini/planner" not in installed().planners:
            pytest.skip("the offline planner is not installed")
        plan = planner(server, retries=0, fallback="mini/planner").plan(REQUEST)
    assert "fallback mini/planner" in plan.transcript[0]["content"]
    assert json.loads(json.dumps(plan.transcript)) == list(plan.transcript)
