"""What latents look like at a glance: a linear map of their channels to RGB, kept as numbers for each latent space.

A preview costs a product of a few numbers a pixel, where the decoder costs as much as a step. It is as large as the latents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from ..specs import LatentSpace

if TYPE_CHECKING:
    from torch import Tensor

Rows = tuple[tuple[float, float, float], ...]
"""A row (red, green, blue) a channel, and a last one that is added to all: pixels in [−1, 1]."""

_NONE = (0.0, 0.0, 0.0)

PUBLISHED: dict[str, Rows] = {
    "sd": (
        (0.3512, 0.2297, 0.3227),
        (0.3250, 0.4974, 0.2350),
        (-0.2829, 0.1762, 0.2721),
        (-0.2120, -0.2616, -0.7177),
        _NONE,
    ),
    "sdxl": (
        (0.3651, 0.4232, 0.4341),
        (-0.2533, -0.0042, 0.1068),
        (0.1076, 0.1111, -0.0362),
        (-0.3165, -0.2492, -0.2188),
        (0.1084, -0.0175, -0.0011),
    ),
    "sd3": (
        (-0.0922, -0.0175, 0.0749),
        (0.0311, 0.0633, 0.0954),
        (0.1994, 0.0927, 0.0458),
        (0.0856, 0.0339, 0.0902),
        (0.0587, 0.0272, -0.0496),
        (-0.0006, 0.1104, 0.0309),
        (0.0978, 0.0306, 0.0427),
        (-0.0042, 0.1038, 0.1358),
        (-0.0194, 0.0020, 0.0669),
        (-0.0488, 0.0130, -0.0268),
        (0.0922, 0.0988, 0.0951),
        (-0.0278, 0.0524, -0.0542),
        (0.0332, 0.0456, 0.0895),
        (-0.0069, -0.0030, -0.0810),
        (-0.0596, -0.0465, -0.0293),
        (-0.1448, -0.1463, -0.1189),
        (0.2394, 0.2135, 0.1925),
    ),
    "flux": (
        (-0.0346, 0.0244, 0.0681),
        (0.0034, 0.0210, 0.0687),
        (0.0275, -0.0668, -0.0433),
        (-0.0174, 0.0160, 0.0617),
        (0.0859, 0.0721, 0.0329),
        (0.0004, 0.0383, 0.0115),
        (0.0405, 0.0861, 0.0915),
        (-0.0236, -0.0185, -0.0259),
        (-0.0245, 0.0250, 0.1180),
        (0.1008, 0.0755, -0.0421),
        (-0.0515, 0.0201, 0.0011),
        (0.0428, -0.0012, -0.0036),
        (0.0817, 0.0765, 0.0749),
        (-0.1264, -0.0522, -0.1103),
        (-0.0280, -0.0881, -0.0499),
        (-0.1262, -0.0982, -0.0778),
        (-0.0329, -0.0718, -0.0851),
    ),
}
"""Name of a latent space → its numbers, as ComfyUI publishes them (comfy/latent_formats.py of v0.38; SD3's are of v0.3): measured on
pictures and their latents, in the scale that the networks see. A plugin's own space brings its own (`LatentSpace.rgb`)."""


def rows_of(space: LatentSpace) -> Rows | None:
    """The numbers of a latent space; None where nobody has measured them, or where they are of another number of channels."""
    rows = space.rgb if space.rgb is not None else PUBLISHED.get(space.name)
    return rows if rows is not None and len(rows) == space.channels + 1 else None


def glimpse(z: Tensor, rows: Rows) -> list[Image.Image]:
    """B pictures of latents (B, C, h, w), w × h pixels each. What is no number counts as 0."""
    import numpy as np

    told = np.asarray(rows, dtype=np.float32)
    latents = np.nan_to_num(z.detach().float().cpu().numpy(), nan=0.0, posinf=0.0, neginf=0.0)
    pixels = np.einsum("bchw,cd->bhwd", latents, told[:-1]) + told[-1]
    shown = ((pixels + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    return [Image.fromarray(one) for one in shown]
