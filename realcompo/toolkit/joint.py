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
    own = [_heads(attn, projection, norm, pixels) for projection, norm in _OWN]
    added = [_heads(attn, projection, norm, text) for projection, norm in _ADDED]
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
    found = [_heads(attn, projection, norm, sequence) for projection, norm in _OWN]
    if rotary is not None:
        found[:2] = (rotated(one, *rotary) for one in found[:2])
    return Heads(*(one[:, :, length:] for one in found), *(one[:, :, :length] for one in found))


def _heads(attn: Any, projection: str, norm: str, hidden: Tensor) -> Tensor:
    projected: Tensor = getattr(attn, projection)(hidden)
    made = projected.view(*projected.shape[:2], attn.heads, -1).transpose(1, 2)
    normed: Any = getattr(attn, norm, None) if norm else None
    return made if normed is None else normed(made)


def rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(B, heads, n, d), pairs of neighbours turned by angles whose (n, d) cosines and sines these are."""
    first, second = heads.reshape(*heads.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack([-second, first], dim=-1).flatten(-2)
    return (heads.to(cos) * cos + turned.to(cos) * sin).to(heads)


def whole_rows(query: Tensor, keys: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) over all keys, (B, heads, n, m), in fp32 or more."""
    return _scores(query, keys).softmax(dim=-1)


def text_columns(heads: Heads, columns: Columns) -> Tensor:
    """Pixels' rows at the text's columns, each encoder's share of them divided by its sum: (B, heads, N, L)."""
    scores = _scores(heads.query, heads.text_key)
    return torch.cat([scores[..., own].softmax(dim=-1) for own in columns], dim=-1)


def _scores(query: Tensor, keys: Tensor) -> Tensor:
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

    def probabilities(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        return text_columns(self.heads(args, kwargs), self.columns)


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
