"""Attention in which pixels and text are one sequence (SD3, FLUX), read beside the network's own as in maps.py.

A = softmax(q kᵀ / √d) over all keys, pixels' and text's. What a map is made of is a pixel's row at the text columns of one encoder, divided
by its sum there: how the attention that falls on this encoder's words is shared among them. The quotient of two softmax values is that of
the softmax over the columns alone, so no pixel's key is needed for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from .maps import MapPlace

Columns = Sequence[slice]
"""The tokens of each text encoder, in a sequence of L."""


class Heads(NamedTuple):
    """Queries, keys and values of pixels and text, (B, heads, n, d) each, with their norms and rotary embeddings."""

    query: Tensor
    key: Tensor
    value: Tensor
    text_query: Tensor
    text_key: Tensor
    text_value: Tensor


def joint_heads(attn: Any, pixels: Tensor, text: Tensor, rotary: tuple[Tensor, Tensor] | None = None) -> Heads:
    """What an attention module of SD3 (`Attention` with added projections) or FLUX (`FluxAttention`) makes of its inputs.

    Args:
        pixels, text: (B, N, C) and (B, L, C).
        rotary: (cos, sin), (L + N, d), text first; None where there is none.
    """
    own = [heads_of(attn, projection, norm, pixels) for projection, norm in _OWN]
    added = [heads_of(attn, projection, norm, text) for projection, norm in _ADDED]
    if rotary is not None:
        length = text.shape[1]
        own[:2] = (rotated(one, rotary[0][length:], rotary[1][length:]) for one in own[:2])
        added[:2] = (rotated(one, rotary[0][:length], rotary[1][:length]) for one in added[:2])
    return Heads(*own, *added)


_OWN = (("to_q", "norm_q"), ("to_k", "norm_k"), ("to_v", ""))
_ADDED = (("add_q_proj", "norm_added_q"), ("add_k_proj", "norm_added_k"), ("add_v_proj", ""))
"""Projections of query, key and value, and what norms them: pixels' own, and those added for text."""


def stream_heads(attn: Any, sequence: Tensor, length: int, rotary: tuple[Tensor, Tensor] | None = None) -> Heads:
    """The same of a block in which text and pixels share all projections (FLUX's single blocks).

    Args:
        sequence: (B, L + N, C), text first.
        length: L.
    """
    found = [heads_of(attn, projection, norm, sequence) for projection, norm in _OWN]
    if rotary is not None:
        found[:2] = (rotated(one, *rotary) for one in found[:2])
    return Heads(*(one[:, :, length:] for one in found), *(one[:, :, :length] for one in found))


def heads_of(attn: Any, projection: str, norm: str, hidden: Tensor) -> Tensor:
    """(B, heads, n, d) of a projection of (B, n, C), with its norm where the module has it."""
    projected: Tensor = getattr(attn, projection)(hidden)
    made = projected.view(*projected.shape[:2], attn.heads, -1).transpose(1, 2)
    normed: Any = getattr(attn, norm, None) if norm else None
    return made if normed is None else normed(made)


def rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(B, heads, n, d), pairs of neighbours turned by angles whose (n, d) cosines and sines these are, or (B, 1, n, d)."""
    first, second = heads.reshape(*heads.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack([-second, first], dim=-1).flatten(-2)
    return (heads.to(cos) * cos + turned.to(cos) * sin).to(heads)


def whole_rows(query: Tensor, keys: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) over all keys, (B, heads, n, m), in fp32 or more."""
    return scores_of(query, keys).softmax(dim=-1)


def text_columns(heads: Heads, columns: Columns) -> Tensor:
    """Pixels' rows at the text's columns, each encoder's share of them divided by its sum: (B, heads, N, L)."""
    scores = scores_of(heads.query, heads.text_key)
    return torch.cat([scores[..., own].softmax(dim=-1) for own in columns], dim=-1)


def scores_of(query: Tensor, keys: Tensor) -> Tensor:
    """q kᵀ / √d, (B, heads, n, m), in fp32 or more."""
    precision = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(query.device.type, enabled=False):
        scores: Tensor = query.to(precision) @ keys.to(precision).transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores


@dataclass(frozen=True, eq=False)
class JointPlace(MapPlace):
    """A joint attention module. `columns`: the tokens of each text encoder."""

    columns: Columns = ()

    def heads(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Heads:
        """From what the module is called with."""
        told = {**dict(zip(("hidden_states", "encoder_hidden_states"), args, strict=False)), **kwargs}
        pixels, text, rotary = told["hidden_states"], told.get("encoder_hidden_states"), told.get("image_rotary_emb")
        if text is None:
            return stream_heads(self.module, pixels, self.columns[-1].stop, rotary)
        return joint_heads(self.module, pixels, text, rotary)

    def pixels(self, output: Any, text: int) -> slice:
        return slice(None) if isinstance(output, tuple) or not getattr(self.module, "pre_only", False) else slice(text, None)

    def probabilities(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        return text_columns(self.heads(args, kwargs), self.columns)


@dataclass(frozen=True, eq=False)
class StreamPlace(MapPlace):
    """The attention of a block in which pixels and a text of any length are one stream, pixels first (Z-Image), turned by complex numbers.

    Attributes:
        group: pixels' tokens are filled up to a multiple of this.
        pixels_count: how many there are.
        lengths: of each picture's text; what fills it up is no word.
        limit: L.
    """

    group: int = 1
    pixels_count: int = 0
    lengths: tuple[int, ...] = ()
    limit: int = 0

    def pixels(self, output: Any, text: int) -> slice:
        return slice(0, self.pixels_count)

    def probabilities(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        hidden, turns = args[0] if args else kwargs["hidden_states"], kwargs["freqs_cis"]
        start = self.pixels_count + -self.pixels_count % self.group
        rows, columns = slice(0, self.pixels_count), slice(start, start + max(self.lengths))
        cos, sin = (part.repeat_interleave(2, dim=-1)[:, None] for part in (turns.real, turns.imag))
        query, key = heads_of(self.module, *_OWN[0], hidden[:, rows]), heads_of(self.module, *_OWN[1], hidden[:, columns])
        query, key = rotated(query, cos[:, :, rows], sin[:, :, rows]), rotated(key, cos[:, :, columns], sin[:, :, columns])
        there = torch.arange(key.shape[2], device=key.device) < torch.tensor(self.lengths, device=key.device)[:, None]
        found = scores_of(query, key).masked_fill(~there[:, None, None], float("-inf")).softmax(dim=-1)
        return pad(found, (0, self.limit - found.shape[-1]))


def block_places(blocks: nn.ModuleList, name: str, level: int, columns: Columns) -> list[MapPlace]:
    """The attention to text of each block: cross-attention in `attn2` (PixArt), else joint attention in `attn`.

    Args:
        blocks: of a transformer, in the order in which they run.
        name: of the list, for messages.
        level: pixels of a map are 2^level latent pixels wide: the patch.
        columns: see `JointPlace`.
    """
    found: list[MapPlace] = []
    for i, block in enumerate(blocks):
        own: Any = block
        crossing = getattr(own, "attn2", None)
        if crossing is not None and getattr(crossing, "is_cross_attention", False):
            found.append(MapPlace(f"{name}.{i}.attn2", crossing, level))
        else:
            found.append(JointPlace(f"{name}.{i}.attn", own.attn, level, columns))
    return found
