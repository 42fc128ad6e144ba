"""A kind of condition of its own: discs. Its transfer makes them regions with exact masks."""

import numpy as np
from pydantic import BaseModel, Field

from realcompo.conditions import Condition
from realcompo.interfaces import ConditionTransfer, Region


class Dot(BaseModel):
    phrase: str
    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    radius: float = Field(gt=0, le=1)

    @property
    def id(self):
        return f"{self.phrase} at {self.x},{self.y}"


class Dots(Condition):
    kind = "dots"
    items: tuple[Dot, ...] = ()


class DotTransfer(ConditionTransfer):
    kind = "dots"

    def __call__(self, condition, size):
        height, width = 96, max(1, round(96 * size[1] / size[0]))
        y, x = (np.arange(height)[:, None] + 0.5) / height, (np.arange(width)[None, :] + 0.5) / width
        return tuple(Region(dot.id, dot.phrase, mask=self.disc(dot, x, y, size)) for dot in condition.items)

    def disc(self, dot, x, y, size):
        far = ((x - dot.x) * size[1] / size[0]) ** 2 + (y - dot.y) ** 2
        return (far <= max(dot.radius**2, far.min())).astype(np.float32)  # a disc between two cells still has the nearest
