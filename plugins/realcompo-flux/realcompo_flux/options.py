"""Options of FLUX.1; no torch here."""

from __future__ import annotations

from pydantic import Field

from realcompo.toolkit import TransformerOptions
from realcompo.toolkit.control_options import TransformerControlOptions


class FluxOptions(TransformerOptions):
    """What every transformer has, how much of a prompt is read, and guidance by a second pass."""

    text_length: int = Field(
        512, ge=2, le=512, description="How many T5 tokens of a prompt are read, the end token included: 512 of dev, 256 of schnell."
    )
    true_cfg_scale: float = Field(
        1.0,
        ge=1,
        allow_inf_nan=False,
        description="Guidance by a second pass with the negative prompt, which the distilled models do without: 1 is none. The branch's "
        "guidance_scale is what dev is told as a number.",
    )


class FluxControlOptions(TransformerControlOptions):
    """What ControlNets of transformers have, and which of its hints a union ControlNet is shown."""

    base: str = Field("flux/dev", description="Id of the FLUX.1 branch whose network the ControlNet steers.")
    mode: int | None = Field(
        None, ge=0, description="Number of the hint's kind in a union ControlNet. Left out: that of the condition, in InstantX's numbers."
    )
