"""Where in a run a branch or balancer is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..errors import WrongLevel
from ..processes import Schedule


@dataclass(frozen=True)
class Step:
    """Where in the run we are: goes wherever a bare t would. What makes it a step is its noise level ᾱ; each branch is told the same step
    with the timestep and the scale of its own process (`seen_by`).

    Attributes:
        index, count: this step and how many there are.
        t, t_prev: timesteps of the network's training schedule (t_prev < t; it may be negative at the end).
        alpha_bar, alpha_bar_prev: ᾱ at t and at the end of this step's first-order transition, in [0, 1].
        scale: the network's latents are this times z of the variance-preserving scale; 1 but for flows and EDM.
        schedule: whose timesteps t and t_prev are; None where nobody says.
    """

    index: int
    count: int
    t: float
    t_prev: float
    alpha_bar: float
    alpha_bar_prev: float
    scale: float = 1.0
    schedule: Schedule | None = None

    @property
    def share(self) -> float:
        """The share of the run that is over when this step begins, in [0, 1)."""
        return self.index / self.count

    @property
    def sigma(self) -> float:
        """Noise over signal when this step begins, √((1 − ᾱ)/ᾱ): the σ that papers on guidance write; infinite at zero terminal SNR."""
        return math.inf if self.alpha_bar == 0 else math.sqrt((1 - self.alpha_bar) / self.alpha_bar)

    def seen_by(self, schedule: Schedule, hold: bool = False) -> Step:
        """The same level as a branch of another process counts it.

        Args:
            hold: a level with more noise than the branch knows is told as the last that it does, whose ᾱ the step then holds. One with less
                noise always is: what is left then hardly is noise.

        Raises:
            WrongLevel: more noise than the branch knows.
        """
        level = schedule.nearest(self.alpha_bar)
        if level > self.alpha_bar and not (hold or schedule.holds(self.alpha_bar)):
            raise WrongLevel(f"ᾱ = {self.alpha_bar:.3g} is more noise than it was trained at (ᾱ ≥ {schedule.range[0]:.3g})", mend=RANGE)
        return replace(
            self,
            t=schedule.timestep(level),
            t_prev=schedule.timestep(schedule.nearest(self.alpha_bar_prev)),
            alpha_bar=level,
            scale=schedule.scale(level),
            schedule=schedule,
        )


RANGE = "start the run where all its branches know the noise (noise_range = 'shared'), or hold them at their last timestep ('held')"
