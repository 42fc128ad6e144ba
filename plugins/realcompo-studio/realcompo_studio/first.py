"""First times, one after the other.

diffusers and transformers put other objects in the place of their modules while these are imported. A thread that imports one at that
moment is given what was there before, and finds nothing in it. What imports them for the first time therefore does so alone.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

_lock = threading.RLock()
_done: set[Hashable] = set()


@contextmanager
def alone(*key: Hashable) -> Iterator[None]:
    """What is inside is done for the first time while nothing else is; later, whenever. A first time that fails was none."""
    if key in _done:
        yield
        return
    with _lock:
        yield
        _done.add(key)
