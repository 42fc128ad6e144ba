"""What the detector of scorer.py does not see: the look of a picture, the joints of its people, the class of each pixel.

One small network, trained on rendered scenes of every look only. (B, 3, 128, 128) → four looks; a heat map of each of 18 joints at
32×32; classes of pixels at 64×64, 0 for none and then the kinds of the world in their order.
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

from realcompo.conditions.keypoints import OPENPOSE_18
from realcompo_mini.scorer import Residual, as_input, downsample
from realcompo_mini.world import load_world

if TYPE_CHECKING:
    from PIL import Image

LOOKS = ("3d", "flat", "outline", "cute")
JOINTS = OPENPOSE_18
JOINT_GRID, PIXEL_GRID, WIDTH = 32, 64, 96


@dataclass(frozen=True)
class Reading:
    """Of B pictures.

    Attributes:
        looks: (B, 4) probabilities of `LOOKS`.
        joints: (B, 18, 2) where each joint most likely is, (x, y) in shares of the picture: it always answers, also where nobody stands.
        classes: (B, 64, 64) of pixels.
    """

    looks: Tensor
    joints: Tensor
    classes: Tensor

    @property
    def names(self) -> list[str]:
        """The likeliest look of each picture."""
        return [LOOKS[k] for k in self.looks.argmax(1).tolist()]


class Reader(nn.Module):
    """(B, 3, 128, 128) in −1 … 1 → logits (B, 4), (B, 18, 32, 32), (B, 1 + kinds, 64, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = downsample(3, 24)
        self.second = nn.Sequential(downsample(24, 48), Residual(48))
        self.deep = nn.Sequential(downsample(48, WIDTH), Residual(WIDTH))
        self.deepest = nn.Sequential(downsample(WIDTH, 128), Residual(128), Residual(128))
        self.up1, self.up2, self.up3 = nn.Conv2d(128, WIDTH, 1), nn.Conv2d(WIDTH, 48, 1), nn.Conv2d(48, 24, 1)
        self.mix1, self.mix2, self.mix3 = Residual(WIDTH), Residual(48), Residual(24)
        # the look is in the strokes, not in what is drawn: read from early and late features alike
        self.look = nn.Linear(24 + 48 + 128, len(LOOKS))
        self.joint = nn.Sequential(nn.Conv2d(48, 64, 3, padding=1), nn.ReLU(True), nn.Conv2d(64, len(JOINTS), 1))
        self.pixel = nn.Sequential(nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(True), nn.Conv2d(48, 1 + len(load_world().kinds), 1))
        nn.init.constant_(self.joint[-1].bias, -4.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.first(x)
        second = self.second(first)
        deep = self.deep(second)
        deepest = self.deepest(deep)
        pooled = torch.cat([part.mean((2, 3)) for part in (first, second, deepest)], 1)
        deep = self.mix1(deep + F.interpolate(self.up1(deepest), scale_factor=2.0))
        second = self.mix2(second + F.interpolate(self.up2(deep), scale_factor=2.0))
        fine = self.mix3(first + F.interpolate(self.up3(second), scale_factor=2.0))
        return self.look(pooled), self.joint(second), self.pixel(fine)


@lru_cache(maxsize=1)
def load_reader(path: Path | None = None) -> Reader:
    """The shipped reader, or the one at `path` (safetensors)."""
    from safetensors.torch import load

    file = path or resources.files("realcompo_mini").joinpath("weights/reader/model.safetensors")
    model = Reader()
    model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in load(file.read_bytes()).items()})
    return model.eval().requires_grad_(False)


@torch.no_grad()
def read_pictures(pictures: list[Image.Image] | np.ndarray[Any, Any], reader: Reader | None = None) -> Reading:
    """Look, joints and pixels of pictures of 128×128, or of (B, 128, 128, 3) uint8."""
    looks, heat, pixels = (reader or load_reader())(as_input(pictures))
    return Reading(looks.softmax(1), peaks(heat.sigmoid()), pixels.argmax(1))


def peaks(heat: Tensor) -> Tensor:
    """(B, J, 2) places (x, y), in shares, of the highest point of maps (B, J, h, w), to a fraction of a cell: the mean of the 5×5 cells
    about it, weighted by the map."""
    _, _, h, w = heat.shape
    top = heat.flatten(2).argmax(2)
    y, x = top // w, top % w
    rows = torch.arange(h, device=heat.device).view(1, 1, h, 1)
    columns = torch.arange(w, device=heat.device).view(1, 1, 1, w)
    near = ((rows - y[..., None, None]).abs() <= 2) & ((columns - x[..., None, None]).abs() <= 2)
    weight = heat.clamp(min=1e-6) * near
    total = weight.sum((2, 3))
    return torch.stack([(weight * (columns + 0.5)).sum((2, 3)) / total / w, (weight * (rows + 0.5)).sum((2, 3)) / total / h], -1)


def joint_error(found: np.ndarray[Any, Any], wanted: dict[str, tuple[float, float]]) -> float:
    """Mean distance of the joints wanted from those found (18, 2), in shares of the picture's side."""
    return float(np.mean([np.hypot(*(found[JOINTS.index(name)] - np.array(point))) for name, point in wanted.items()]))


def mean_iou(found: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    """Mean over the kinds that are in the truth of intersection over union; both (h, w), 0 for none. 1 where the truth holds nothing."""
    kinds = [k for k in np.unique(truth).tolist() if k]
    shares = [((found == k) & (truth == k)).sum() / ((found == k) | (truth == k)).sum() for k in kinds]
    return float(np.mean(shares)) if shares else 1.0


def pixel_truth(kinds: list[str], masks: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(64, 64) classes of a scene from its objects' kinds and masks (N, 128, 128) bool: the class that fills most of a cell."""
    names = list(load_world().kinds)
    step = masks.shape[1] // PIXEL_GRID
    cover = np.zeros((1 + len(names), PIXEL_GRID, PIXEL_GRID), np.float32)
    for kind, mask in zip(kinds, masks, strict=True):
        cover[1 + names.index(kind)] += mask.reshape(PIXEL_GRID, step, PIXEL_GRID, step).mean((1, 3))
    cover[0] = 1 - cover[1:].sum(0)
    out: np.ndarray[Any, Any] = cover.argmax(0).astype(np.int64)
    return out
