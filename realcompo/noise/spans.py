"""What a run is doing, told to whoever measures it: `realcompo bench`. To all others it costs a look at a variable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Watch = Callable[[str], AbstractContextManager[None]]
"""Part of a run → what is entered before it and left after it."""

_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)
_NOBODY: AbstractContextManager[None] = nullcontext()


def span(part: str) -> AbstractContextManager[None]:
    """Enter it around a part: "text", "decode", "solver", "predict ID", "probe ID", "move ID"; inside the last two "backward"."""
    watch = _watch.get()
    return _NOBODY if watch is None else watch(part)


def spanned(part: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A function that is a part."""

    def made(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def told(*args: P.args, **more: P.kwargs) -> T:
            with span(part):
                return function(*args, **more)

        return told

    return made


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Runs of this thread tell `watch` their parts meanwhile."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def unheard(part: str) -> AbstractContextManager[None]:
    """A watch that hears nothing: for what is tried before a run and is no part of it."""
    return _NOBODY
