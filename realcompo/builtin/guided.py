"""The guided middle: the spatial branches plant, the fidelity branch draws while its own placement loss holds, then it draws freely.

Three phases. In the first the spatial branches act alone. In the second the fidelity branch acts alone, and z is moved down the slope of
its loss (Eq. 6) before each step: the gradient of Eq. 7 spent on z, where one branch and a part of one pass suffice, in place of ξ, where
it takes all branches and a trial step. In the third the fidelity branch acts alone. Each step costs one guided prediction, and the second
phase its moves besides.

A pose or a map says more than its rectangles, which is all that the loss sees: branches of such conditions act longer, and without a
branch of boxes nothing is moved before the fidelity branch draws.
"""

from __future__ import annotations

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
        acting = tuple(share > 0 for share in self._shares(setting, step))
        return Needs(acting, moves=self._moves(setting, step, acting))

    def _moves(self, setting: Setting, step: Step, acting: tuple[bool, ...]) -> tuple[Move | None, ...]:
        most = moves_at(step, self.options.moves, self.options.plant, self.options.until)
        spatial = [k for k, role in enumerate(setting.roles) if role == "spatial"]
        if not most or "fidelity" not in setting.roles or not spatial:
            return ()
        if not acting[setting.fidelity] and all(holds(setting, k) for k in spatial):
            return ()
        move = Move(most, self.options.length, self.options.threshold)
        return tuple(move if role == "fidelity" else None for role in setting.roles)

    def _shares(self, setting: Setting, step: Step) -> tuple[float, ...]:
        """Equal parts for the spatial branches that still act; then the fidelity branch alone."""
        ends = [self.options.hold if holds(setting, k) else self.options.plant for k in range(len(setting.roles))]
        acting = [role == "spatial" and step.index < round(end * step.count) for role, end in zip(setting.roles, ends, strict=True)]
        if not any(acting):
            acting = [role == "fidelity" for role in setting.roles]
        if not any(acting):  # no fidelity branch to hand over to
            acting = [True] * len(setting.roles)
        return tuple(float(acts) / sum(acting) for acts in acting)

    def weights(self, state: Any, step: Step) -> Tensor:
        return cast(Shares, state).weights(self._shares(cast(Shares, state).setting, step))


def holds(setting: Setting, k: int) -> bool:
    """Whether spatial branch k's condition says more than the boxes of its regions."""
    return setting.roles[k] == "spatial" and bool(setting.kinds) and setting.kinds[k] not in ("boxes", None)


def moves_at(step: Step, moves: int, begin: float, end: float) -> int:
    """How many of a run's `moves` fall to this step, spread evenly over the steps from share `begin` of the run to share `end`: over one at
    least, in however few steps, where `end` comes after `begin`."""
    first, last = round(begin * step.count), round(end * step.count)
    last = max(last, first + (end > begin))
    if not first <= step.index < last:
        return 0
    along = step.index - first
    return (along + 1) * moves // (last - first) - along * moves // (last - first)
