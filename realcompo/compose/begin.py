"""What a run begins with: noise, or the latents of pictures as they are at its first step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..interfaces import Inpainting
from ..noise.beginning import noised
from .canvas import Canvas
from .run import Run
from .undrawn import Kept


def begin(run: Run, canvas: Canvas | None, draw: Callable[[tuple[int, int, int]], Tensor], shape: tuple[int, int, int]) -> Tensor:
    """The first latents of a run (B, C, h, w) in the solver's own scale; sets what it keeps and what inpainting networks are told.

    Each picture's generator draws in diffusers' order: for the latents of the picture, for the noise, for those of what stands around the
    mask.

    Args:
        canvas: what the pictures are drawn over.
        draw: shape → unit noise (B, C, h, w) (`PictureInputs.noise`).
        shape: (C, h, w).
    """
    like = run.setting.masks
    if canvas is None:
        return run.solver.start(draw(shape).to(like))
    inpaints = [m.traits.inpaints for m in run.members]
    restores = bool(canvas.masks) and not all(inpaints)
    pure = bool(canvas.masks) and canvas.strength == 1
    clean = canvas.clean if canvas.clean is not None else (encoded(run, canvas.pixels()) if restores or not pure else None)
    unit = draw(shape).to(like)
    if canvas.masks:
        told = np.stack(canvas.masks)[:, None].astype(np.float32)
        mask = torch.nn.functional.interpolate(torch.from_numpy(told), size=shape[1:]).to(like)
        if restores and clean is not None:
            run.kept = Kept(clean, unit, mask)
        if any(inpaints):
            run.inpainting = Inpainting(mask, encoded(run, canvas.pixels(around=True)))
        else:  # diffusers encodes what stands around even where no network is told: its generators have drawn once more
            for generator in run.setting.generators:
                torch.randn(shape, generator=generator, device=generator.device)
    if pure or clean is None:
        return run.solver.start(unit)
    return noised(run.solver, clean, unit, run.solver.steps[0])


def encoded(run: Run, pixels: Tensor) -> Tensor:
    """Latents of pixels (B, 3, H, W) by the fidelity branch."""
    with run.awake(0) as branch:
        return run.meter.count("encode", None, lambda: branch.encode_pictures(pixels, run.setting.generators)).to(run.setting.masks)
