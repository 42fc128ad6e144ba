"""Networks run as a `Runtime` says, and as they were loaded again.

What is compiled, or fused, is only what predicts: maps are read by hooks, which compiled code does not see, so that a reading runs as the
network was written (guard.py), through `to_q` and `to_k`, which fused projections leave where they are.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..errors import BadOption
from ..interfaces import Runtime
from .guard import exclusive

PLAIN = Runtime()
REPEATED = ("BasicTransformerBlock",)
"""What repeats in networks that do not say it themselves (`_repeated_blocks` of diffusers), such as ControlNets."""
ENTRIES = 64
"""Versions of one block that torch may compile: blocks of several widths share code, and past torch's own 8 they run as written."""

_KEPT = "_realcompo_compiled"
_now: weakref.WeakKeyDictionary[nn.Module, Runtime] = weakref.WeakKeyDictionary()
_processors: weakref.WeakKeyDictionary[nn.Module, dict[str, Any]] = weakref.WeakKeyDictionary()


def run_as(network: nn.Module, runtime: Runtime) -> None:
    """Have a network run so from now on, for all who share it. What was compiled is kept: to go back and forth compiles nothing again.

    Raises:
        BadOption: the network has no block that repeats, or no projections that can be fused.
    """
    with exclusive(network):
        before = _now.get(network, PLAIN)
        if runtime == before:
            return
        if runtime.fuse_projections != before.fuse_projections:
            _fuse(network) if runtime.fuse_projections else _part(network)
        if runtime.channels_last != before.channels_last:
            _lay(network, torch.channels_last if runtime.channels_last else torch.contiguous_format)
        if (runtime.compile, runtime.backend) != (before.compile, before.backend):
            _compile(network, runtime)
        _now[network] = runtime


def as_loaded(network: nn.Module) -> None:
    """The network as it was loaded, what was compiled of it forgotten: before it is copied."""
    run_as(network, PLAIN)
    for module in network.modules():
        module.__dict__.pop(_KEPT, None)


def _lay(network: nn.Module, form: torch.memory_format) -> None:
    """By a clone: `Module.to` leaves the strides of 1×1 convolutions, which are of either form, and so the form of what they return."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.clone(memory_format=form)


def _compile(network: nn.Module, runtime: Runtime) -> None:
    for module in network.modules():
        module._compiled_call_impl = None
    if runtime.compile == "none":
        return
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, ENTRIES)
    key = (runtime.compile, runtime.backend)
    for module in _compiled_parts(network, runtime.compile):
        kept = module.__dict__.setdefault(_KEPT, {})
        if key not in kept:
            module.compile(backend=runtime.backend)
            kept[key] = module._compiled_call_impl
        module._compiled_call_impl = kept[key]


def _compiled_parts(network: nn.Module, how: str) -> list[nn.Module]:
    if how == "whole":
        return [network]
    names = getattr(network, "_repeated_blocks", None) or REPEATED
    found = [module for module in network.modules() if type(module).__name__ in names]
    if not found:
        raise BadOption(
            f"a {type(network).__name__} has no block that repeats ({', '.join(names)})",
            where="runtime.compile",
            mend="compile it as a whole: runtime.compile = 'whole'",
        )
    return found


def _fuse(network: Any) -> None:
    """By diffusers' own method; networks without one, such as ControlNets, stay as they are beside those that have it."""
    if not hasattr(network, "fuse_qkv_projections"):
        return
    _processors[network] = dict(network.attn_processors)
    try:
        network.fuse_qkv_projections()
    except ValueError as error:
        raise BadOption(str(error).replace("`", ""), where="runtime.fuse_projections", mend="leave it out") from None


def _part(network: Any) -> None:
    """Undo `_fuse`, and give its weights' memory back."""
    processors = _processors.pop(network, None)
    if processors is None:
        return
    network.set_attn_processor(processors)
    for module in _fused(network):
        module.fused_projections = False
        for name in ("to_qkv", "to_kv", "to_added_qkv"):
            if name in module._modules:
                delattr(module, name)


def _fused(network: nn.Module) -> Iterator[Any]:
    return (module for module in network.modules() if getattr(module, "fused_projections", False))
