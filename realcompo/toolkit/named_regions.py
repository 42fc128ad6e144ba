"""Regions that an option names by phrase or id, and their masks in a run: of adapters that act in a region alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import BadCondition
from ..interfaces import Regions, Request

if TYPE_CHECKING:
    from torch import Tensor


def check_named(names: Iterable[str], regions: Regions, what: str, option: str) -> None:
    """Refuse names that are no region.

    Args:
        names: phrases or ids.
        regions: of a run's pictures; one may lack some.
        what: has them, in a message.
        option: that names them.

    Raises:
        BadCondition: no picture has a region of a name.
    """
    have = {name for picture in regions.pictures for one in picture for name in (one.id, one.phrase)}
    for name in names:
        if name not in have:
            raise BadCondition(
                f"{what} for {name!r}, which is no region", where=f"option {option}", mend="name a region by its phrase or id"
            )


def named_masks(names: Iterable[str], request: Request) -> list[Tensor]:
    """For each name (B, H, W) in [0, 1], in pixels: the union of a picture's regions of that name; 0 where it has none."""
    import torch

    pictures, found = request.regions.pictures, []
    whole = request.regions.masks(*request.size) if request.regions.most else torch.zeros(len(pictures), 0, *request.size)
    for name in names:
        own = torch.zeros(len(pictures), *request.size)
        for b, regions in enumerate(pictures):
            for r, one in enumerate(regions):
                if name in (one.id, one.phrase):
                    own[b] = torch.maximum(own[b], whole[b, r])
        found.append(own)
    return found
