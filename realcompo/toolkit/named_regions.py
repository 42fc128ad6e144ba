"""Regions that an option names by phrase or id, and their masks in a run: of adapters that act in a region alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import BadCondition
from ..interfaces import Request


def named_mask(name: str, request: Request, what: str, option: str) -> Tensor:
    """(B, H, W) in [0, 1], in pixels: the union of a picture's regions of that name; 0 where it has none.

    Args:
        name: a phrase or id.
        what: has it, in a message.
        option: that names it.

    Raises:
        BadCondition: no picture of the batch has a region of that name.
    """
    named = [[name in (one.id, one.phrase) for one in regions] for regions in request.regions.pictures]
    if not any(any(row) for row in named):
        raise BadCondition(f"{what} for {name!r}, which is no region", where=f"option {option}", mend="name a region by its phrase or id")
    own = torch.zeros(len(named), *request.size)
    whole = request.regions.masks(*request.size)
    for b, row in enumerate(named):
        for r, is_named in enumerate(row):
            if is_named:
                own[b] = torch.maximum(own[b], whole[b, r])
    return own
