"""Replies of a language model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realcompo.interfaces import PlanRequest, Region
from realcompo.recipes.recipe import PictureEntry, Recipe
from realcompo.recipes.writing import write_recipe

from .mutations import Mutator, json_text


class _Said:
    """A server that says what it is told to."""

    url, requests, repeated = "http://127.0.0.1:9/v1", 0, 0

    def __init__(self) -> None:
        from realcompo_openai.keys import Scrubber

        self.scrub, self.content = Scrubber("no-key-needed"), b""

    async def ask(self, body: Mapping[str, Any]) -> Any:
        from realcompo_openai.client import _answer, _Broken
        from realcompo_openai.errors import ServerProblem

        self.requests += 1
        try:
            return _answer(self.content)
        except _Broken as error:
            raise ServerProblem(error.what, where=self.url, mend=error.mend) from None


class Replies:
    """What a language model says, in the chat completion that brings it; for every kind of condition, with wishes and kept regions."""

    def __init__(self, folder: Path) -> None:
        from realcompo_openai.cache import Cache
        from realcompo_openai.conversation import Conversation
        from realcompo_openai.ladder import Ladder
        from realcompo_openai.options import LLMOptions

        self.server = _Said()
        options = LLMOptions(base_url=self.server.url, retries=1)
        from realcompo_openai.conversation import Totals

        server, cache = self.server, Cache(None)
        self.talk = Conversation(server, options, (), Ladder(cache), cache, Totals())
        self.folder = folder / "replies"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.replies = [
            {
                "objects": [
                    {"phrase": "a cat", "x0": 0.1, "y0": 0.2, "x1": 0.4, "y1": 0.8, "pose": "none", "class": "animal"},
                    {"phrase": "a woman", "x0": 0.5, "y0": 0.1, "x1": 0.9, "y1": 0.9, "pose": "sitting", "class": "person"},
                ],
                "counts": [{"phrase": "a cat", "count": 1}],
                "relations": [{"subject": "a cat", "relation": "left of", "object": "a woman"}],
                "background": "a park",
                "negative": "blur",
                "background_class": "grass",
            },
            {"objects": [{"phrase": "a cat", "box": [51, 102, 205, 410]}, {"phrase": "a woman", "x": 256, "y": 51, "w": 205, "h": 410}]},
        ]
        self.prompts = [
            "a cat left of a woman",
            "a cat left of a woman",
            "a cat and a woman in a park",
            "two cats, a woman on the right and no dogs",
            "three red balloons above a woman between a cat and a dog",
        ]
        self.around = ("```json\n", "```", "<think>", "</think>", "{", "Here is it: ", "\ufeff", '{"objects": []}')

    def make(self, mutator: Mutator) -> tuple[bytes, PlanRequest]:
        text = json_text(mutator.data(mutator.random.choice(self.replies), self.replies), mutator)
        if mutator.random.random() < 0.4:
            text = mutator.words(text, self.around)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        whole = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 9}}
        if mutator.random.random() < 0.15:
            whole = mutator.data(whole)
        body = json.dumps(whole).encode()
        prompt = mutator.random.choice(self.prompts)
        prompt = mutator.words(prompt) if mutator.random.random() < 0.2 else prompt
        kinds = mutator.random.choice((("boxes",), ("keypoints",), ("segmentation",), ("boxes", "keypoints")))
        more: dict[str, Any] = {"kinds": kinds}
        if mutator.random.random() < 0.2:
            cat = Region("a cat", "a cat", box=(0.1, 0.2, 0.4, 0.8))
            more |= {"layout": (cat,), "wish": "move the cat"} if mutator.random.random() < 0.5 else {"keep": (cat,)}
        if mutator.random.random() < 0.2:
            more["vocabulary"] = ("a", "cat", "woman", "red")
        return body, PlanRequest(prompt[:2000], (512, 512), seed=1, **more)

    def feed(self, sample: tuple[bytes, PlanRequest]) -> None:
        self.server.content, request = sample
        plan = asyncio.run(self.talk.plan(request))
        found = plan.conditions if hasattr(plan, "conditions") else {plan.condition.kind: plan.condition}
        conditions = dict(found) if isinstance(found, Mapping) else {one.kind: one for one in found}
        recipe = Recipe(pictures=(PictureEntry(prompt=request.prompt, conditions=conditions, negative_prompt=plan.negative),))
        write_recipe(recipe, self.folder / "planned.toml", [str(one) for one in plan.remarks])
        json.dumps(list(plan.transcript)).encode()
