"""What lets a network be borrowed: one user at a time, and every parameter handed back as it was."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

_locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_registry_lock = threading.Lock()


@contextmanager
def exclusive(network: nn.Module) -> Iterator[None]:
    """One thread at a time: while one reads maps, its hooks must not see (or stop) another's forward pass. The same thread
    may nest."""
    with _registry_lock:
        lock = _locks.setdefault(network, threading.RLock())
    with lock:
        yield


def share_lock(network: nn.Module, other: nn.Module) -> None:
    """Of two networks that hold the same parameters, one runs at a time: `frozen` in one is felt in the other."""
    with _registry_lock:
        _locks[other] = _locks.setdefault(network, threading.RLock())


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Parameters without gradient, so that a graph holds only what leads to z; afterwards each is as it was."""
    awake = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in awake:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in awake:
            parameter.requires_grad_(True)


def bare(network: Any) -> nn.Module:
    """The module under torch.compile's wrapper: hooks on the wrapped one fire, on compiled code they may not."""
    inner: nn.Module = getattr(network, "_orig_mod", network)
    return inner


@contextmanager
def eager(network: nn.Module) -> Iterator[None]:
    """Whatever torch.compile made of a network or of its layers runs as it was written: hooks that come after compiling are not seen by
    compiled code, which leaves them out silently."""
    if not any(getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod") for module in network.modules()):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
