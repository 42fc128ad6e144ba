"""f(C) → regions (Eq. 8) for the conditions of the core."""

from __future__ import annotations

from typing import Any

from ..conditions import Box, Boxes, BoxItem, Condition, Hint, Keypoints, Segmentation, check_aspect
from ..errors import BadCondition
from ..interfaces import ConditionTransfer, Region
from .options import KeypointTransferOptions, SegmentTransferOptions


class BoxTransfer(ConditionTransfer):
    """A box is its own mask."""

    kind = "boxes"

    def __call__(self, condition: Condition, size: tuple[int, int]) -> tuple[Region, ...]:
        if not isinstance(condition, Boxes):
            raise _other_kind(condition, self.kind)
        return tuple(_of_box(item) for item in condition.items)


class KeypointTransfer(ConditionTransfer):
    """A person is the min/max rectangle of the visible points, as in the paper, with an option to widen it."""

    kind = "keypoints"
    options: KeypointTransferOptions

    def __init__(self, options: KeypointTransferOptions | None = None) -> None:
        super().__init__(options or KeypointTransferOptions())

    def __call__(self, condition: Condition, size: tuple[int, int]) -> tuple[Region, ...]:
        if not isinstance(condition, Keypoints):
            raise _other_kind(condition, self.kind)
        check_aspect(condition.size, size, "the pose's picture")
        return tuple(Region(person.id, person.phrase, self._widened(person.box), span=person.span) for person in condition.items)

    def _widened(self, box: Box) -> Box:
        """The box with its margin, no thinner than `least`, moved or cut so that it stays in the picture."""
        x0, x1 = _side(box[0], box[2], self.options.margin, self.options.least)
        y0, y1 = _side(box[1], box[3], self.options.margin, self.options.least)
        return x0, y0, x1, y1


class SegmentTransfer(ConditionTransfer):
    """A segment is its min/max rectangle, as in the paper, or its exact pixels."""

    kind = "segmentation"
    options: SegmentTransferOptions

    def __init__(self, options: SegmentTransferOptions | None = None) -> None:
        super().__init__(options or SegmentTransferOptions())

    def __call__(self, condition: Condition, size: tuple[int, int]) -> tuple[Region, ...]:
        if not isinstance(condition, Segmentation):
            raise _other_kind(condition, self.kind)
        check_aspect(condition.size, size, "the map")
        regions = []
        for segment in condition.items:
            mask = condition.mask(segment)
            if self.options.shape == "exact":
                regions.append(Region(segment.id, segment.phrase, mask=mask.astype("float32"), span=segment.span))
            else:
                regions.append(Region(segment.id, segment.phrase, _around(mask), span=segment.span))
        return tuple(regions)


class HintTransfer(ConditionTransfer):
    """The boxes that stand beside a hint; a hint without any has no regions."""

    kind = "hint"

    def __call__(self, condition: Condition, size: tuple[int, int]) -> tuple[Region, ...]:
        if not isinstance(condition, Hint):
            raise _other_kind(condition, self.kind)
        check_aspect(condition.size, size, "the hint")
        return tuple(_of_box(item) for item in condition.items)


def _of_box(item: BoxItem) -> Region:
    return Region(item.id, item.phrase, item.box, span=item.span, prompt=item.prompt, negative_prompt=item.negative_prompt)


def _around(mask: object) -> Box:
    """The min/max rectangle of an (H, W) mask."""
    import numpy as np
    from skimage import measure

    measured: Any = measure  # its functions are not typed
    numbers = np.asarray(mask, dtype=np.uint8)
    height, width = numbers.shape
    y0, x0, y1, x1 = measured.regionprops(numbers)[0].bbox  # half open: the last row and column are inside
    return x0 / width, y0 / height, x1 / width, y1 / height


def _side(low: float, high: float, margin: float, least: float) -> tuple[float, float]:
    """One side with a margin at both ends, cut at the picture's edge; a side thinner than `least` becomes that wide, inside the picture."""
    grow = (high - low) * margin
    low, high = max(low - grow, 0.0), min(high + grow, 1.0)
    if high - low >= least:
        return low, high
    start = min(max((low + high - least) / 2, 0.0), 1.0 - least)
    return start, start + least


def _other_kind(condition: Condition, kind: str) -> BadCondition:
    return BadCondition(f"expected {kind}, got {condition.kind}", mend="give the branch the kind of condition that it takes")
