"""What every training stage shares: checkpoints, learning rate, running average of the weights, sheets of pictures, logging."""

from __future__ import annotations

import copy
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn


@dataclass(frozen=True)
class Settings:
    """What the command line decides for every stage. `out` holds everything that training writes."""

    out: Path
    seed: int = 0
    device: str = "cpu"
    steps: int | None = None  # in place of the stage's own total
    threads: int = 1
    scenes: int = 50_000
    compile: bool = False
    """torch.compile autoencoder and flow: a third faster. Not the UNets: their gradient was lost in the upsamplers (torch 2.13, CPU)."""
    minutes: float = math.inf  # stop (and save) after so long; the next start goes on
    base: Path | None = None  # folder of the text-to-image model that the fine-tunes start from
    rank: int | None = None  # of LoRAs, in place of the stage's own
    shift: float | None = None  # of the flow's noise levels, in place of the stage's own
    decay: int | None = None  # steps at the end over which a constant rate falls, in place of the stage's own share
    batch: int | None = None  # samples a step, in place of the stage's own


def start_log(folder: Path, stage: str) -> logging.Logger:
    """Log to the screen and to `folder`/log.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger("realcompo_mini")
    root.setLevel(logging.INFO)
    for handler in list(root.handlers):
        root.removeHandler(handler)
    form = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    for handler in (logging.StreamHandler(), logging.FileHandler(folder / "log.txt")):
        handler.setFormatter(form)
        root.addHandler(handler)
    return logging.getLogger(f"realcompo_mini.{stage}")


def save_checkpoint(path: Path, **content: Any) -> None:
    """Write tensors and plain numbers whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(content, part)
    os.replace(part, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The checkpoint, or None when there is none yet. Only tensors and plain values are read."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def cosine(step: int, total: int, peak: float, warm: int = 200, floor: float = 0.02) -> float:
    """Learning rate: linear warm-up, then half a cosine down to floor × peak at `total`."""
    if step < warm:
        return peak * (step + 1) / warm
    share = min(1.0, (step - warm) / max(1, total - warm))
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))


def plateau(step: int, total: int, peak: float, last: int, warm: int = 200) -> float:
    """Learning rate: linear warm-up, then constant, then down to 0 over the `last` steps before `total`, as 1 − √share.

    For a stage whose length is not known when it begins: until the fall, the weights do not depend on `total`.
    """
    if step < warm:
        return peak * (step + 1) / warm
    share = max(0.0, (step - (total - last)) / max(1, last))
    return peak * (1 - math.sqrt(min(1.0, share)))


class Average:
    """Exponential moving average of a module's weights, with the usual ramp for the first steps."""

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        ours, theirs = list(self.module.parameters()), [p.detach() for p in module.parameters()]
        torch._foreach_lerp_(ours, theirs, 1 - decay)


def sheet(pictures: np.ndarray, path: Path, columns: int = 8) -> None:
    """Save (N, H, W, 3) uint8 pictures side by side."""
    n, h, w, _ = pictures.shape
    rows = math.ceil(n / columns)
    canvas = np.full((rows * (h + 2), columns * (w + 2), 3), 128, np.uint8)
    for k, picture in enumerate(pictures):
        y, x = divmod(k, columns)
        canvas[y * (h + 2) : y * (h + 2) + h, x * (w + 2) : x * (w + 2) + w] = picture
    part = path.with_suffix(".part.png")
    Image.fromarray(canvas).save(part)
    part.replace(path)


def to_pictures(tensor: torch.Tensor) -> np.ndarray:
    """(B, 3, H, W) in −1 … 1 → (B, H, W, 3) uint8."""
    return tensor.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
