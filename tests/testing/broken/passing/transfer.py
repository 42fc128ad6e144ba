"""Boxes as fine masks."""

import math

import numpy as np

from realcompo.interfaces import ConditionTransfer, Region

CELLS = 48


class GridTransfer(ConditionTransfer):
    kind = "boxes"

    def __call__(self, condition, size):
        regions = []
        for item in condition.items:
            mask = self.mask(item.box)
            region = Region(id=item.id, phrase=item.phrase, mask=mask, span=item.span)
            regions.append(region)
        return tuple(regions)

    def mask(self, box):
        x0, y0, x1, y1 = box
        mask = np.zeros((CELLS, CELLS), dtype=np.float32)
        left, top = min(int(x0 * CELLS), CELLS - 1), min(int(y0 * CELLS), CELLS - 1)
        right, bottom = max(math.ceil(x1 * CELLS), left + 1), max(math.ceil(y1 * CELLS), top + 1)
        mask[top:bottom, left:right] = 1.0
        return mask
