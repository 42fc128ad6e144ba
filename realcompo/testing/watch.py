"""Looks into a branch from outside: which networks it holds, which hooks are on them, which tensors a value holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_DEPTH = 6
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def networks(thing: Any) -> list[nn.Module]:
    """Every module that can be reached from an object through attributes, lists and tables, each once, in a fixed order."""
    found: dict[int, nn.Module] = {}
    for _, value in _walk(thing, ""):
        if isinstance(value, nn.Module):
            found.update((id(module), module) for module in value.modules())
    return list(found.values())


def tensors(thing: Any) -> dict[str, Tensor]:
    """Path → tensor of every tensor that can be reached from a value; networks are left out."""
    return {path: value for path, value in _walk(thing, "value") if isinstance(value, Tensor)}


def snapshot(thing: Any) -> dict[str, Any]:
    """Path → a copy of every tensor, number and word that can be reached from a value."""
    plain = (bool, int, float, str)
    return {
        path: value.detach().clone() if isinstance(value, Tensor) else value
        for path, value in _walk(thing, "value")
        if isinstance(value, (Tensor, *plain))
    }


def changed(before: Mapping[str, Any], thing: Any) -> list[str]:
    """Paths whose value is no longer what the snapshot holds."""
    after = snapshot(thing)
    return [path for path, value in before.items() if path not in after or not _same(value, after[path])]


def hooks(modules: Sequence[nn.Module]) -> dict[str, int]:
    """How many hooks of each kind are on the modules together."""
    return {kind: sum(len(getattr(module, kind, None) or ()) for module in modules) for kind in _HOOKS}


def condition_of(modules: Sequence[nn.Module]) -> dict[str, Any]:
    """Everything that a use must leave as it was: training flags, and of each parameter its gradient flag, version and .grad."""
    state: dict[str, Any] = {}
    for index, module in enumerate(modules):
        place = f"{index} ({type(module).__name__})"
        state[f"module {place}: children"] = [name for name, _ in module.named_children()]
        state[f"module {place}: training"] = module.training
        for name, parameter in module.named_parameters(recurse=False):
            state[f"module {place}: {name}.requires_grad"] = parameter.requires_grad
            state[f"module {place}: {name}'s values, version"] = parameter._version
            state[f"module {place}: {name}.grad"] = parameter.grad is not None
    return state


@contextmanager
def training(modules: Sequence[nn.Module]) -> Iterator[None]:
    """All modules in training mode and all parameters with gradient, as a user who is training them holds them."""
    flags = [(module, module.training) for module in modules]
    grads = [(p, p.requires_grad) for module in modules for p in module.parameters(recurse=False) if p.is_floating_point()]
    for module, _ in flags:
        module.training = True
    for parameter, _ in grads:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for module, was in flags:
            module.training = was
        for parameter, was in grads:
            parameter.requires_grad_(was)


class Interruption(Exception):
    """What `failing` throws through a network."""


@contextmanager
def failing(module: nn.Module) -> Iterator[None]:
    """The module throws `Interruption` when it is called."""

    def throw(*_: Any) -> None:
        raise Interruption

    handle = module.register_forward_pre_hook(throw)
    try:
        yield
    finally:
        handle.remove()


def called(modules: Sequence[nn.Module], use: Any) -> list[nn.Module]:
    """The leaf modules that run while `use()` does, in order, each once."""
    seen: dict[int, nn.Module] = {}

    def note(module: nn.Module, _: Any) -> None:
        seen.setdefault(id(module), module)

    handles = [module.register_forward_pre_hook(note) for module in modules if not list(module.children())]
    try:
        use()
    finally:
        for handle in handles:
            handle.remove()
    return list(seen.values())


def relative(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest number of the two; numbers that are not finite in both count as equal."""
    both = ~(a.isfinite() | b.isfinite())
    a, b = a.masked_fill(both, 0.0).double(), b.masked_fill(both, 0.0).double()
    size = max(float(a.abs().max()), float(b.abs().max())) if a.numel() else 0.0
    return float((a - b).abs().max()) / size if size else 0.0


def _walk(thing: Any, path: str, depth: int = 0, seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """(path, value) of everything that can be reached; does not enter tensors, networks, classes, functions and modules of Python."""
    seen = set() if seen is None else seen
    if depth > _DEPTH:
        return
    yield path, thing
    if isinstance(thing, (bool, int, float, str, bytes, type(None), Tensor, nn.Module, type)):
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Mapping):
        children = [(f"{path}[{key!r}]", value) for key, value in thing.items()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        children = [(f"{path}[{index}]", value) for index, value in enumerate(thing)]
    else:
        children = [(f"{path}.{name}", value) for name, value in _attributes(thing).items()]
    for where, value in children:
        yield from _walk(value, where, depth + 1, seen)


def _attributes(thing: Any) -> dict[str, Any]:
    if type(thing).__module__.split(".")[0] in ("builtins", "types", "torch", "functools", "threading", "_thread"):
        return {}
    return dict(getattr(thing, "__dict__", {}))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num())
    return type(a) is type(b) and bool(a == b or a != a)
