"""The scorer of the mini world: a small detector (name, colour, pattern, box) trained on rendered scenes only.

A picture of 128×128 gives a heat map of centres for every kind at 32×32 (a "CenterNet"), and at each centre a size, an offset,
a colour and a pattern. Its pooled features are those of the Fréchet distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realcompo_mini.layout import Box
from realcompo_mini.world import load_world

if TYPE_CHECKING:
    from PIL import Image

GRID, STRIDE, FEATURES = 32, 4, 128
THRESHOLD = 0.35  # of a peak; chosen on rendered scenes of the split "scorer"


@dataclass(frozen=True)
class Detection:
    """One object found: `colour` and `pattern` are None where the kind has none (pattern also where it is plain); box in shares."""

    kind: str
    colour: str | None
    pattern: str | None
    box: Box
    score: float


class Residual(nn.Module):
    """Two 3×3 convolutions and what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layers(x))


def downsample(before: int, after: int) -> nn.Sequential:
    """Half the height and width."""
    return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(True))


class Detector(nn.Module):
    """(B, 3, 128, 128) in −1 … 1 → maps (B, channels, 32, 32) and features (B, 96)."""

    def __init__(self) -> None:
        super().__init__()
        world = load_world()
        # heat, log size, offset, colour, pattern
        self.parts = (len(world.kinds), 2, 2, len(world.colours), len(world.patterns) + 1)
        self.stem = nn.Sequential(downsample(3, 24), downsample(24, 48), Residual(48))
        self.deep = nn.Sequential(downsample(48, 96), Residual(96))
        self.deepest = nn.Sequential(downsample(96, FEATURES), Residual(FEATURES), Residual(FEATURES))
        self.up1, self.up2 = nn.Conv2d(FEATURES, 96, 1), nn.Conv2d(96, 48, 1)
        self.mix1, self.mix2 = Residual(96), Residual(48)
        self.head = nn.Sequential(nn.Conv2d(48, 96, 3, padding=1), nn.ReLU(True), nn.Conv2d(96, sum(self.parts), 1))
        nn.init.constant_(self.head[-1].bias[: self.parts[0]], -4.0)  # type: ignore[index,arg-type]

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        fine = self.stem(x)
        middle = self.deep(fine)
        # half way up: the last features hardly tell looks apart (Fréchet distance of rendered flat | other 3D scenes to rendered 3D
        # ones 0.34 | 0.07; these 1.01 | 0.05), because the detector names a thing in any look
        features = middle.mean((2, 3))
        coarse = self.deepest(middle)
        middle = self.mix1(middle + F.interpolate(self.up1(coarse), scale_factor=2.0))
        fine = self.mix2(fine + F.interpolate(self.up2(middle), scale_factor=2.0))
        return self.head(fine).split(self.parts, 1), features


@lru_cache(maxsize=1)
def load_detector(path: Path | None = None) -> Detector:
    """The shipped detector, or the one at `path` (safetensors)."""
    from safetensors.torch import load

    file = path or resources.files("realcompo_mini").joinpath("weights/scorer/model.safetensors")
    model = Detector()
    model.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load(file.read_bytes()).items()}
    )
    return model.eval().requires_grad_(False)


def as_input(pictures: list[Image.Image] | np.ndarray[Any, Any]) -> Tensor:
    """Pictures of 128×128, or (B, 128, 128, 3) uint8, → (B, 3, 128, 128) in −1 … 1."""
    array = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]) if isinstance(pictures, list) else pictures
    side = load_world().side
    if array.shape[1:] != (side, side, 3):
        raise ValueError(f"the scorer reads pictures of {side}×{side} pixels, not {array.shape[2]}×{array.shape[1]}")
    return torch.from_numpy(np.array(array)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


@torch.no_grad()
def detect(
    pictures: list[Image.Image] | np.ndarray[Any, Any], detector: Detector | None = None, threshold: float = THRESHOLD
) -> list[list[Detection]]:
    """What is in each picture, best first."""
    model = detector or load_detector()
    maps, _ = model(as_input(pictures))
    return [_read([m[b] for m in maps], threshold) for b in range(len(maps[0]))]


@torch.no_grad()
def features(pictures: list[Image.Image] | np.ndarray[Any, Any], detector: Detector | None = None) -> Tensor:
    """(B, 96) pooled features, of what the detector sees half way."""
    return (detector or load_detector())(as_input(pictures))[1]


def _read(maps: list[Tensor], threshold: float) -> list[Detection]:
    world = load_world()
    heat, size, offset, colour, pattern = maps
    heat = heat.sigmoid()
    peak = (F.max_pool2d(heat[None], 3, 1, 1)[0] == heat) & (heat > threshold)
    found = []
    for k, y, x in peak.nonzero().tolist():
        kind = list(world.kinds.values())[k]
        w, h = size[:, y, x].exp().tolist()
        dx, dy = offset[:, y, x].tolist()
        cx, cy = (x + 0.5 + dx) / GRID, (y + 0.5 + dy) / GRID
        found.append(
            Detection(
                kind.name,
                list(world.colours)[int(colour[:, y, x].argmax())] if kind.colourable else None,
                [None, *world.patterns][int(pattern[:, y, x].argmax())] if kind.colourable else None,
                (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2),
                float(heat[k, y, x]),
            )
        )
    found.sort(key=lambda d: -d.score)
    kept: list[Detection] = []
    for one in found:  # two kinds at one place: the surer one
        if all(iou(one.box, other.box) < 0.6 for other in kept):
            kept.append(one)
    return kept


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    shared = w * h
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½) between two sets of features (N, D)."""
    return frechet_to(a, b.double().mean(0), torch.cov(b.double().T))


def frechet_to(a: Tensor, mean: Tensor, cb: Tensor) -> float:
    """The same to features of a mean (D,) and a covariance (D, D), in float64."""
    a = a.double()
    ca = torch.cov(a.T)
    values, vectors = torch.linalg.eigh(ca)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cb @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - mean).square().sum() + ca.trace() + cb.trace() - 2 * cross)
