"""The guided middle by feedback: the phases of guided.py, of which each picture ends its own by what its maps say.

The maps are those of the passes that predict anyway (`Needs.looks`), so that asking costs next to nothing: of the spatial branches while
they plant, of the fidelity branch while its loss holds. A phase has done its work when regions *stand*, or when the loss no longer falls;
bounds, shares of the run, end it in any case, and where nothing is told. So moves are made where they are needed.

What is compared is free of a network's and a layout's scale: the placement loss (Eq. 6) over what it is where attention knows nothing and
lies evenly over the picture, of the region that stands worst, λ = max_r L_r / (1 − |M_r|), and how much of it a step takes away. A picture
lacks what its worst region lacks: on the mini family it foretells more of what is placed than their mean does.

A decision is one whole number a picture, from which its state follows: twice λ in 400ths, rounded, and one more where the phase ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from ..interfaces import Balancer, Move, Needs, Seen, Setting, Step
from .guided import acting_in, by_fidelity, holds, may_move, spread
from .options import FeedbackOptions

PARTS, MOST = 400, 499
"""λ is known in parts of one, up to so many of them; 0 is a step of which nothing is told."""


@dataclass(frozen=True)
class Phases:
    """Where B pictures are.

    Attributes:
        setting: of the run.
        held: the step at which a picture's hold began, freed: at which it ended, by feedback; None where neither has.
        last: λ of the phase's last step in `PARTS`; 0 where none is known.
    """

    setting: Setting
    held: tuple[int | None, ...]
    freed: tuple[int | None, ...]
    last: tuple[int, ...]


class Feedback(Balancer):
    """See the module; options in options.py."""

    options: FeedbackOptions

    def start(self, setting: Setting) -> Phases:
        count = setting.masks.shape[0]
        return Phases(setting, (None,) * count, (None,) * count, (0,) * count)

    # -- phases ------------------------------------------------------------------------------------------------------------

    def _span(self, state: Phases, step: Step, b: int) -> tuple[int, int]:
        """The first step of picture b's hold, and the first after it, as far as they are known: at their bounds, if not before."""
        most = round(self.options.plant[1] * step.count)
        first = most if state.held[b] is None else min(cast(int, state.held[b]), most)
        last = max(round(self.options.until * step.count), first + (self.options.until > self.options.plant[1]))
        return first, last

    def phase(self, state: Phases, step: Step, b: int) -> int:
        """0 while picture b's spatial branches plant, 1 while the fidelity branch's loss holds, 2 when it draws freely."""
        first, last = self._span(state, step, b)
        ended = state.freed[b]
        if step.index < first:
            return 0
        return 1 if step.index < last and (ended is None or step.index < ended) else 2

    def _acting(self, state: Phases, step: Step, b: int) -> tuple[bool, ...]:
        return acting_in(state.setting, self.phase(state, step, b) == 0, step.index < round(self.options.hold * step.count))

    def _planters(self, setting: Setting) -> list[int]:
        """Spatial branches whose condition says no more than boxes do."""
        return [k for k, role in enumerate(setting.roles) if role == "spatial" and not holds(setting, k)]

    def _moves(self, state: Phases, step: Step, b: int) -> int:
        """Moves of picture b at this step: those of the run are spread over the steps from its own first of hold to its bound."""
        if self.phase(state, step, b) != 1 or not may_move(state.setting, self._acting(state, step, b)):
            return 0
        return spread(step.index, self.options.moves, *self._span(state, step, b))

    # -- what a step uses --------------------------------------------------------------------------------------------------

    def needs(self, state: Any, step: Step) -> Needs:
        told = cast(Phases, state)
        setting, pictures = told.setting, range(len(told.held))
        acting = tuple(zip(*(self._acting(told, step, b) for b in pictures), strict=True))
        each = tuple(self._moves(told, step, b) for b in pictures)
        phases = {self.phase(told, step, b) for b in pictures}
        looks = tuple((1 if role == "fidelity" else 0) in phases and any(acting[k]) for k, role in enumerate(setting.roles))
        if not any(each):
            return Needs(acting, looks=looks)
        return Needs(acting, moves=by_fidelity(setting, Move(max(each), self.options.length, each=each)), looks=looks)

    def weights(self, state: Any, step: Step) -> Tensor:
        """Equal parts for the branches that act in a picture."""
        told = cast(Phases, state)
        masks = told.setting.masks
        acting = torch.tensor([self._acting(told, step, b) for b in range(len(told.held))]).to(masks)  # (B, K)
        shares = (acting / acting.sum(dim=1, keepdim=True)).T[:, :, None, None, None]
        return shares * masks.new_ones(1, *masks.shape[2:])

    # -- feedback ----------------------------------------------------------------------------------------------------------

    def decide(self, state: Any, step: Step, seen: Seen) -> Sequence[int]:
        told = cast(Phases, state)
        known = [parts_of(one) for one in self._relative(told, step, seen)]
        return [2 * parts + self._ends(told, step, b, parts) for b, parts in enumerate(known)]

    def follow(self, state: Any, step: Step, decided: Sequence[int]) -> Phases:
        told, next_ = cast(Phases, state), step.index + 1
        held, freed, last = list(told.held), list(told.freed), [min(one // 2, MOST) for one in decided]
        for b, one in enumerate(decided):
            phase = self.phase(told, step, b)
            ends = one % 2 == 1
            if phase == 0 and ends:
                held[b] = next_
            elif phase == 1 and ends:
                freed[b] = next_
        after = replace(told, held=tuple(held), freed=tuple(freed))
        begun = replace(step, index=next_)
        kept = [one if self.phase(after, begun, b) == self.phase(told, step, b) else 0 for b, one in enumerate(last)]
        return replace(after, last=tuple(kept))

    def _ends(self, state: Phases, step: Step, b: int, parts: int) -> bool:
        """Whether picture b's phase has done its work with this step."""
        phase = self.phase(state, step, b)
        if not parts or phase == 2 or (phase == 0 and step.index + 1 < round(self.options.plant[0] * step.count)):
            return False
        limit, still, before = self.options.stands[phase], self.options.still, state.last[b]
        return parts <= limit * PARTS or (still is not None and before > 0 and parts >= (1 - still) * before)

    def _relative(self, state: Phases, step: Step, seen: Seen) -> list[float | None]:
        """λ of each picture, by the branches that its phase asks, their mean where they are several; None where none told."""
        setting, found = state.setting, list[float | None]()
        shares = setting.relative(seen.loss)
        known = (seen.known & (seen.count > 0)).tolist()
        for b in range(len(state.held)):
            phase = self.phase(state, step, b)
            asked = self._planters(setting) if phase == 0 else [k for k, role in enumerate(setting.roles) if role == "fidelity"]
            told = [k for k in asked if known[k][b]]
            found.append(float(shares[told, b].mean(dim=0).max()) if told and phase < 2 else None)
        return found


def parts_of(relative: float | None) -> int:
    """λ in `PARTS`, from 1 up to `MOST`; 0 for None."""
    return 0 if relative is None else min(max(round(relative * PARTS), 1), MOST)
