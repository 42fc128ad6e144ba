"""Options of Stable Diffusion 3; no torch here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from realcompo.toolkit import TransformerOptions

Share = Annotated[float, Field(ge=0, le=1)]


class SD3Options(TransformerOptions):
    """What every transformer has, how much of a prompt is read, and skip-layer guidance."""

    text_length: int = Field(
        256, ge=2, le=512, description="How many T5 tokens of a prompt are read, the end token included. Both CLIP encoders read 77 beside."
    )
    map_text: Literal["t5", "clip", "both"] = Field(
        "t5",
        description="Whose tokens of a region's words its map is read at. A checkpoint that was saved without T5 is read at CLIP's.",
    )
    skip_layers: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (),
        description="Blocks that a third pass leaves out, for skip-layer guidance: what it predicts worse is led away from. Stability AI "
        "names 7, 8 and 9 for SD 3.5 medium. Left out: no third pass.",
    )
    skip_scale: float = Field(2.8, description="How far the prediction is led away from that of the third pass.")
    skip_start: Share = Field(0.01, description="Share of the steps after which there is a third pass.")
    skip_stop: Share = Field(0.2, description="Share of the steps from which on there is none.")
