"""Events of all jobs, in order, and the streams that follow them.

Events stand in one ring of bounded length. A stream holds no queue of its own, only how far it has read: a slow reader costs no memory, and
one that falls behind the ring, or comes back after the server was started anew, is told how everything stands now.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

LAST = ("done", "failed", "cancelled", "interrupted")
"""Events after which a job has no others."""
QUIET = 15.0
"""Seconds after which a stream says that it is there."""

Say = Callable[[str | None, str | None], Mapping[str, Any]]
"""(job, client) → the data of `state`."""


@dataclass(frozen=True)
class Event:
    """One event: its number, name, job and client (None: of no job), and data as text."""

    number: int
    name: str
    job: str | None
    client: str | None
    data: str


class Hub:
    """Where workers tell, from any thread, and streams listen."""

    def __init__(self, length: int) -> None:
        self.run = secrets.token_hex(4)
        self._ring: deque[Event] = deque(maxlen=length)
        self._lock = threading.Lock()
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: asyncio.Event | None = None
        self._closed = False

    def open(self) -> None:
        """Streams are of the loop that runs now."""
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._wake()

    def tell(self, name: str, data: Mapping[str, Any], *, job: str | None = None, client: str | None = None) -> None:
        """Add an event."""
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        with self._lock:
            self._count += 1
            self._ring.append(Event(self._count, name, job, client, text))
            if job is not None and name in LAST:
                self._ended[job] = self._count
                while len(self._ended) > (self._ring.maxlen or 0):
                    self._ended.popitem(last=False)
        self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(self._turn)
        except RuntimeError:
            return  # it was closed in between: nobody listens any more

    def _turn(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = asyncio.Event()

    def after(self, number: int) -> list[Event] | None:
        """The events after one; None where some of them are gone."""
        with self._lock:
            oldest = self._ring[0].number if self._ring else self._count + 1
            if number > self._count or number < oldest - 1:
                return None
            if number == self._count:
                return []
            return [event for event in self._ring if event.number > number]

    def number_of(self, id: str | None) -> int | None:
        """The number in an id that a stream says it has seen; None where it is of another run, or none."""
        run, _, number = (id or "").partition("-")
        return int(number) if run == self.run and number.isascii() and number.isdigit() and len(number) < 16 else None

    async def stream(self, say: Say, *, seen: str | None, job: str | None = None, client: str | None = None) -> AsyncIterator[bytes]:
        """Server-sent events, as bytes; ends after the last one of a job, if only that is asked for.

        Args:
            say: how things stand.
            seen: id of the last event that the reader has.
            job, client: events of these alone; those of no job go to all.
        """
        number = self.number_of(seen)
        while not self._closed:
            news = self._news
            found = None if number is None else self.after(number)
            if found is None:
                with self._lock:
                    number = self._count
                state = say(job, client)
                yield self._text(number, "state", json.dumps(state, ensure_ascii=False, separators=(",", ":")))
                if job is not None and (over := _over(state, job)) is not None:
                    yield self._text(number, over[0], over[1])
                    return
                continue
            for event in found:
                number = event.number
                if (job not in (None, event.job)) or (client is not None and event.client not in (None, client)):
                    continue
                yield self._text(event.number, event.name, event.data)
                if job is not None and event.name in LAST:
                    return
            last = None if job is None else self._ended.get(job)
            if last is not None and number is not None and number >= last:
                return  # the reader has seen it
            if found or news is None:
                continue
            try:
                await asyncio.wait_for(news.wait(), QUIET)
            except TimeoutError:
                yield b": still here\n\n"

    def _text(self, number: int, name: str, data: str) -> bytes:
        return f"id: {self.run}-{number}\nevent: {name}\ndata: {data}\n\n".encode()


def _over(state: Mapping[str, Any], job: str) -> tuple[str, str] | None:
    """The last event of a job that is over, told again to a stream that comes late."""
    for one in state["jobs"]:
        if one["id"] == job and one["status"] in LAST:
            data = {"job": job, "picture": one["picture"], "error": one["error"], "state": one}
            return one["status"], json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return None
