"""Networks that were distilled to draw in a few steps: how it is known that one is, and the guidance that some are told as a number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .lora import lora_path
from .options import CheckpointOptions
from .sources import Checkpoint
from .tensor_files import open_tensors

_SCHEDULERS = ("LCMScheduler", "TCDScheduler")
_NAMES = ("ss_output_name", "modelspec.title", "modelspec.tags")
"""Where trainers write what they call a LoRA."""
_WORDS = re.compile(r"(?<![a-z])(lcm|latent[ _-]?consistency|tcd|pcm|lightning|hyper[ _-]?sd(xl|15)?|turbo|dmd2?)(?![a-z])", re.IGNORECASE)


def is_distilled(checkpoint: Checkpoint, options: CheckpointOptions) -> bool:
    """The user's word; else whether the UNet is told its guidance, the checkpoint's scheduler is one of few steps, or a LoRA that acts
    calls itself so in its metadata. A file's own name is the user's, and tells nothing."""
    if options.distilled is not None:
        return options.distilled
    if checkpoint.has("unet") and told_guidance(checkpoint.config("unet")) is not None:
        return True
    if checkpoint.has("scheduler") and checkpoint.config("scheduler").get("_class_name") in _SCHEDULERS:
        return True
    told = zip(options.loras, options.lora_regions, strict=True)
    acting = [lora_path(file) for (file, scale), region in told if scale != 0 and not region]
    return any(path.is_file() and says_so(open_tensors(path).metadata) for path in acting)


def says_so(metadata: Mapping[str, str]) -> bool:
    """Whether a LoRA's metadata calls it one of few steps."""
    return any(_WORDS.search(str(metadata.get(name, ""))) for name in _NAMES)


def told_guidance(config: Mapping[str, Any]) -> int | None:
    """The width of the guidance scale's embedding in a UNet that is told it (a latent consistency model); None of others."""
    width = config.get("time_cond_proj_dim")
    return None if width is None else int(width)


def guidance_embedding(scale: float, width: int, like: Tensor) -> Tensor:
    """(rows, width): sines and cosines of 1000 · (w − 1) for each row of `like`, as latent consistency models were trained with (Luo et al.
    2023, arXiv 2310.04378, whose ω is w − 1)."""
    from diffusers.models.embeddings import get_timestep_embedding

    asked = torch.full((like.shape[0],), 1000 * (scale - 1), device=like.device, dtype=torch.float32)
    found: Tensor = get_timestep_embedding(asked, width, flip_sin_to_cos=False, downscale_freq_shift=1)
    return found.to(like.dtype)
