"""Regions that a branch's options name (of a LoRA, of an IP-Adapter's picture): in a run that draws several pictures, perhaps in several
batches, a name is one where any picture has it, whatever the batches are and whatever a mask leaves of it. Where a picture has no such
region, what is named for it does nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BadCondition, RealCompoError
from ..interfaces import Region, Regions
from ..recipes.members import Member
from ..recipes.recipe import PictureEntry
from ..registry import Registry
from .assembly import check_regions, picture_regions, unite


def check_named(members: Sequence[Member], pictures: Sequence[PictureEntry], size: tuple[int, int], registry: Registry) -> None:
    """Look at all pictures of a run at once, before any is drawn; see `Branch.check_regions`.

    A picture whose condition is still to be planned may have any region: then nothing is said. One that cannot be drawn says so itself.

    Raises:
        BadCondition: an option names a region that no picture has.
    """
    if not pictures:
        return
    try:
        check_regions(members, Regions(((),) * len(pictures)), registry)
        return  # none is named, so that no f(C) need be made
    except BadCondition:
        found: list[tuple[Region, ...]] = []
    for index, picture in enumerate(pictures):
        if any(m.role == "spatial" and m.spec.condition is not None and m.condition(picture) is None for m in members):
            return
        try:
            found += unite([picture_regions(members, picture, size, registry, f"picture {index}")])[0].pictures
        except RealCompoError:
            continue
    check_regions(members, Regions(tuple(found)), registry)


def planned_remarks(members: Sequence[Member], pictures: Sequence[PictureEntry], size: tuple[int, int], registry: Registry) -> list[str]:
    """One where no picture of a batch has a region that an option names, of a run whose layouts were not known when it began."""
    try:
        check_named(members, pictures, size, registry)
    except BadCondition as problem:
        return [f"{problem.what} of the pictures that were planned for this batch: it does nothing there"]
    return []
