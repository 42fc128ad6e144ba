"""Options of SDXL branches; no torch here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from realcompo.toolkit import UNetOptions

Pixels = Annotated[int, Field(ge=0)]
Pair = tuple[Pixels, Pixels]


class SDXLOptions(UNetOptions):
    """What every UNet branch has, and the sizes that SDXL is told of: (height, width) or (top, left) in pixels, by diffusers' names."""

    map_divisor: int = Field(
        4,
        ge=1,
        description="Maps are read where the network works at the latent's height and width divided by this. SDXL has cross-attention at 2 "
        "and 4 only: 4 reads 32×32 maps of a 1024×1024 picture, 2 reads 64×64.",
    )
    original_size: Pair | None = Field(
        None,
        description="(height, width) that the picture is said to have had before it was resized for training; small ones look scaled up. "
        "Left out: the picture's own.",
    )
    crops_coords_top_left: Pair = Field((0, 0), description="(top, left) of the crop that it is said to be; (0, 0) centres the subject.")
    target_size: Pair | None = Field(None, description="(height, width) that it is said to be drawn at. Left out: the picture's own.")
    negative_original_size: Pair | None = Field(
        None, description="The same of the unconditional half, whose pictures guidance leads away from. Left out: as the conditional half."
    )
    negative_crops_coords_top_left: Pair | None = Field(None, description="Likewise.")
    negative_target_size: Pair | None = Field(None, description="Likewise.")
    force_zeros_for_empty_prompt: bool | None = Field(
        None,
        description="An empty negative prompt is zeros, not the encoded empty text. Left out: as the checkpoint's model_index.json says.",
    )

    def time_ids(self, size: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Six numbers each, original size, crop and target size, for the conditional and the unconditional half.

        Args:
            size: (height, width) of the picture.
        """
        original, crop, target = self.original_size or size, self.crops_coords_top_left, self.target_size or size
        away = (
            self.negative_original_size or original,
            crop if self.negative_crops_coords_top_left is None else self.negative_crops_coords_top_left,
            self.negative_target_size or target,
        )
        return (*original, *crop, *target), tuple(number for pair in away for number in pair)
