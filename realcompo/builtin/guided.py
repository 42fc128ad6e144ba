"""The guided middle: the spatial branches plant, the fidelity branch draws while its own placement loss holds, then it draws freely.

Three phases. In the first the spatial branches act alone. In the second the fidelity branch acts alone, and z is moved down the slope of
its loss (Eq. 6) before each step: the gradient of Eq. 7 spent on z, where one branch and a part of one pass suffice, in place of ξ, where
it takes all branches and a trial step. In the third the fidelity branch acts alone. Each step costs one guided prediction, and the second
phase its moves besides.

A pose or a map says more than its rectangles, which is all that the loss sees: branches of such conditions act longer, and without a
branch of boxes nothing is moved before the fidelity branch draws.

Lagged, the second phase costs no pass of its own: the slope is taken from the graph of the fidelity branch's prediction, and z is moved
down it before the next step, all moves of a step at once; so the moves begin and end a step later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from torch import Tensor

from ..interfaces import Balancer, Move, Needs, Setting, Step
from .fixed import Shares
from .options import GuidedOptions


class Guided(Balancer):
    """See the module; options in options.py."""

    options: GuidedOptions

    def start(self, setting: Setting) -> Shares:
        return Shares(setting)

    def needs(self, state: Any, step: Step) -> Needs:
        setting = cast(Shares, state).setting
        acting, most = self._acting(setting, step), self._most(setting, step)
        if not self.options.lagged:
            return Needs(acting, moves=self._moved(setting, most))
        if most and not acting[setting.fidelity]:  # it predicts nothing that a slope could be taken from
            return Needs(acting, moves=self._moved(setting, most))
        before = replace(step, index=step.index - 1)
        left = self._most(setting, before) if step.index else 0
        if left and not self._acting(setting, before)[setting.fidelity]:
            left = 0
        slopes = tuple(bool(most) and role == "fidelity" for role in setting.roles)
        return Needs(acting, moves=self._moved(setting, left, lagged=True), slopes=slopes)

    def _acting(self, setting: Setting, step: Step) -> tuple[bool, ...]:
        planting, holding = (step.index < round(end * step.count) for end in (self.options.plant, self.options.hold))
        return acting_in(setting, planting, holding)

    def _most(self, setting: Setting, step: Step) -> int:
        """Moves that fall to this step."""
        if not may_move(setting, self._acting(setting, step)):
            return 0
        return moves_at(step, self.options.moves, self.options.plant, self.options.until, self.options.every)

    def _moved(self, setting: Setting, most: int, lagged: bool = False) -> tuple[Move | None, ...]:
        return by_fidelity(setting, Move(most, self.options.length, self.options.threshold, lagged, self.options.stop)) if most else ()

    def weights(self, state: Any, step: Step) -> Tensor:
        """Equal parts for the branches that act."""
        told = cast(Shares, state)
        acting = self._acting(told.setting, step)
        return told.weights(tuple(float(acts) / sum(acting) for acts in acting))


def acting_in(setting: Setting, planting: bool, holding: bool) -> tuple[bool, ...]:
    """Which of the K branches draw a step: of the spatial ones those that plant or, by what their conditions say besides boxes, hold; then
    the fidelity branch; all, where there is none to hand over to."""
    acting = [role == "spatial" and (holding if holds(setting, k) else planting) for k, role in enumerate(setting.roles)]
    if not any(acting):
        acting = [role == "fidelity" for role in setting.roles]
    return tuple(acting) if any(acting) else (True,) * len(setting.roles)


def may_move(setting: Setting, acting: Sequence[bool]) -> bool:
    """Whether z may be moved by the fidelity branch's maps at a step at which these act: before it draws itself, only where a branch of
    boxes has planted what its loss would keep."""
    spatial = [k for k, role in enumerate(setting.roles) if role == "spatial"]
    if "fidelity" not in setting.roles or not spatial:
        return False
    return acting[setting.fidelity] or not all(holds(setting, k) for k in spatial)


def by_fidelity(setting: Setting, move: Move) -> tuple[Move | None, ...]:
    """The move, by the fidelity branch's maps."""
    return tuple(move if role == "fidelity" else None for role in setting.roles)


def holds(setting: Setting, k: int) -> bool:
    """Whether spatial branch k's condition says more than the boxes of its regions."""
    return setting.roles[k] == "spatial" and bool(setting.kinds) and setting.kinds[k] not in ("boxes", None)


def moves_at(step: Step, moves: int, begin: float, end: float, every: int = 1) -> int:
    """How many of a run's `moves` fall to this step, spread evenly over the steps from share `begin` of the run to share `end`: over one at
    least, in however few steps, where `end` comes after `begin`. Those of `every` steps fall to the first of them."""
    first, last = round(begin * step.count), round(end * step.count)
    return spread(step.index, moves, first, max(last, first + (end > begin)), every)


def spread(index: int, moves: int, first: int, last: int, every: int = 1) -> int:
    """How many of `moves` fall to step `index` where they are spread evenly over the steps from `first` to before `last`."""
    if not first <= index < last or (index - first) % every:
        return 0
    along, next_ = index - first, min(index - first + every, last - first)
    return next_ * moves // (last - first) - along * moves // (last - first)
