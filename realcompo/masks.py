"""From boxes and arrays to mask tensors. Below the contracts, which import no torch: `Regions.masks` comes here on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .conditions import Box
from .errors import BadCondition


class Place(Protocol):
    """What is read of a region."""

    @property
    def id(self) -> str: ...

    @property
    def box(self) -> Box | None: ...

    @property
    def mask(self) -> Any: ...


Pictures = Sequence[Sequence[Place]]


def presence(pictures: Pictures, least: int = 0) -> Tensor:
    """(B, R) bool: which regions exist. R is the most of any picture, and `least` at least."""
    most = max((len(picture) for picture in pictures), default=0)
    most = max(most, least)
    return torch.tensor([[r < len(picture) for r in range(most)] for picture in pictures], dtype=torch.bool).reshape(len(pictures), most)


def rasterise(pictures: Pictures, h: int, w: int, least: int = 0) -> Tensor:
    """(B, R, h, w) float32 fractional coverage; a region with area is never empty. R is the most of any picture, and `least` at least."""
    most = max((len(picture) for picture in pictures), default=0)
    most = max(most, least)
    masks = torch.zeros(len(pictures), most, h, w)
    for b, picture in enumerate(pictures):
        for r, region in enumerate(picture):
            masks[b, r] = region_mask(region, h, w)
    return masks


def region_mask(region: Place, h: int, w: int) -> Tensor:
    """(h, w) float32 coverage of one region.

    Raises:
        BadCondition: a region with neither box nor mask, or with an empty mask.
    """
    if region.mask is not None:
        array = torch.as_tensor(region.mask, dtype=torch.float32)
        if array.ndim != 2 or not bool((array > 0).any()):
            raise BadCondition(
                "a mask that covers nothing",
                where=f"region {region.id!r}",
                mend="give it a pixel, or leave the region out",
            )
        return torch.nn.functional.adaptive_avg_pool2d(array[None], (h, w))[0].clamp(0, 1)
    if region.box is not None:
        return box_mask(region.box, h, w)
    raise BadCondition("a region with neither box nor mask", where=f"region {region.id!r}", mend="its transfer must give one")


def box_mask(box: Box, h: int, w: int) -> Tensor:
    """(h, w) share of each cell that the box covers. The outer product of two one-dimensional coverages, computed in float64 so that a
    thin box does not vanish; a box too thin even for float32 keeps its one cell at the smallest normal number."""
    x0, y0, x1, y1 = box
    coverage = torch.outer(_cover(y0, y1, h), _cover(x0, x1, w))
    if not bool((coverage > 0).any()):
        coverage[min(int(y0 * h), h - 1), min(int(x0 * w), w - 1)] = 1.0
    tiny = torch.finfo(torch.float32).tiny
    return torch.where(coverage > 0, coverage.clamp(min=tiny), coverage).float()


def _cover(low: float, high: float, cells: int) -> Tensor:
    edges = torch.arange(cells + 1, dtype=torch.float64)
    left = edges[:-1].clamp(min=low * cells)
    right = edges[1:].clamp(max=high * cells)
    return (right - left).clamp(min=0, max=1)
