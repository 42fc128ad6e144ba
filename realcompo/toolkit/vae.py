"""Decoding and encoding: which precision a VAE can bear, pictures and latents one by one. A VAE is left as it was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import NotFinite
from .guard import exclusive


def decoding_dtype(config: Mapping[str, Any], dtype: torch.dtype) -> torch.dtype:
    """What a VAE decodes in: float16 overflows in many (in SDXL's above all, whose pictures are black then), and their configs say so by
    ``force_upcast``, which is diffusers' default: those decode in float32. bfloat16 has float32's range and stays.

    Args:
        config: of the VAE.
        dtype: of the branch, or that the VAE is in.
    """
    return torch.float32 if dtype == torch.float16 and config.get("force_upcast", True) else dtype


def decode_pictures(vae: Any, latents: Tensor, tiling: bool = False) -> list[Image.Image]:
    """Pictures of B unscaled latents (B, C, h, w), one after the other: a batch then needs no more memory than one picture, and gives
    the same pixels.

    Args:
        vae: where it is, and in its dtype, but for `decoding_dtype` while it decodes.
        tiling: decode what is larger than the VAE's own size (``sample_size``) in overlapping tiles of that size.

    Raises:
        NotFinite: pixels of a picture are NaN or infinite.
    """
    pictures = []
    with exclusive(vae), _upcast(vae), _tiled(vae, tiling):
        for one in latents.to(vae.device, vae.dtype).unsqueeze(1):
            pixels = vae.decode(one, return_dict=False)[0][0]
            _check(pixels.detach())
            pixels = (pixels.float() / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu()
            pictures.append(Image.fromarray((pixels * 255).round().to(torch.uint8).numpy()))
    return pictures


def encode_pictures(vae: Any, pixels: Tensor, generators: Sequence[torch.Generator], tiling: bool = False) -> Tensor:
    """Unscaled latents (B, C, h, w) of pixels (B, 3, H, W) in [−1, 1], picture by picture, on the VAE's device in float32 or more. An
    encoder that tells a distribution is drawn from by each picture's own generator, as in diffusers' pipelines.

    Args:
        vae, tiling: see `decode_pictures`.
    """
    found = []
    with exclusive(vae), _upcast(vae), _tiled(vae, tiling):
        for one, generator in zip(pixels.unsqueeze(1), generators, strict=True):
            encoded = vae.encode(one.to(vae.device, vae.dtype))
            latents = encoded.latent_dist.sample(generator) if hasattr(encoded, "latent_dist") else encoded.latent
            found.append(latents.to(torch.promote_types(latents.dtype, torch.float32)))
    return torch.cat(found)


def _check(pixels: Tensor) -> None:
    """Of one picture, in the dtype that it was decoded in."""
    peak = float(torch.linalg.vector_norm(pixels, math.inf))
    if math.isfinite(peak):
        return
    mend = "draw with a smaller guidance_scale; if that does not help, the VAE's weights may be damaged: fetch the checkpoint again"
    if pixels.dtype == torch.float16:
        mend = (
            "decode in float32 (force_upcast = true in the VAE's config.json), draw with dtype = 'bfloat16' or 'float32', "
            "or take a VAE made for float16, such as madebyollin/sdxl-vae-fp16-fix"
        )
    raise NotFinite(f"the picture that its VAE decoded holds {'NaN' if math.isnan(peak) else 'infinity'}", where="VAE", mend=mend)


@contextmanager
def _upcast(vae: Any) -> Iterator[None]:
    """In its decoding dtype; afterwards each tensor is the one that it was, not a copy of its value."""
    dtype = decoding_dtype(vae.config, vae.dtype)
    changed = [tensor for tensor in chain(vae.parameters(), vae.buffers()) if tensor.dtype != dtype] if dtype != vae.dtype else []
    before = [tensor.data for tensor in changed]
    try:
        for tensor in changed:
            tensor.data = tensor.data.to(dtype)
        yield
    finally:
        for tensor, data in zip(changed, before, strict=True):
            tensor.data = data


@contextmanager
def _tiled(vae: Any, tiling: bool) -> Iterator[None]:
    """In tiles, if asked for: the VAE may be shared with a branch that did not ask, or be the user's."""
    before = vae.use_tiling
    try:
        if tiling:
            vae.use_tiling = True
        yield
    finally:
        vae.use_tiling = before
