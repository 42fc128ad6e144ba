"""The planner: one prompt, or a batch with a limit on requests in flight. Imports `openai` when it first plans."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from realcompo import user_settings
from realcompo.conditions import KINDS
from realcompo.errors import BadOption, PlanningError
from realcompo.interfaces import Plan, Planner, PlanRequest
from realcompo.plans.planning import finished
from realcompo.specs import Options

from .cache import Cache
from .errors import shown
from .examples import load_examples
from .grammar import read
from .keys import Scrubber
from .kinds import nobody
from .options import LLMOptions, settled

LONGEST_PROMPT = 8000
"""Characters."""


class LLMPlanner(Planner):
    """Boxes, poses and maps for any prompt, from a language model.

    Attributes:
        options: with the user's ``[llm]`` table beneath them.
        totals: requests, tokens, cache hits since the planner was made.
    """

    options: LLMOptions
    revises = True

    def __init__(self, options: Options | None = None) -> None:
        from .conversation import Totals

        said = options if isinstance(options, LLMOptions) else LLMOptions()
        anchor = Path(Path.cwd().anchor)
        self.options = settled(said, user_settings().llm, user_settings(anchor).llm)
        self.totals = Totals()
        self._examples = load_examples(self.options.examples)
        self._cache = Cache(None if self.options.cache in (None, "off") else Path(self.options.cache))
        from .ladder import Ladder

        self._ladder = Ladder(self._cache)

    def plan(self, request: PlanRequest) -> Plan:
        """See `Planner.plan`. Works inside a running event loop, too (a notebook)."""
        return finished(self.plan_many([request]))[0]

    async def plan_many(self, requests: Sequence[PlanRequest]) -> list[Plan]:
        """Plans of a batch, `max_in_flight` requests at once. Finishes (and caches) all it can before it raises what the first failure was.

        Raises:
            PlanningError: of the first request that failed; says how many did.
        """
        found = await self.try_many(requests)
        failed = [one for one in found if isinstance(one, PlanningError)]
        if failed and len(found) > 1:
            first = failed[0]
            many = type(first)(
                f"{len(failed)} of {len(found)} prompts have no plan; the first: {first.what}", where=first.where, mend=first.mend
            )
            raise many from None
        if failed:
            raise failed[0] from None
        return [one for one in found if isinstance(one, Plan)]

    async def try_many(self, requests: Sequence[PlanRequest]) -> list[Plan | PlanningError]:
        """As `plan_many`, with each failure in its place instead of raised."""
        from .client import Server
        from .conversation import Conversation

        try:
            server = Server(self.options)
        except PlanningError as error:
            return [self._rescue(request, error) for request in requests]
        server.requests, server.repeated = self.totals.requests, self.totals.repeated
        gate = asyncio.Semaphore(self.options.max_in_flight)
        twins: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

        async def one(request: PlanRequest) -> Plan | PlanningError:
            try:
                _check(request)
                async with gate, twins[talk.key(request)]:  # the second of two equal requests finds the first's reply in the cache
                    return await talk.plan(request)
            except PlanningError as error:
                return self._rescue(request, error)

        async with server:
            talk = Conversation(server, self.options, self._examples, self._ladder, self._cache, self.totals)
            return list(await asyncio.gather(*(one(request) for request in requests)))

    def _rescue(self, request: PlanRequest, error: PlanningError) -> Plan | PlanningError:
        """The plan of the fallback, where the user asked for one; else the error."""
        name = self.options.fallback
        if name is None:
            return error
        from realcompo.registry import installed
        from realcompo.specs import PlannerSpec

        if installed().find(PlannerSpec, name).id == "openai/planner":
            raise BadOption("the planner cannot be its own fallback", where="fallback", mend="name another, such as mini/planner")
        other = installed().planner(name)
        if request.wish and not other.revises:
            return error
        try:
            plan = other.plan(request)
        except PlanningError as second:
            return type(error)(f"{error.what}; and the fallback {name}: {second.what}", where=error.where, mend=error.mend)
        note = {"role": "planner", "content": f"the fallback {name} planned this: {shown(error.what, 600)}"}
        return replace(plan, transcript=(note, *plan.transcript), remarks=(note["content"], *plan.remarks))

    def requested(self, request: PlanRequest) -> dict[str, Any]:
        """The first request as a server would be sent it; the key, which goes in a header, is no part of it. Asks no server."""
        from .conversation import opening_body

        _check(request)
        url = str(self.options.base_url)
        body = opening_body(request, self.options, self._examples, self._ladder.start(url, self.options.model))
        clean: dict[str, Any] = Scrubber(os.environ.get(self.options.key_from, "").strip()).data(body)
        return {"method": "POST", "url": f"{url}/chat/completions", "body": clean}


def _check(request: PlanRequest) -> None:
    """Refuse what no model need be asked."""
    where = f"prompt {shown(request.prompt, 80)!r}"
    if not any(letter.isalnum() for letter in request.prompt):
        raise PlanningError("the prompt names nothing", where=where, mend="say in words what the picture shows")
    if len(request.prompt) > LONGEST_PROMPT:
        raise PlanningError(f"the prompt has {len(request.prompt)} characters", where=where, mend=f"at most {LONGEST_PROMPT}")
    strange = [kind for kind in request.kinds if kind not in KINDS]
    if strange:
        raise PlanningError(f"openai/planner plans {', '.join(KINDS)}, not {strange[0]}", where=where, mend="choose another planner")
    if "keypoints" in request.kinds and nobody(read(request.prompt)):
        raise PlanningError(
            "the prompt names no person, and a pose is made of people",
            where=where,
            mend="name a person in the prompt, or give keypoints yourself",
        )
    masks = [region.id for region in (*request.keep, *request.layout) if region.box is None]
    if masks:
        raise PlanningError(f"the region {masks[0]!r} has no box, so it cannot be kept", where=where, mend="give it a box")
    if len(request.wish) > LONGEST_PROMPT:
        raise PlanningError(f"the wish has {len(request.wish)} characters", where=where, mend=f"at most {LONGEST_PROMPT}")
