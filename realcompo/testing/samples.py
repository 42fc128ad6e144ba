"""What parity tests of several families are told: noise, two poses that differ, photos and masks. They say nothing by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..conditions import Keypoints

if TYPE_CHECKING:
    from torch import Tensor

POSE = Keypoints(
    {"a cat": {"nose": (0.3, 0.2), "neck": (0.3, 0.35), "right_hip": (0.25, 0.7), "left_hip": (0.36, 0.7), "left_knee": (0.4, 0.9)}}
)
TURNED = Keypoints(
    {"a cat": {"nose": (0.8, 0.9), "neck": (0.7, 0.7), "right_hip": (0.5, 0.3), "left_hip": (0.7, 0.2), "left_knee": (0.9, 0.1)}}
)
"""Somewhere else, and head down: a ControlNet that sees anything sees this as another hint."""
SIDE = 128


def noise(count: int = 2, channels: int = 16, side: int = 16) -> Tensor:
    """The first `count` of two unit noises, (count, channels, side, side)."""
    import torch

    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))[:count]


def photo(seed: int, wide: int = SIDE, high: int = SIDE) -> Image.Image:
    """Smooth shades: a picture of noise has latents that say little of it."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((wide, high), Image.Resampling.BICUBIC)


def mask(box: tuple[int, int, int, int] = (30, 40, 90, 120), wide: int = SIDE, high: int = SIDE) -> Image.Image:
    """White in a box (x0, y0, x1, y1) of pixels."""
    pixels = np.zeros((high, wide), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return Image.fromarray(pixels)
