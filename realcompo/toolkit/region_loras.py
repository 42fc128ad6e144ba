"""Adapters that act in a region alone: y = f(x; W) + Σᵣ mᵣ · f(x; scaleᵣ · ΔWᵣ), at every layer whose output is an image, with the
region's mask m at the layer's own resolution.

Keys and values that attention reads from the text are of no place. There the attention answers once more with what the adapter makes of
them, and its answer counts inside the mask: y + Σᵣ mᵣ · (yᵣ − y). Maps are read with the plain keys. A mask that covers the picture is the
adapter in the weights, up to rounding, and an empty one is none of it.

The changes lie beside the weights whole, ΔW of a weight's size in its dtype, as those of LoHa, LoKr and DoRA have no smaller form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import BadCheckpoint
from ..interfaces import Regions, Request
from .lora import Adapter
from .named_regions import check_named, named_masks

_PLACED = re.compile(
    r"conv_(in|out)|(down_blocks\.\d+|mid_block|up_blocks\.\d+)\."
    r"(resnets\.\d+\.conv(1|2|_shortcut)|(down|up)samplers\.\d+\.conv"
    r"|attentions\.\d+\.(proj_in|proj_out|transformer_blocks\.\d+\.(attn[12]\.to_([qkv]|out\.0)|ff\.net\.\d+(\.proj)?)))"
)
"""Modules of a UNet2DConditionModel whose output has a place in the picture, and those that are attended to from one."""

Change = tuple[Tensor | None, Tensor | None]
"""ΔW and Δb of one module, at their scale."""


def check_regional(adapter: Adapter, region: str) -> None:
    """Refuse an adapter that also changes what has no place in the picture.

    Raises:
        BadCheckpoint.
    """
    lost = [f"{module} of the {part}" for part, module in adapter.modules() if part != "unet" or not _PLACED.fullmatch(module)]
    if lost:
        raise BadCheckpoint(
            f"the LoRA cannot act in the region {region!r} alone: it changes {min(lost)}, which has no place in the picture "
            f"({len(lost)} of its {len(adapter.modules())} modules)",
            where=adapter.file.where,
            mend="let it act on the whole picture (lora_region = ''), or choose one of the UNet's attention and convolutions alone",
        )


def check_lora_regions(regions: Iterable[str], found: Regions) -> None:
    """Refuse LoRAs of regions that are none; see `check_named`."""
    check_named(filter(None, regions), found, "there is a LoRA", "lora_region")


@dataclass(frozen=True, eq=False)
class RegionMasks:
    """Where the adapters of a run act.

    Attributes:
        names: of regions.
        masks: (B, n, H, W) in [0, 1], in pixels.
    """

    names: tuple[str, ...]
    masks: Tensor


def region_masks(regions: Sequence[str], request: Request, device: Any) -> RegionMasks | None:
    """For the B pictures of a run; None where every adapter acts on the whole. A picture that lacks a region has none of its adapter.

    Args:
        regions: of each adapter, "" of those that act on the whole picture.
    """
    names = tuple(dict.fromkeys(name for name in regions if name))
    if not names:
        return None
    return RegionMasks(names, torch.stack(named_masks(names, request), dim=1).to(device))


@dataclass(frozen=True, eq=False)
class _Acting:
    """During one pass of a network: the masks of its rows, and the latents' (h, w)."""

    names: tuple[str, ...]
    masks: Tensor
    size: tuple[int, int]
    held: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def at(self, name: str, output: Tensor) -> Tensor:
        """The mask of a region that an output is multiplied by: (rows, 1, h', w') of a map, (rows, h'·w', 1) of a sequence."""
        size = (output.shape[-2], output.shape[-1]) if output.ndim == 4 else self._of_length(output.shape[1])
        if size not in self.held:
            self.held[size] = functional.interpolate(self.masks, size, mode="area")
        one = self.held[size][:, self.names.index(name)].to(output)
        return one[:, None] if output.ndim == 4 else one.flatten(1)[..., None]

    def _of_length(self, length: int) -> tuple[int, int]:
        h, w = self.size
        while h * w > length:  # each level halves and rounds up, as a convolution of stride 2 does
            h, w = (h + 1) // 2, (w + 1) // 2
        if h * w != length:
            raise ValueError(f"a sequence of {length} is no level of latents of {self.size}")
        return h, w


_acting: ContextVar[_Acting | None] = ContextVar("_acting", default=None)
_again: ContextVar[str | None] = ContextVar("_again", default=None)
"""The region whose adapter's keys and values an attention reads now."""


@contextmanager
def acting(found: RegionMasks | None, rows: Tensor | None, size: tuple[int, int]) -> Iterator[None]:
    """While a network runs.

    Args:
        rows: of `found.masks`, one for each row of the network.
        size: (h, w) of the latents.
    """
    token = _acting.set(None if found is None or rows is None else _Acting(found.names, rows, size))
    try:
        yield
    finally:
        _acting.reset(token)


class RegionLoras:
    """The adapters of regions, on the layers of one UNet.

    Args:
        network: a UNet2DConditionModel, which is one branch's alone.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._handles: list[Any] = []

    def put(self, changes: Mapping[str, Mapping[str, Change]]) -> None:
        """Beside those that are there.

        Args:
            changes: module → region → what its adapters change, summed.
        """
        attentions: dict[str, list[str]] = {}
        for name, table in changes.items():
            module: Any = self.network.get_submodule(name)
            parent, _, own = name.rpartition(".")
            reads_text = own in ("to_k", "to_v") and getattr(self.network.get_submodule(parent), "is_cross_attention", False)
            self._handles.append(module.register_forward_hook(_of_text(table) if reads_text else _of_image(table)))
            if reads_text:
                attentions.setdefault(parent, []).extend(table)
        for parent, regions in attentions.items():
            hook = _of_attention(tuple(dict.fromkeys(regions)))
            self._handles.append(self.network.get_submodule(parent).register_forward_hook(hook, with_kwargs=True))

    def clear(self) -> None:
        """Without any."""
        while self._handles:
            self._handles.pop().remove()


# Plain functions, so that a copy of the network that shares its parameters (a graft) shares the changes too.


def _of_image(table: Mapping[str, Change]) -> Any:
    def hook(module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        now = _acting.get()
        for name in table if now is not None else ():
            change = _changed(module, args[0], table[name])
            output = output + now.at(name, change) * change  # type: ignore[union-attr]
        return output

    return hook


def _of_text(table: Mapping[str, Change]) -> Any:
    def hook(module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        name = _again.get()
        return output if name is None or name not in table else output + _changed(module, args[0], table[name])

    return hook


def _of_attention(regions: Sequence[str]) -> Any:
    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        now, plain = _acting.get(), output
        for name in regions if now is not None else ():
            token = _again.set(name)
            try:
                other = module.forward(*args, **kwargs)  # not the module itself, whose other hooks have seen this input
            finally:
                _again.reset(token)
            output = output + now.at(name, plain) * (other - plain)  # type: ignore[union-attr]
        return output

    return hook


def _changed(module: Any, x: Tensor, change: Change) -> Tensor:
    """What ΔW and Δb make of a module's input."""
    weight, bias = change
    if weight is None:
        weight = torch.zeros_like(module.weight)
    if isinstance(module, nn.Conv2d):
        return functional.conv2d(x, weight, bias, module.stride, module.padding, module.dilation, module.groups)
    return functional.linear(x, weight, bias)
