"""Options of ControlNet branches; no torch here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from realcompo.toolkit import UNetOptions
from realcompo.toolkit.control_options import ControlOptions, NetOptions
from realcompo.toolkit.options import Place

__all__ = ["ControlNetOptions", "NetOptions"]

Level = Annotated[int, Field(ge=0, le=255)]


class ControlNetOptions(ControlOptions, UNetOptions):
    """What every UNet branch has, the base, and how strongly and how long the hint acts."""

    places: tuple[Place, ...] = Field(
        ("up",),
        min_length=1,
        description="Parts of the network whose cross-attention is read: down, mid, up. A ControlNet's residuals enter after the down "
        "and mid blocks, so only the up maps feel its hint.",
    )
    base: str = Field("sd/v1-5", description="Id of the Stable Diffusion or SDXL branch whose network the ControlNet steers.")
    palette: dict[str, tuple[Level, Level, Level]] | None = Field(
        None, description="Class → colour (r, g, b) that a segmentation ControlNet was trained on; none = ADE20K's 150 classes."
    )
