"""Planner: from a prompt to a condition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..conditions import Condition
from ..errors import PlanningError
from ..specs import NoOptions, Options
from .regions import Region


@dataclass(frozen=True)
class PlanRequest:
    """What a planner is asked.

    Attributes:
        prompt: the user's sentence.
        size: (height, width) pixels.
        kinds: of condition that are wanted, each of the same layout: things stand in the same places in all of them.
        max_objects: the least of the branches' limits, or None.
        vocabulary: the only words the branches know, or None.
        keep: regions that must stay as they are.
        seed: the same seed plans the same.
        layout, wish: how things stand now, and what is wanted otherwise ("move the dog left"); only asked of a planner that `revises`.
        before: the condition that `keep` or `layout` are the regions of: the points and pixels that a box does not tell.
        classes: the only classes of a segmentation map that the branches have colours for, or None for ADE20K's.
    """

    prompt: str
    size: tuple[int, int]
    kinds: tuple[str, ...] = ("boxes",)
    max_objects: int | None = None
    vocabulary: tuple[str, ...] | None = None
    keep: tuple[Region, ...] = ()
    seed: int = 0
    layout: tuple[Region, ...] = ()
    wish: str = ""
    before: Condition | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """A planner's answer. `condition`, `more`: one condition for each kind that was asked for (placing.py makes them of boxes and phrases);
    `transcript`: what was said on the way, kept in the picture; `background`, `negative`: words for the scene without its things and for
    what must not be seen, used only if the recipe asks; `remarks`: what the user should know."""

    condition: Condition
    transcript: tuple[dict[str, Any], ...] = field(default=())
    background: str = ""
    negative: str = ""
    remarks: tuple[str, ...] = ()
    more: tuple[Condition, ...] = ()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All of them."""
        return (self.condition, *self.more)


class Planner(ABC):
    """From a prompt to a condition. `revises` says whether it takes requests with a `wish`."""

    revises: ClassVar[bool] = False

    def __init__(self, options: Options | None = None) -> None:
        self.options = options if options is not None else NoOptions()

    @abstractmethod
    def plan(self, request: PlanRequest) -> Plan:
        """A valid plan.

        Raises:
            PlanningError: no valid layout; says why.
        """

    async def try_many(self, requests: Sequence[PlanRequest]) -> list[Plan | PlanningError]:
        """Plans of a batch, each failure in its place. A planner that asks a server overrides it, with a limit on requests in flight."""

        def one(request: PlanRequest) -> Plan | PlanningError:
            try:
                return self.plan(request)
            except PlanningError as error:
                return error

        return [one(request) for request in requests]

    def requested(self, request: PlanRequest) -> dict[str, Any] | None:
        """What a server would be sent first, as plain data without any key; None if none is asked."""
        return None
