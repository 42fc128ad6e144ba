"""One prompt's conversation: ask, check, say what was wrong, ask again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from realcompo.interfaces import Plan, PlanRequest
from realcompo.plans.from_boxes import plan_of

from .cache import Cache, key_of
from .client import Answer, Refused, Server, TooLong
from .errors import ReplyProblem, ServerProblem, shown
from .examples import Example, closest
from .keys import Scrubber
from .kinds import extra_of
from .ladder import RUNGS, Ladder, Manner, honours
from .options import LLMOptions
from .prompt import Message, complaint, messages
from .reply import RawReply, Unreadable, parse_reply
from .validate import Verdict, validate

_ADAPTATIONS = 8
"""How often one request is changed because a server refuses its form."""
_LARGEST = 4
"""How many times the limit of tokens may grow where replies are cut off."""


@dataclass
class Totals:
    """What planning has cost.

    Attributes:
        requests: sent, all told. repeated: because a server was busy or broken. asked_again: because a reply was no valid layout.
        cache_hits: plans that no server was asked for.
        prompt_tokens, completion_tokens: as the server counts them.
    """

    requests: int = 0
    repeated: int = 0
    asked_again: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class _Course:
    """How one conversation went: for the transcript."""

    manner: Manner
    tokens: int
    said: list[Message]
    notes: list[str] = field(default_factory=list)
    requests: int = 0
    used: tuple[int, int] = (0, 0)
    grown: int = 1
    last: str = ""
    kind: str = "layout"


class Conversation:
    """Plans one request with one server.

    Args:
        server: open.
        options: settled.
        examples: to choose from.
    """

    def __init__(
        self, server: Server, options: LLMOptions, examples: Sequence[Example], ladder: Ladder, cache: Cache, totals: Totals
    ) -> None:
        self.server, self.options, self.examples = server, options, examples
        self.ladder, self.cache, self.totals = ladder, cache, totals

    def opening(self, request: PlanRequest) -> list[Message]:
        """The messages that a request begins with."""
        return _opening(request, self.options, self.examples)

    def extras(self, request: PlanRequest) -> dict[str, Any]:
        """Temperature and seed, as the first request has them."""
        return _extras(request, self.options)

    def key(self, request: PlanRequest) -> str:
        """The cache's key: all that decides a reply, and whether it is believed."""
        return key_of(
            url=self.server.url,
            model=self.options.model,
            messages=self.opening(request),
            extras=self.extras(request),
            tokens=self.options.max_tokens,
            prompt=request.prompt,
            size=request.size,
            most=request.max_objects or self.options.max_objects,
            vocabulary=request.vocabulary,
            keep=[(region.id, region.phrase, region.box, region.span) for region in request.keep],
            **({"layout": [(region.phrase, region.box) for region in request.layout], "wish": request.wish} if request.wish else {}),
            **({"kinds": request.kinds, "classes": request.classes} if request.kinds != ("boxes",) else {}),
        )

    async def plan(self, request: PlanRequest) -> Plan:
        """A valid plan.

        Raises:
            ReplyProblem: no reply was one. ServerProblem, KeyProblem.
        """
        key = self.key(request)
        kept = self._from_cache(key, request)
        if kept is not None:
            return kept
        course = _Course(self.ladder.start(self.server.url, self.options.model), self.options.max_tokens, self.opening(request))
        problems: tuple[str, ...] = ()
        for attempt in range(self.options.retries + 1):
            self.totals.asked_again += attempt > 0
            verdict, reply = await self._attempt(request, course)
            if not verdict.problems:
                return self._accept(key, request, course, verdict, reply)
            problems = verdict.problems
        raise self._failed(request, course, problems)

    async def _attempt(self, request: PlanRequest, course: _Course) -> tuple[Verdict, RawReply]:
        """One reply, judged. What is wrong with it is added to the conversation."""
        nothing = RawReply(())
        course.kind = "layout"
        try:
            answer = await self._ask(request, course)
        except TooLong:
            course.last = "(more than 10 MB)"
            return self._again(course, "", ["the reply was far too long; a layout is short"]), nothing
        text = answer.text
        course.last = self.server.scrub.text(text or answer.refusal or "")
        if answer.refusal is not None:
            course.kind = "refusal"
            return self._again(course, answer.refusal, ["you refused; only a layout of boxes is asked for, no picture"]), nothing
        if answer.cut:
            course.kind = "length"
            if course.grown < _LARGEST:
                course.grown *= 2
            course.notes.append("a reply was cut off at the limit of tokens; the limit was raised")
            return self._again(course, "", ["your answer was cut off: answer shorter, the JSON object only, without white space"]), nothing
        if text is None:
            course.kind = "null"
            return self._again(course, "", ["your answer was empty"]), nothing
        rung, honoured = course.manner.rung, honours(course.manner.rung, text, extra_of(request))
        if not honoured:
            course.notes.append(f"the server ignored the format {RUNGS[rung]!r}")
        try:
            reply = parse_reply(text)
        except Unreadable as error:
            if not honoured:
                course.manner = course.manner.lower()
            return self._again(course, text, [str(error)]), nothing
        verdict = validate(reply, request, self.options.max_objects)
        if verdict.problems:
            return self._again(course, text, verdict.problems, verdict), reply
        self.ladder.worked(self.server.url, self.options.model, course.manner, honoured)
        course.said.append({"role": "assistant", "content": text})
        return verdict, reply

    def _again(self, course: _Course, text: str, problems: Sequence[str], verdict: Verdict | None = None) -> Verdict:
        """Say what was wrong. A long reply is not sent back whole: the model knows what it said."""
        if text:
            course.said.append({"role": "assistant", "content": shown(text, 4000)})
        course.said.append(complaint(problems))
        return Verdict(problems=tuple(problems), warnings=verdict.warnings if verdict is not None else ())

    async def _ask(self, request: PlanRequest, course: _Course) -> Answer:
        """One answer, in the highest manner that the server takes."""
        refused: Refused | None = None
        for _ in range(_ADAPTATIONS):
            tokens = course.tokens * course.grown
            body = course.manner.body(course.said, self.options.model, tokens, self.extras(request), extra_of(request))
            try:
                answer = await self.server.ask(body)
            except Refused as error:
                refused = error
                lower = course.manner.after_refusal(error.said, body)
                course.requests += 1
                if lower is None:
                    break
                course.notes.append(f"the server refused ({error.status}); {_change(course.manner, lower)}")
                course.manner = lower
                continue
            finally:
                self.totals.requests, self.totals.repeated = self.server.requests, self.server.repeated
            course.requests += 1
            course.used = (course.used[0] + answer.tokens[0], course.used[1] + answer.tokens[1])
            self.totals.prompt_tokens += answer.tokens[0]
            self.totals.completion_tokens += answer.tokens[1]
            return answer
        said = shown(refused.said, 300) if refused is not None else ""
        raise ServerProblem(
            f"it takes no form of the request ({refused.status if refused else 400}: {said})",
            where=self.server.url,
            mend=f"does it serve the model {self.options.model!r}? is the prompt too long for it?",
        )

    # -- endings ---------------------------------------------------------------------------------------------------------

    def _accept(self, key: str, request: PlanRequest, course: _Course, verdict: Verdict, reply: RawReply) -> Plan:
        scrub = self.server.scrub
        report = {
            "role": "planner",
            "content": f"{len(verdict.items)} boxes by {self.options.model} at {self.server.url}",
            "rung": RUNGS[course.manner.rung],
            "dropped": list(course.manner.dropped),
            "converted": verdict.converted,
            "stripped": list(reply.stripped),
            "notes": list(dict.fromkeys(course.notes)),
            "warnings": list(verdict.warnings),
            "requests": course.requests,
            "tokens": {"prompt": course.used[0], "completion": course.used[1]},
            "background": reply.background,
            "negative": reply.negative,
            "cached": False,
        }
        transcript = [dict(one) for one in course.said] + [report]
        clean = scrub.data(transcript)
        self.cache.put(key, {"reply": scrub.text(course.said[-1]["content"]), "transcript": clean})
        return _plan(request, verdict, reply, clean, scrub)

    def _from_cache(self, key: str, request: PlanRequest) -> Plan | None:
        """The plan that a kept reply leads to; it is judged again, so that a stricter check is not passed by an old reply."""
        entry = self.cache.get(key)
        if entry is None or not isinstance(entry.get("reply"), str) or not isinstance(entry.get("transcript"), list):
            return None
        try:
            reply = parse_reply(entry["reply"])
            verdict = validate(reply, request, self.options.max_objects)
        except Unreadable:
            return None
        transcript = [one for one in entry["transcript"] if isinstance(one, dict)]
        if verdict.problems or not transcript:
            return None
        self.totals.cache_hits += 1
        transcript[-1] = {**transcript[-1], "cached": True}
        return _plan(request, verdict, reply, transcript, self.server.scrub)

    def _failed(self, request: PlanRequest, course: _Course, problems: Sequence[str]) -> ReplyProblem:
        replies = self.options.retries + 1
        what = {
            "refusal": "the model refuses",
            "length": "the replies are cut off at the limit of tokens",
            "null": "the model answers nothing",
        }.get(course.kind, "no reply was a valid layout")
        mend = {
            "refusal": "word the prompt otherwise, or use another model",
            "length": "raise max_tokens: a model that thinks first needs more",
        }.get(course.kind, f"use a larger model, raise retries, or give {' and '.join(request.kinds)} yourself")
        last = f"; its last reply: {shown(course.last, 300)}" if course.last else ""
        error = ReplyProblem(
            f"{what} ({'one reply' if replies == 1 else f'{replies} replies'}): {shown('; '.join(problems), 600)}{last}",
            where=f"prompt {shown(request.prompt, 80)!r}",
            mend=mend,
        )
        error.kind = course.kind
        return error


def opening_body(request: PlanRequest, options: LLMOptions, examples: Sequence[Example], manner: Manner) -> dict[str, Any]:
    """The body of the first request of a conversation."""
    opening = _opening(request, options, examples)
    return manner.body(opening, options.model, options.max_tokens, _extras(request, options), extra_of(request))


def _opening(request: PlanRequest, options: LLMOptions, examples: Sequence[Example]) -> list[Message]:
    most = request.max_objects if request.max_objects is not None else options.max_objects
    fitting = [one for one in examples if one.classed(extra_of(request).classes)]
    return messages(request, closest(request.prompt, fitting, options.examples_shown), most)


def _extras(request: PlanRequest, options: LLMOptions) -> dict[str, Any]:
    seed = request.seed if options.seed is None else options.seed
    told: dict[str, Any] = {"seed": seed % 2**63}
    return told if options.temperature is None else {**told, "temperature": options.temperature}


def _plan(request: PlanRequest, verdict: Verdict, reply: RawReply, transcript: Sequence[dict[str, Any]], scrub: Scrubber) -> Plan:
    return plan_of(
        verdict.items,
        request,
        backdrop=verdict.backdrop,
        transcript=tuple(transcript),
        background=scrub.text(reply.background),
        negative=scrub.text(reply.negative),
        remarks=verdict.warnings,
    )


def _change(before: Manner, after: Manner) -> str:
    """What was changed in the manner of asking."""
    changes = []
    if before.rung != after.rung:
        changes.append(f"format: {RUNGS[before.rung]} → {RUNGS[after.rung]}")
    if before.limit != after.limit:
        changes.append(f"limit: {before.limit} → {after.limit or 'none'}")
    if before.dropped != after.dropped:
        changes.append(f"left out: {', '.join(after.dropped)}")
    return "; ".join(changes)
