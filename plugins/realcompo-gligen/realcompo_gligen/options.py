"""Options of GLIGEN branches; no torch here."""

from __future__ import annotations

from pydantic import Field

from realcompo.toolkit import UNetOptions


class GligenOptions(UNetOptions):
    """What every UNet branch has, and how long the boxes hold."""

    grounding_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the steps, from the first, in which the boxes act. 1 holds them to the end, as RealCompo does; "
        "diffusers' GLIGEN pipeline lets go after 0.3, before a usual warm-up ends.",
    )
