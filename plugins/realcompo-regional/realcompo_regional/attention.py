"""One stream of pixels that attends to several texts, each inside its mask: hooks on attention modules, which leave processors alone.

A network is run on rows of one picture: the whole prompt's first, then one for each region, with the region's own words. After each
attention to text, the pixels of all rows of a picture become one mixture,
    y = a·y₀ + (1 − a)·Σ_r m_r y_r / Σ_r m_r    where a region is, and y₀ elsewhere,
so that the next block sees one picture again, and each text another reader's answer. Cross-attention and joint attention alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from realcompo.toolkit.maps import MapPlace


@dataclass(frozen=True)
class Rows:
    """Which rows of a pass belong together.

    Attributes:
        pictures: of each region's row, its picture; the first rows are the B pictures themselves.
        count: B.
        masks: level → (n, h'·w') coverage of each of the n regions at the sizes at which places work.
        ratio: a.
        length: L, tokens of a text.
    """

    pictures: Tensor
    count: int
    masks: Mapping[int, Tensor]
    ratio: float
    length: int


def mixed(pixels: Tensor, mask: Tensor, rows: Rows) -> Tensor:
    """The pixels (B + n, N, C) of all rows, mixed: what stands above.

    Args:
        mask: (n, N).
    """
    own, regional = pixels[: rows.count], pixels[rows.count :]
    weight = mask.to(pixels)[:, :, None]
    total = torch.zeros(rows.count, weight.shape[1], 1, device=pixels.device, dtype=pixels.dtype)
    total = total.index_add(0, rows.pictures, weight)
    answer = torch.zeros_like(own).index_add(0, rows.pictures, weight * regional)
    covered = total.clamp(max=1)
    inside = rows.ratio * own + (1 - rows.ratio) * answer / total.clamp(min=torch.finfo(torch.float32).tiny)
    found = (1 - covered) * own + covered * inside
    return torch.cat([found, found[rows.pictures]])


@contextmanager
def regional(places: Sequence[MapPlace], rows: Rows) -> Iterator[None]:
    """While this lasts, each place's answer is mixed."""

    def hook(place: MapPlace, module: Any, args: Any, output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        at = place.pixels(output, rows.length)
        made = mixed(first[:, at], rows.masks[place.level], rows)
        whole = torch.cat([first[:, : at.start or 0], made, first[:, (at.start or 0) + made.shape[1] :]], dim=1)
        return (whole, *output[1:]) if isinstance(output, tuple) else whole

    with ExitStack() as stack:
        for place in places:
            handle = place.module.register_forward_hook(partial(hook, place))
            stack.callback(handle.remove)
        yield
