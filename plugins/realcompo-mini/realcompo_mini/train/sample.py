"""Drawing from a network in training, for the sheets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from diffusers import AutoencoderDC

from realcompo_mini.train.common import to_pictures
from realcompo_mini.train.models import CHANNELS, SIDE, TIMES, alphas_bar, shifted


@torch.no_grad()
def draw(
    noise_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], count: int, autoencoder: AutoencoderDC, steps: int = 20, seed: int = 0
) -> np.ndarray:
    """(count, 128, 128, 3) uint8 by deterministic DDIM; noise_of(z, t) is the guided prediction, t (B,)."""
    z = _start(count, seed)
    bars = alphas_bar()
    times = torch.linspace(TIMES - 1, 0, steps + 1).round().long()
    for t, after in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        noise = noise_of(z, torch.full((count,), t)).float()
        clean = (z - (1 - bars[t]).sqrt() * noise) / bars[t].sqrt()
        z = bars[after].sqrt() * clean + (1 - bars[after]).sqrt() * noise
    return _decoded(clean, autoencoder)


@torch.no_grad()
def draw_flow(
    velocity_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    count: int,
    autoencoder: AutoencoderDC,
    steps: int = 20,
    seed: int = 0,
    *,
    shift: float,
) -> np.ndarray:
    """(count, 128, 128, 3) uint8 by Euler steps along a rectified flow; velocity_of(z, σ) is the guided prediction, σ (B,) from 1 to 0."""
    z = _start(count, seed)
    levels = shifted(torch.linspace(1, 0, steps + 1), shift).tolist()
    for level, after in pairwise(levels):
        z = z + (after - level) * velocity_of(z, torch.full((count,), level)).float()
    return _decoded(z, autoencoder)


def _start(count: int, seed: int) -> torch.Tensor:
    """(count, 8, 16, 16) noise."""
    return torch.randn(count, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def _decoded(clean: torch.Tensor, autoencoder: AutoencoderDC) -> np.ndarray:
    return to_pictures(autoencoder.decode(clean / autoencoder.config.scaling_factor).sample)
