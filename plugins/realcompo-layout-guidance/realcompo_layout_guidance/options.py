"""Options of layout guidance; no torch here."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from realcompo.specs import Options

Share = Annotated[float, Field(ge=0, le=1)]
Window = tuple[float, float]

ORIGINAL: Window = (0.0, 10 / 51)
BALANCED: Window = (0.0, 0.9)


class LayoutGuidanceOptions(Options):
    """What it builds on, when it guides and how hard. The defaults are the original's."""

    base: str = Field(
        "sd/v1-5", description="Id of the branch that it builds on: whose class and, unless a source is given, checkpoint it has."
    )
    base_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of that branch, such as download or places (`realcompo show` with its id)."
    )
    window: tuple[Share, Share] | None = Field(
        None,
        description="Shares of the run at which guidance begins and ends. Left out: the first 10 of 51 steps, as the original, where it "
        "draws alone; [0.0, 0.9] beside other branches, since there is nothing to balance with its own base once guidance is over.",
    )
    loss_scale: float = Field(30.0, ge=0, description="What the loss is multiplied by before its gradient is taken; 0 = no guidance.")
    threshold: float = Field(
        0.2, ge=0, description="A picture whose loss, before it is scaled, is no larger than this is left where it is."
    )
    inner_updates: int = Field(
        5, ge=1, description="The most moves of the latents in one step; each costs a part of a forward and backward pass."
    )
    guided_parts: tuple[Literal["down", "mid", "up"], ...] = Field(
        ("mid", "up"), min_length=1, description="Parts of the network whose cross-attention is guided."
    )
    guided_divisor: int | None = Field(
        None,
        ge=1,
        description="Guide all places of those parts that work at the latent's height and width divided by this. Left out: the mid "
        "block, the first up and the last down block that have cross-attention; the first two are the original's.",
    )

    @model_validator(mode="after")
    def _order(self) -> LayoutGuidanceOptions:
        if self.window is not None and self.window[0] > self.window[1]:
            raise ValueError(f"the window {self.window} ends before it begins")
        return self

    def shares(self, balanced: bool) -> Window:
        """The window in force, for a run in which it is or is not beside other branches."""
        return self.window or (BALANCED if balanced else ORIGINAL)


def steps(window: Window, count: int) -> range:
    """Indices of the guided steps of a run of `count`: a window that is not empty guides one at least."""
    first, last = (math.ceil(share * count - 1e-9) for share in window)
    return range(first, last)
