"""Weights in eight bits (fp8), as people with small cards pass them around: plain, or with a scale beside each.

W = scale · W₈. ComfyUI's layouts name the scale ``….scale_weight`` (with an empty tensor ``scaled_fp8`` that says so) or ``….weight_scale``
(with a note ``….comfy_quant``); scales of what goes *into* a layer (``scale_input``, ``input_scale``) only matter to kernels that compute
in eight bits, and are left. Numbers are widened when they are read: nothing here computes in eight bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import BadCheckpoint

FLOATS = frozenset({"", "F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
"""How safetensors call the numbers that weights are read from; "" where a file does not say."""

_EIGHT = ("F8_E4M3", "F8_E5M2")
_SCALES = (".scale_weight", ".weight_scale")
_NOTES = (".scale_input", ".input_scale", ".comfy_quant")
_MARK = "scaled_fp8"


def find_scales(shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, str], where: str) -> tuple[dict[str, str], frozenset[str]]:
    """(name of a tensor in eight bits → that of its scale; names that are no weights but scales, notes and marks).

    Raises:
        BadCheckpoint: a scale does not fit its tensor: one number, or one a row, is what it may be.
    """
    scales: dict[str, str] = {}
    marks = set()
    for name in shapes:
        if name.rpartition(".")[2] == _MARK:
            marks.add(name)
            continue
        ending = next((one for one in (*_SCALES, *_NOTES) if name.endswith(one)), None)
        weight = None if ending is None else f"{name.removesuffix(ending)}.weight"
        if weight is None or dtypes.get(weight) not in _EIGHT:
            continue
        marks.add(name)
        if ending not in _SCALES:
            continue
        if weight in scales:
            raise BadCheckpoint(
                f"{weight!r} has two scales, {scales[weight]!r} and {name!r}", where=where, mend="choose the file in float16 or bfloat16"
            )
        numbers, rows = _count(shapes[name]), shapes[weight][0] if shapes[weight] else 1
        if numbers not in (1, rows) or dtypes[name] not in ("F64", "F32", "F16", "BF16"):
            raise BadCheckpoint(
                f"the scale {name!r} of shape {shapes[name]} ({dtypes[name]}) is not one number, or one for each row of its weight "
                f"{shapes[weight]}",
                where=where,
                mend="choose the file in float16 or bfloat16: its weights are quantised in blocks",
            )
        scales[weight] = name
    fronts = {name.partition(".")[0] for name in scales}
    lost = sorted(n for n in shapes if n not in scales and n not in marks and dtypes.get(n) in _EIGHT and n.partition(".")[0] in fronts)
    if lost:
        raise BadCheckpoint(
            f"{len(lost)} of its tensors in eight bits have no scale beside them, as the others have, among them {lost[0]!r}",
            where=where,
            mend="a part of it is gone: fetch or copy it again",
        )
    return scales, frozenset(marks)


def widened(tensor: Any, scale: Any = None) -> Any:
    """A tensor in eight bits as float16, which holds each of its values, or times its scale as float32; any other as it is."""
    import torch

    if tensor.dtype not in (torch.float8_e4m3fn, torch.float8_e5m2):
        return tensor
    if scale is None:
        return tensor.to(torch.float16)
    factor = scale.float().reshape(-1, *[1] * (tensor.ndim - 1)) if scale.numel() > 1 else scale.float().reshape(())
    return tensor.float() * factor


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total
