"""What a call may ask to be given back, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..arguments import called, shown
from ..errors import BadOption

OUTPUTS = ("pil", "np", "pt", "latent")
"""What a run can give back."""


def check_outputs(output_type: Any, callback: Any, progress: Any) -> None:
    """Raise BadOption where what is to happen with the pictures cannot."""
    if output_type not in OUTPUTS:
        raise BadOption(f"output_type = {shown(output_type)}", mend=f"one of {', '.join(map(repr, OUTPUTS))}")
    called("callback_on_step_end", callback)
    called("progress", progress)


def as_output(images: Sequence[Image.Image], output_type: str) -> Any:
    """Pictures as they were asked for: as they are, (B, H, W, 3) of numpy's, or (B, 3, H, W) of torch's, in [0, 1]."""
    if output_type == "pil":
        return images
    arrays = np.stack([np.asarray(image, dtype=np.float32) / 255 for image in images])
    return arrays if output_type == "np" else torch.from_numpy(arrays).permute(0, 3, 1, 2)


def returned_latents(told: Any, x: Tensor) -> Tensor:
    """The latents that a callback gave back, or those that it was given.

    Raises:
        BadOption: something else, or latents of another shape.
    """
    if told is None:
        return x
    if not isinstance(told, Mapping):
        raise BadOption(f"callback_on_step_end returned {shown(told)}", mend='return {"latents": …}, as in diffusers, or None')
    found = told.get("latents", x)
    if not isinstance(found, Tensor) or found.shape != x.shape or not found.is_floating_point():
        what = tuple(found.shape) if isinstance(found, Tensor) else shown(found)
        raise BadOption(
            f"callback_on_step_end returned latents of {what}, expected {tuple(x.shape)}",
            mend="return those it was given, changed in place or not",
        )
    return found.to(x)
