"""Where in a run a branch or balancer is asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """Where in the run we are: goes wherever a bare t would.

    Attributes:
        index, count: this step and how many there are.
        t, t_prev: timesteps of the network's training schedule (t_prev < t; it may be negative at the end).
        alpha_bar, alpha_bar_prev: ᾱ at t and at the end of this step's first-order transition, in [0, 1].
    """

    index: int
    count: int
    t: float
    t_prev: float
    alpha_bar: float
    alpha_bar_prev: float

    @property
    def share(self) -> float:
        """The share of the run that is over when this step begins, in [0, 1)."""
        return self.index / self.count
