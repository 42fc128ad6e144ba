"""Options of PixArt branches; no torch here."""

from __future__ import annotations

from pydantic import Field

from realcompo.toolkit import TransformerOptions


class PixArtOptions(TransformerOptions):
    """What every transformer has, and how much of a prompt is read."""

    text_length: int = Field(
        120,
        ge=2,
        le=1024,
        description="How many T5 tokens of a prompt are read, the end token included: PixArt-α was trained with 120, PixArt-Σ with 300.",
    )
