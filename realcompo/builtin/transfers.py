"""f(C) → regions (Eq. 8) for the conditions of the core."""

from __future__ import annotations

from ..conditions import Boxes, Condition
from ..errors import BadCondition
from ..interfaces import ConditionTransfer, Region


class BoxTransfer(ConditionTransfer):
    """A box is its own mask."""

    kind = "boxes"

    def __call__(self, condition: Condition, size: tuple[int, int]) -> tuple[Region, ...]:
        if not isinstance(condition, Boxes):
            raise BadCondition(
                f"expected boxes, got {condition.kind}",
                mend="give the branch the kind of condition that it takes",
            )
        return tuple(Region(id=item.id, phrase=item.phrase, box=item.box, span=item.span) for item in condition.items)
