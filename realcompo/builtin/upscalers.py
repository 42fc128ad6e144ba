"""The core's own upscalers: of latents by interpolation, of pictures by Lanczos' kernel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from ..interfaces import Upscaler
from .options import LatentOptions


class Latent(Upscaler):
    """Interpolates latents: quick, and soft until the second pass has drawn over it."""

    works_on = "latents"
    options: LatentOptions

    def __init__(self, options: LatentOptions | None = None) -> None:
        super().__init__(options or LatentOptions())

    def __call__(self, what: Tensor, size: tuple[int, int]) -> Tensor:
        smooth = {} if self.options.mode == "nearest-exact" else {"align_corners": False, "antialias": True}
        return torch.nn.functional.interpolate(what, size=size, mode=self.options.mode, **smooth)


class Lanczos(Upscaler):
    """Resizes decoded pictures: as sharp as they were, at the cost of decoding and encoding."""

    def __call__(self, what: Sequence[Image.Image], size: tuple[int, int]) -> list[Image.Image]:
        return [picture.resize((size[1], size[0]), Image.Resampling.LANCZOS) for picture in what]
