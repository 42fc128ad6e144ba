"""What of the latents is not drawn, and stays as the given pictures have it, at every step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..interfaces import Step
from ..noise.beginning import noised
from ..noise.diffusion import Solver


@dataclass(frozen=True, eq=False)
class Kept:
    """What is not drawn: outside the mask the latents are the given picture's, with the noise of the step.

    Attributes:
        clean, noise: (B, C, h, w) latents of the pictures, and the noise that the run began with.
        mask: (B, 1, h, w), 1 where latents are drawn.
    """

    clean: Tensor
    noise: Tensor
    mask: Tensor

    def after(self, x: Tensor, step: Step, solver: Solver) -> Tensor:
        """x, in the solver's own scale, after a step: what is not drawn as it is at the next one."""
        following = solver.steps[step.index + 1 : step.index + 2]
        old = noised(solver, self.clean, self.noise, following[0]) if following else self.clean
        return (1 - self.mask) * old + self.mask * x
