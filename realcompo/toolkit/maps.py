"""Cross-attention maps (Eq. 4), read beside the network's own attention and not through it.

A = softmax(q kᵀ · scale) over ALL text tokens at each pixel. Forward pre-hooks on the chosen cross-attention modules see
their inputs and compute q·k a second time, in fp32, through the modules' own `to_q` and `to_k` (so a LoRA counts). The
attention processors, which belong to the user, are neither replaced nor asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadOption
from .guard import bare, eager, exclusive, frozen


class _Enough(Exception):
    """Thrown through the network after the last map is read; never leaves this module."""


@dataclass(frozen=True, eq=False)
class MapPlace:
    """A cross-attention module that works at the latent's height and width divided by 2^level."""

    name: str
    module: nn.Module
    level: int

    def probabilities(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        """A (B, heads, N, L) at N pixels and L tokens, from what the module is called with."""
        hidden = args[0] if args else kwargs["hidden_states"]
        context = args[1] if len(args) > 1 else kwargs["encoder_hidden_states"]
        if isinstance(context, tuple):  # with an IP-Adapter: (text, pictures)
            context = context[0]
        return attention_probabilities(self.module, hidden, context, kwargs.get("attention_mask"))

    def pixels(self, output: Any, text: int) -> slice:
        """Which tokens of what the module returned (or of the first of it) are pixels.

        Args:
            text: L, tokens of the text.
        """
        return slice(None)


def cross_attention_places(unet: nn.Module) -> list[MapPlace]:
    """All cross-attention modules of a UNet2DConditionModel, in the order in which they run."""
    parts: list[tuple[str, int]] = []
    down, up = len(unet.down_blocks), len(unet.up_blocks)  # type: ignore[arg-type]
    parts += [(f"down_blocks.{i}", i) for i in range(down)]
    parts += [("mid_block", down - 1)]
    parts += [(f"up_blocks.{i}", up - 1 - i) for i in range(up)]
    places = []
    for part, level in parts:
        block = unet.get_submodule(part) if getattr(unet, part.split(".")[0]) is not None else nn.Module()
        for name, module in block.named_modules():
            if name.endswith("attn2") and getattr(module, "is_cross_attention", False):
                places.append(MapPlace(f"{part}.{name}", module, level))
    return places


def chosen_places(unet: nn.Module, parts: Sequence[str], divisor: int) -> list[MapPlace]:
    """Those in the named parts ('down', 'mid', 'up') at the latent's size divided by `divisor`.

    Raises:
        BadOption: there are none; says where there are some.
    """
    places = cross_attention_places(unet)
    _refuse_none({(p.name.split("_")[0], 2**p.level) for p in places}, parts, divisor)
    return [p for p in places if p.name.split("_")[0] in parts and 2**p.level == divisor]


def check_places(config: Mapping[str, Any], parts: Sequence[str], divisor: int) -> None:
    """The same from a UNet's config, before its weights are loaded. Where a config leaves its blocks out, nothing is refused.

    Raises:
        BadOption: there are none; says where there are some.
    """
    down, up = config.get("down_block_types"), config.get("up_block_types")
    if not down or not up:
        return
    have = {("down", 2**i) for i, kind in enumerate(down) if "CrossAttn" in kind}
    have |= {("up", 2 ** (len(up) - 1 - i)) for i, kind in enumerate(up) if "CrossAttn" in kind}
    if "CrossAttn" in (config.get("mid_block_type", "UNetMidBlock2DCrossAttn") or ""):
        have.add(("mid", 2 ** (len(down) - 1)))
    _refuse_none(have, parts, divisor)


def _refuse_none(have: set[tuple[str, int]], parts: Sequence[str], divisor: int) -> None:
    """`have`: (part, divisor) of all places that there are."""
    if not any(part in parts and at == divisor for part, at in have):
        raise BadOption(
            f"the network has no cross-attention in {', '.join(parts)} at the latent's size divided by {divisor}",
            where="options places, map_divisor",
            mend="it has some in " + (", ".join(f"{part} at {at}" for part, at in sorted(have)) or "no part"),
        )


def attention_probabilities(attn: Any, hidden: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
    """What a diffusers `Attention` module multiplies its values by: softmax(q kᵀ · scale), computed in fp32 or more.

    Args:
        attn: the module.
        hidden: its input (B, N, C) or (B, C, h, w).
        context: the text (B, L, D).
        mask: the additive bias that the module was given, if any.

    Returns:
        (B, heads, N, L), rows summing to 1 over the L tokens.
    """
    if hidden.ndim == 4:
        hidden = hidden.flatten(2).transpose(1, 2)
    if attn.group_norm is not None:
        hidden = attn.group_norm(hidden.transpose(1, 2)).transpose(1, 2)
    if attn.norm_cross is not None:
        context = attn.norm_encoder_hidden_states(context)
    query, key = attn.to_q(hidden), attn.to_k(context)
    query, key = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (query, key))
    if attn.norm_q is not None:
        query = attn.norm_q(query)
    if attn.norm_k is not None:
        key = attn.norm_k(key)
    precision = torch.promote_types(query.dtype, torch.float32)
    kind = query.device.type
    with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():  # "meta" has none
        scores = query.to(precision) @ key.to(precision).transpose(-1, -2) * attn.scale
        if mask is not None:
            bias = attn.prepare_attention_mask(mask, key.shape[-2], key.shape[0])
            scores = scores + bias.unflatten(0, (key.shape[0], attn.heads)).to(precision)
        probabilities: Tensor = scores.softmax(dim=-1)
    return probabilities


def watch_attention(
    unet: nn.Module, places: Sequence[MapPlace], see: Callable[[MapPlace, Tensor], None], run: Callable[[], Any], stop: bool = True
) -> Any:
    """Run the network once and show `see` the probabilities A (B, heads, N, L) of each place in turn, with a graph where there is one.

    Args:
        places: at least one.
        run: calls the network; the parameters have no gradient meanwhile.
        stop: run nothing after the last place; otherwise the rest runs without a graph.

    Returns:
        What `run` returned; None if stopped.
    """
    compiled, unet = unet, bare(unet)
    seen = 0

    def hook(place: MapPlace, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal seen
        see(place, place.probabilities(args, kwargs))
        seen += 1
        if seen == len(places):
            if stop:
                raise _Enough
            torch.set_grad_enabled(False)  # until `run` is over: see below

    result = None
    with exclusive(unet), frozen(unet), eager(compiled):
        handles = [place.module.register_forward_pre_hook(partial(hook, place), with_kwargs=True) for place in places]
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled()):  # restores what the hook switches off
                result = run()
        except _Enough:
            pass
        finally:
            for handle in handles:
                handle.remove()
    return result


class PlaceReader:
    """Reads the maps of places of one size during one forward pass.

    Args:
        network: whose the places are.
        places: at least one.
    """

    def __init__(self, network: nn.Module, places: Sequence[MapPlace]) -> None:
        self.whole, self.places = network, places
        self.level = places[0].level

    def size(self, h: int, w: int) -> tuple[int, int]:
        """(h', w') of maps for latents of (h, w): each level halves and rounds up, as a convolution of stride 2 does."""
        for _ in range(self.level):
            h, w = (h + 1) // 2, (w + 1) // 2
        return h, w

    def read(
        self,
        run: Callable[[], Any],
        weights: Tensor,
        size: tuple[int, int],
        stop: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Tensor, Any]:
        """Run the network and read.

        Args:
            run: calls the network, on the conditional half: B rows.
            weights: (B, R, L) of each region's tokens; rows sum to 1, or to 0 for absent regions.
            size: (h, w) of the latents.
            stop: run nothing after the last place; otherwise the rest runs without a graph.
            dtype: of the maps.

        Returns:
            Maps (B, R, h', w'): the mean over heads and places, then over a region's tokens. And what `run` returned (None if
            stopped).
        """
        seen: list[Tensor] = []

        def see(place: MapPlace, probabilities: Tensor) -> None:
            seen.append(torch.einsum("bhnl,brl->brn", probabilities, weights.to(probabilities)) / probabilities.shape[1])

        result = watch_attention(self.whole, self.places, see, run, stop)
        maps = torch.stack(seen).mean(dim=0).to(dtype)
        return maps.reshape(*maps.shape[:2], *self.size(*size)), result


class MapReader(PlaceReader):
    """Reads the maps of chosen places of a UNet.

    Args:
        unet: a UNet2DConditionModel.
        parts, divisor: see `chosen_places`.
    """

    def __init__(self, unet: nn.Module, parts: Sequence[str] = ("down", "up"), divisor: int = 4) -> None:
        self.unet = bare(unet)
        super().__init__(unet, chosen_places(self.unet, parts, divisor))
