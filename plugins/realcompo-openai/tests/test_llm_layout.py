"""A layout as a thing to work on, with a server: revised, dry-run, its words used if asked, planned in batches, reproduced without it."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Lock
from time import sleep
from typing import Any

import pytest
from llm_canary import CANARY
from realcompo_openai.conformance import LocalServer, prompt_of, reply_of, send
from realcompo_openai.options import LLMOptions
from realcompo_openai.planner import LLMPlanner

import realcompo as rc
from realcompo.draw import generate, kept
from realcompo.draw.batch import draw
from realcompo.errors import PlanningError, RealCompoError
from realcompo.interfaces import PlanRequest, Region
from realcompo.recipes.configuration import resolve
from realcompo.recipes.recipe import PictureEntry
from realcompo.testing.toys import toy_registry
from tests import lacking

PROMPT = "a cat and a dog"
CAT, DOG = ("a cat", (0.05, 0.3, 0.45, 0.9)), ("a dog", (0.55, 0.3, 0.95, 0.9))
LAYOUT = (Region("a cat", "a cat", box=CAT[1]), Region("a dog", "a dog", box=DOG[1]))


def planner(server: LocalServer, **more: Any) -> LLMPlanner:
    return LLMPlanner(LLMOptions(**{"base_url": server.url, "cache": "off", "backoff": 0, "timeout": 600, "retries": 1, **more}))


# -- wishes ------------------------------------------------------------------------------------------------------------------


def test_a_wish_goes_with_the_layout_and_the_reply_is_checked_as_ever(tmp_path: Path) -> None:
    replies = [reply_of([CAT]), reply_of([CAT, ("a dog", (0.5, 0.3, 0.9, 0.9))])]
    with LocalServer(lambda body, speaker: replies.pop(0)) as server:
        one = planner(server, cache=str(tmp_path / "cache"))
        request = PlanRequest(PROMPT, (512, 512), layout=LAYOUT, wish='move the dog "left"')
        plan = one.plan(request)
        first, second = (body["messages"][-1]["content"] for body in server.bodies)
        assert '"move the dog \\"left\\""' in first and '- "a dog": 0.550, 0.300, 0.950, 0.900' in first
        assert "it needs one box, and you gave 0" in second, "the wish does not take the dog away"
        assert plan.condition.items[1].box[0] == 0.5  # type: ignore[attr-defined]
        assert one.plan(request).condition == plan.condition and len(server.bodies) == 2, "kept"
        replies.append(reply_of([CAT, DOG]))
        assert one.plan(PlanRequest(PROMPT, (512, 512))).condition != plan.condition and len(server.bodies) == 3, "without it another key"


def test_a_wish_may_take_a_thing_away_that_the_prompt_names() -> None:
    with LocalServer(lambda body, speaker: reply_of([CAT])) as server:
        plan = planner(server).plan(PlanRequest(PROMPT, (512, 512), layout=LAYOUT, wish="remove the dog"))
        assert len(plan.condition.items) == 1  # type: ignore[attr-defined]
        with pytest.raises(PlanningError, match="'a dog'"):
            planner(server).plan(PlanRequest(PROMPT, (512, 512), layout=LAYOUT, wish="remove the cat"))


# -- dry run -----------------------------------------------------------------------------------------------------------------


def test_a_dry_run_is_what_would_be_sent_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalServer(lambda body, speaker: reply_of([CAT, DOG])) as server:
        one = planner(server)
        request = PlanRequest(f"{PROMPT} {CANARY}", (512, 512))
        told = one.requested(PlanRequest(PROMPT, (512, 512)))
        assert not server.bodies, "no server is asked"
        one.plan(PlanRequest(PROMPT, (512, 512)))
        assert told == {"method": "POST", "url": f"{server.url}/chat/completions", "body": server.bodies[0]}
        assert CANARY not in json.dumps(one.requested(request)) and "[key]" in json.dumps(one.requested(request))
    monkeypatch.delenv("OPENAI_API_KEY")
    assert LLMPlanner(LLMOptions(base_url="https://llm.example.invalid/v1", cache="off")).requested(request), "it needs no key"


# -- background and negative -------------------------------------------------------------------------------------------------


def recipe(server: LocalServer, use: list[str] | None = None, pictures: list[dict[str, Any]] | None = None, **more: Any) -> rc.Recipe:
    options = {"base_url": server.url, "cache": "off", "backoff": 0, "timeout": 600, "retries": 0, **more}
    data = {
        "branches": ["toy/fidelity", "toy/spatial"],
        "planner": {"name": "openai/planner", "options": options, "use": use or []},
        "pictures": pictures or [{"prompt": PROMPT, "seed": 1}],
        "num_inference_steps": 2,
        "device": "cpu",
    }
    return rc.Recipe.model_validate(data)


@pytest.fixture
def registry() -> Any:
    from importlib.metadata import EntryPoint

    yield toy_registry(EntryPoint("openai", "realcompo_openai", "realcompo"))
    kept._kept = None


def worded(body: dict[str, Any], speaker: BaseHTTPRequestHandler) -> str:
    return reply_of([CAT, DOG]).replace('"background": ""', '"background": "a sunny  park"').replace('"negative": ""', '"negative": "fog"')


def test_its_words_are_used_only_if_the_recipe_asks(registry: Any) -> None:
    with LocalServer(worded) as server:
        plain = generate.run(recipe(server), registry=registry)
        asked = generate.run(recipe(server, ["background", "negative"]), registry=registry)
    assert (plain.recipe.pictures[0].prompt, plain.recipe.pictures[0].negative_prompt) == (PROMPT, "")
    entry = asked.recipe.pictures[0]
    assert (entry.prompt, entry.negative_prompt) == (f"{PROMPT}, a sunny park", "fog")
    assert asked.recipe.planner is not None and asked.recipe.planner.use == ("background", "negative")
    again = rc.Composer.from_recipe(asked.recipe, registry).compose(asked.recipe.pictures)
    assert again.image.tobytes() == asked.image.tobytes() and again.recipe.pictures == asked.recipe.pictures, "not added twice"


# -- many pictures -----------------------------------------------------------------------------------------------------------


class Counting:
    """An honest server that counts what is in flight; `fails` are prompts that it has no layout for."""

    def __init__(self, fails: tuple[str, ...] = ()) -> None:
        self.fails, self.now, self.most, self.asked, self.lock = fails, 0, 0, 0, Lock()

    def __call__(self, body: dict[str, Any], speaker: BaseHTTPRequestHandler) -> str | None:
        with self.lock:
            self.now, self.asked = self.now + 1, self.asked + 1
            self.most = max(self.most, self.now)
        try:
            sleep(0.05)
            prompt = prompt_of(body)
            if prompt in self.fails:
                return "no"
            noun = prompt.split()[1]
            return reply_of([(f"a {noun}", (0.1, 0.1, 0.9, 0.9))])
        finally:
            with self.lock:
                self.now -= 1


NOUNS = ("cat", "dog", "cow", "hen", "pig", "fox", "owl", "bee")


def test_a_batch_is_planned_together_and_goes_on_where_it_stopped(registry: Any, tmp_path: Path) -> None:
    pictures = [{"prompt": f"a {noun}", "seed": n} for n, noun in enumerate(NOUNS)]
    counting = Counting(fails=("a cow",))
    with LocalServer(counting) as server:
        asked = recipe(server, pictures=pictures, max_in_flight=3)
        with pytest.raises(PlanningError, match=r"1 of 8 pictures have no plan.*7 drawn"):
            draw(asked, tmp_path, registry=registry, batch_size=2)
        assert 2 <= counting.most <= 3 and counting.asked == 8, "several at once, never more than asked"
        assert len(list(tmp_path.glob("*.png"))) == 7, "what could be planned is drawn"
        counting.fails = ()
        report = draw(asked, tmp_path, registry=registry)
        assert (len(report.drawn), len(report.kept), counting.asked) == (1, 7, 9), "only what is missing is planned"
    from realcompo.pictures.png import read_recipe

    own = read_recipe(tmp_path / "a-dog.png").facts["plans"]
    assert "a dog" in json.dumps(own) and "a cat" not in json.dumps(own), "each picture carries its own conversation"


def test_a_server_that_is_down_ends_a_batch_at_once(registry: Any, tmp_path: Path) -> None:
    with LocalServer(lambda body, speaker: send(speaker, 401, {})) as server:
        pictures = [{"prompt": f"a cat {n}", "seed": n} for n in range(200)]
        with pytest.raises(PlanningError):
            draw(recipe(server, pictures=pictures, server_retries=0), tmp_path, registry=registry)
        assert len(server.bodies) <= 64


# -- reproduced --------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(lacking("fidelity", "boxes")), reason=lacking("fidelity", "boxes"))
def test_a_planned_picture_is_reproduced_with_the_server_stopped(tmp_path: Path) -> None:
    """Planned through the honest local server, drawn by the mini family; then from the PNG alone, bit for bit."""
    from realcompo_openai.conformance import _honest

    prompt = "a cat and a red balloon on grass"
    with LocalServer(_honest) as server:
        sets = [f"planner.options.base_url='{server.url}'", "planner.options.cache=off"]
        made = rc.generate(prompt, seed=5, sets=sets, planner="openai/planner", num_inference_steps=3, device="cpu")
        assert len(server.bodies) == 1
        made.image.save(tmp_path / "pets.png")
        asked = len(server.bodies)
    with pytest.raises(RealCompoError):  # the control: with the server stopped nothing new can be planned
        rc.generate("a cat and a dog", seed=5, sets=sets, planner="openai/planner", num_inference_steps=3, device="cpu")
    kept._kept = None
    again = rc.reproduce(tmp_path / "pets.png")
    assert again.same and not again.edited and len(server.bodies) == asked
    assert again.result.image.tobytes() == made.image.tobytes()
    assert again.result.recipe.pictures[0].conditions["boxes"].items[0].box == (0.05, 0.4, 0.5, 0.95)


def test_what_only_the_user_may_set_is_not_written_into_a_plan(tmp_path: Path) -> None:
    """`plan -o` writes a recipe that can be run: without the server's address, which a recipe may not set."""
    from realcompo.cli.planned import _shared

    with LocalServer(worded) as server:
        found = resolve(None, sets=["planner=openai/planner", f"planner.options.base_url='{server.url}'"]).recipe
        composer = kept.composer_of(found)
        notes: list[str] = []
        shared = _shared(found, composer, notes)
    assert "base_url" in notes[0] and shared.planner is not None and "base_url" not in shared.planner.options
    assert PictureEntry(prompt="x").conditions == {}
