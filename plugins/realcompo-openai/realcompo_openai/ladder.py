"""How a server is asked: structured output, JSON mode or plain text, and which parameters it takes. Learnt, remembered, reported.

A server says that it cannot do a thing in two ways: with 400 or 422, or by answering 200 and ignoring what was asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import ValidationError

from .cache import Cache, key_of
from .kinds import Extra
from .prompt import Message
from .reply import PARSED, loads
from .schema import reply_model, response_schema

RUNGS = ("schema", "json", "text")
"""Structured output, JSON mode, plain text."""
_TWICE = 2
"""A format that was ignored so often in a row is no longer asked for; once may be a model's bad day."""
_KEPT = 7 * 24 * 3600.0
"""Seconds that a server's manner is remembered: servers are updated."""


@dataclass(frozen=True)
class Manner:
    """How to ask one server for one model.

    Attributes:
        rung: of RUNGS.
        limit: the name under which it takes the longest reply; None: under none.
        dropped: parameters that it refuses.
    """

    rung: int = 0
    limit: str | None = "max_completion_tokens"
    dropped: tuple[str, ...] = ()

    def body(
        self, messages: Sequence[Message], model: str, tokens: int, extras: Mapping[str, Any], beside: Extra = Extra()
    ) -> dict[str, Any]:
        """The body of a request.

        Args:
            tokens: the longest reply.
            extras: temperature and seed, where there are any.
            beside: what is asked of objects beside boxes.
        """
        body: dict[str, Any] = {"model": model, "messages": list(messages)}
        body |= {name: value for name, value in extras.items() if name not in self.dropped}
        if self.limit is not None:
            body[self.limit] = tokens
        if RUNGS[self.rung] == "schema":
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "layout", "strict": True, "schema": response_schema(beside)},
            }
        elif RUNGS[self.rung] == "json":
            body["response_format"] = {"type": "json_object"}
        return body

    def lower(self) -> Manner:
        """A rung lower, if there is one."""
        return replace(self, rung=min(self.rung + 1, len(RUNGS) - 1))

    def after_refusal(self, said: str, sent: Mapping[str, Any]) -> Manner | None:
        """What to try after 400 or 422: without what the server names, else a rung lower, else the bare minimum. None: nothing is left.

        Args:
            said: the body of the error.
            sent: the body of the request.
        """
        said = said.lower()
        if "response_format" in sent and re.search(r"response_format|json_schema|json_object|json mode|structured|grammar", said):
            return self.lower()
        for name in ("temperature", "seed"):
            if name in sent and re.search(rf"\b{name}\b", said):
                return replace(self, dropped=(*self.dropped, name))
        if self.limit is not None and self.limit in said:
            return replace(self, limit={"max_completion_tokens": "max_tokens"}.get(self.limit))
        if self.rung < len(RUNGS) - 1:
            return self.lower()
        if self.limit == "max_completion_tokens":
            return replace(self, limit="max_tokens")
        bare = replace(self, limit=None, dropped=("temperature", "seed"))
        return bare if bare != self else None


class Ladder:
    """Remembers each server's manner: in the process, and in the cache's folder where there is one."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._known: dict[str, Manner] = {}
        self._ignored: dict[tuple[str, int], int] = {}

    def start(self, url: str, model: str) -> Manner:
        """How to ask at first."""
        key = key_of(manner=url, model=model)
        if key not in self._known:
            kept = self._cache.get(key) or {}
            fresh = isinstance(kept.get("at"), (int, float)) and 0 <= time.time() - kept["at"] < _KEPT
            self._known[key] = _manner(kept.get("manner")) if fresh else Manner()
        return self._known[key]

    def worked(self, url: str, model: str, manner: Manner, honoured: bool) -> None:
        """A reply that was asked for in this manner led to a layout; whether its format was the one asked for."""
        key, known = key_of(manner=url, model=model), self.start(url, model)
        spot = (key, manner.rung)
        self._ignored[spot] = 0 if honoured else self._ignored.get(spot, 0) + 1
        if not honoured and self._ignored[spot] >= _TWICE:
            manner = manner.lower()
        lowest = replace(manner, rung=max(manner.rung, known.rung))  # another request in flight may have learnt more
        if lowest != known:
            self._known[key] = lowest
            self._cache.put(key, {"manner": asdict(lowest), "at": time.time()})


def _manner(data: Any) -> Manner:
    try:
        manner = Manner(int(data["rung"]), data["limit"], tuple(data["dropped"]))
    except (KeyError, TypeError, ValueError):
        return Manner()
    known = manner.rung in range(len(RUNGS)) and manner.limit in ("max_completion_tokens", "max_tokens", None)
    return manner if known else Manner()


def honours(rung: int, text: str, beside: Extra = Extra()) -> bool:
    """Whether a reply has the format of a rung, and nothing around it."""
    if RUNGS[rung] == "text":
        return True
    if len(text) > PARSED:
        return False
    try:
        data = loads(text)
        if RUNGS[rung] == "schema":
            reply_model(beside).model_validate(data)
    except (ValueError, ValidationError):
        return False
    return isinstance(data, dict)
