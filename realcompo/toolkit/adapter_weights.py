"""What an adapter does to one module's weight: ΔW of LoRA, LoCon, LoHa, LoKr, whole differences, and DoRA's new lengths over any of them.

Shapes: a weight W is (out, in) or (out, in, k, k); r is the rank. All is computed in float32 or more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

KINDS: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    ("LoRA", frozenset({"down", "up"}), frozenset({"mid", "up_bias"})),
    ("LoHa", frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}), frozenset({"hada_t1", "hada_t2"})),
    ("LoKr", frozenset(), frozenset({"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"})),
    ("whole difference", frozenset(), frozenset({"diff", "w_norm"})),
)
"""Kind, the roles that it needs, and those that it may have beside."""

COMMON = frozenset({"alpha", "dora_scale", "magnitude", "diff_b", "b_norm"})
"""Roles that go with any kind."""


class Misfit(ValueError):
    """Tensors that make no change of this weight; says why, in a few words."""


def kind_of(roles: frozenset[str]) -> str:
    """The kind of a module's adapter, whose tensors must be complete.

    Raises:
        Misfit: some are missing, or they are of two kinds.
    """
    found = [kind for kind, needs, may in KINDS if roles & (needs | may)]
    if len(found) > 1:
        raise Misfit(f"it is of two kinds at once ({' and '.join(found)})")
    if not found:
        if roles & {"diff_b", "b_norm"} and not roles & {"dora_scale", "magnitude"}:
            return "whole difference"
        raise Misfit(f"it has {', '.join(sorted(roles))} alone")
    missing = next(needs for kind, needs, _ in KINDS if kind == found[0]) - roles
    if found[0] == "LoKr":
        missing = frozenset(f"lokr_{w}" for w in ("w1", "w2") if f"lokr_{w}" not in roles and not {f"lokr_{w}_a", f"lokr_{w}_b"} <= roles)
    if found[0] == "LoHa" and len(roles & {"hada_t1", "hada_t2"}) == 1:
        missing = frozenset({"hada_t1", "hada_t2"}) - roles
    if missing:
        raise Misfit(f"its {', '.join(sorted(missing))} is missing")
    return found[0]


def delta(kind: str, parts: Mapping[str, Tensor], scale: float, shape: torch.Size) -> Tensor | None:
    """ΔW of a weight's shape, without DoRA; None where only the bias changes.

    Args:
        kind: of `kind_of`.
        parts: role → tensor.
        scale: of `scaling`.
        shape: of W.

    Raises:
        Misfit: another shape.
    """
    makers = {"LoRA": _lora, "LoHa": _loha, "LoKr": _lokr, "whole difference": lambda p: p.get("diff", p.get("w_norm"))}
    try:
        change: Tensor | None = makers[kind](parts)  # type: ignore[no-untyped-call]
    except (RuntimeError, IndexError, ValueError) as error:
        raise Misfit(f"its tensors do not fit each other ({', '.join(f'{k} {tuple(t.shape)}' for k, t in parts.items())})") from error
    if change is None:
        return None
    if not _same(tuple(change.shape), shape):
        raise Misfit(f"it is for a weight of {tuple(change.shape)}, not {tuple(shape)}")
    return change.reshape(shape) * scale


def _same(have: tuple[int, ...], want: torch.Size) -> bool:
    """Equal but for trailing ones: a linear layer may be written as a convolution of one pixel, and its other way round. A product of
    two matrices is (out, in·k·k), which is the weight's own, written flat."""
    plain = tuple(want)
    bare = have[:2] if len(have) == 4 and have[2:] == (1, 1) else have
    flat_want = (plain[0], math.prod(plain[1:])) if len(plain) > 1 else plain
    return bare in (plain, flat_want) or have == plain


def _lora(parts: Mapping[str, Tensor]) -> Tensor:
    up, down = parts["up"], parts["down"]
    if "mid" in parts:  # LoCon in three: down and up are of one pixel, the kernel is in the middle
        return torch.einsum("ijkl,jr,pi->prkl", parts["mid"], down.flatten(1), up.flatten(1))
    product = up.flatten(1) @ down.flatten(1)
    return product.reshape(up.shape[0], *down.shape[1:]) if up.flatten(1).shape[1] == up.shape[1] else product


def _loha(parts: Mapping[str, Tensor]) -> Tensor:
    one, two = (
        torch.einsum("ijkl,jr,ip->prkl", parts[f"hada_t{n}"], parts[f"hada_w{n}_b"], parts[f"hada_w{n}_a"])
        if f"hada_t{n}" in parts
        else parts[f"hada_w{n}_a"] @ parts[f"hada_w{n}_b"]
        for n in (1, 2)
    )
    if one.shape != two.shape:
        raise ValueError("its halves differ")
    return one * two


def _lokr(parts: Mapping[str, Tensor]) -> Tensor:
    one = parts["lokr_w1"] if "lokr_w1" in parts else parts["lokr_w1_a"] @ parts["lokr_w1_b"]
    if "lokr_w2" in parts:
        two = parts["lokr_w2"]
    elif "lokr_t2" in parts:
        two = torch.einsum("ijkl,jr,ip->prkl", parts["lokr_t2"], parts["lokr_w2_b"], parts["lokr_w2_a"])
    else:
        two = parts["lokr_w2_a"] @ parts["lokr_w2_b"]
    return torch.kron(one.reshape(*one.shape, *(1 for _ in range(two.ndim - one.ndim))), two.contiguous())


def rank_of(kind: str, parts: Mapping[str, Any]) -> int | None:
    """The rank that alpha is divided by, from shapes; None where there is none: whole matrices have no rank."""
    if kind == "LoRA":
        return int(parts["down"].shape[0])
    if kind == "LoHa":
        return int(parts["hada_w1_b"].shape[0])
    for role in ("lokr_w2_b", "lokr_w1_b"):
        if kind == "LoKr" and role in parts:
            return int(parts[role].shape[0])
    return None


def dora(weight: Tensor, change: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
    """ΔW of DoRA: m · (W + ΔW) / ‖W + ΔW‖ − W, with a length for each column, as LyCORIS began, or for each row, as PEFT has it.

    Args:
        weight: W.
        change: ΔW without it.
        parts: with ``dora_scale``, (1, in, …) or (out, 1, …), or PEFT's ``magnitude`` of `out` numbers in any shape.

    Raises:
        Misfit: another number of lengths.
    """
    merged = weight + change
    given = parts["magnitude"] if "magnitude" in parts else parts["dora_scale"]
    out, inside = merged.shape[0], merged.shape[1] if merged.ndim > 1 else 1
    columns = "dora_scale" in parts and given.ndim > 1 and given.shape[0] == 1 and given.numel() == inside
    if not columns and (given.numel() != out or (given.ndim > 1 and "dora_scale" in parts and given.shape[0] != out)):
        raise Misfit(f"its DoRA has lengths of {tuple(given.shape)} for a weight of {tuple(weight.shape)}")
    axis = 1 if columns else 0
    others = [n for n in range(merged.ndim) if n != axis]
    norm = merged.pow(2).sum(dim=others, keepdim=True).sqrt().clamp_min(torch.finfo(merged.dtype).eps)
    view = [1] * merged.ndim
    view[axis] = -1
    return merged * (given.reshape(view) / norm) - weight
