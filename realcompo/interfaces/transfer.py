"""ConditionTransfer: from a condition to regions with masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from ..conditions import Condition
from ..specs import NoOptions, Options
from .regions import Region


class ConditionTransfer(ABC):
    """f(C) → regions with masks (Eq. 8)."""

    kind: ClassVar[str]

    def __init__(self, options: Options | None = None) -> None:
        self.options = options if options is not None else NoOptions()

    @abstractmethod
    def __call__(self, condition: Condition, size: tuple[int, int]) -> tuple[Region, ...]:
        """Regions of one picture of `size` (height, width) pixels; none may be empty."""
