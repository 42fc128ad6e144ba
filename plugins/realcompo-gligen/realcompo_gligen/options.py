"""Options of GLIGEN branches; no torch here."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from realcompo.toolkit import UNetOptions


class GligenOptions(UNetOptions):
    """What every UNet branch has, how long the boxes hold, and what GLIGEN's layers are put on."""

    grounding_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the steps, from the first, in which the boxes act. 1 holds them to the end, as RealCompo does; "
        "diffusers' GLIGEN pipeline lets go after 0.3, before a usual warm-up ends.",
    )
    base: str | None = Field(
        None,
        description="Id of a Stable Diffusion 1.x branch that the gated layers of the GLIGEN checkpoint are put on: its UNet and text "
        "encoder draw, and the boxes place. Left out: the GLIGEN checkpoint as it is.",
    )
    base_source: str | None = Field(
        None, description="Hub id, folder or single file of the base's checkpoint, in place of the base branch's own."
    )
    base_options: dict[str, Any] = Field(default_factory=dict, description="Options of the base branch (`realcompo show BASE`).")
