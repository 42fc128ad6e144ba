"""Stage `reader`: looks, joints and pixels, on scenes that are rendered as they are needed; measured on scenes of another split."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realcompo_mini.reader import JOINT_GRID, JOINTS, LOOKS, Reader, joint_error, mean_iou, pixel_truth, read_pictures
from realcompo_mini.train.base import save_half
from realcompo_mini.train.common import Settings
from realcompo_mini.train.data import write_json
from realcompo_mini.train.loop import Course, run
from realcompo_mini.train.poses import people
from realcompo_mini.train.render import Picture, render
from realcompo_mini.train.scenes import Scene, sample_scene
from realcompo_mini.train.scorer import disturb
from realcompo_mini.train.sprites import load

SCENES, JUDGED, CHECKED = 40_000, 200, 24
SPREAD = 1.0  # standard deviation of a joint's bump, in cells


def look_of(index: int) -> str:
    """3D, which most is measured on, comes twice as often as each other look."""
    return (*LOOKS, "3d")[index * 7 % 5]


def scene_of(index: int, seed: int, split: str = "scorer") -> Scene:
    """Every second scene holds people."""
    return sample_scene(split, 1_000_000 + index, seed, blind=True, kind="person" if index % 2 else None)


def joint_truth(scene: Scene, look: str) -> np.ndarray[Any, Any]:
    """(18, 32, 32) bumps at the joints of all people."""
    grid = np.arange(JOINT_GRID) + 0.5
    heat = np.zeros((len(JOINTS), JOINT_GRID, JOINT_GRID), np.float32)
    for points in people(scene, look).values():
        for name, (x, y) in points.items():
            dx, dy = (grid - x * JOINT_GRID) ** 2, (grid - y * JOINT_GRID) ** 2
            bump = np.exp(-(dx[None] + dy[:, None]) / (2 * SPREAD**2))
            j = JOINTS.index(name)
            heat[j] = np.maximum(heat[j], bump)
    return heat


class Reading(Course):
    """Attributes: see `Course`."""

    name, total, batch, peak, check, decay, clip = "reader", 1500, 24, 2e-3, 200, 0.998, 5.0

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.device = settings, torch.device(settings.device)
        self.sprites = load(settings.out / "sprites" / "sprites.npz")
        self.count = SCENES
        self.model = Reader().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(self, index: np.ndarray[Any, Any], step: int) -> Tensor:
        scenes = [scene_of(int(k), self.settings.seed) for k in index]
        looks = [look_of(int(k)) for k in index]
        pictures = [render(scene, look, self.sprites) for scene, look in zip(scenes, looks, strict=True)]
        pixels = disturb(np.stack([p.pixels for p in pictures]))
        with torch.autocast(self.device.type, torch.bfloat16):
            out = self.model(pixels.to(self.device, memory_format=torch.channels_last))
        look, joint, pixel = (part.float() for part in out)
        told = torch.tensor([LOOKS.index(name) for name in looks])
        heat = torch.from_numpy(np.stack([joint_truth(scene, name) for scene, name in zip(scenes, looks, strict=True)]))
        truth = torch.from_numpy(np.stack([_classes(scene, p) for scene, p in zip(scenes, pictures, strict=True)]))
        told, heat, truth = (part.to(self.device) for part in (told, heat, truth))
        # bumps are few among many empty cells: they weigh more
        blur = F.binary_cross_entropy_with_logits(joint, heat, weight=1 + 20 * heat)
        return 0.3 * F.cross_entropy(look, told) + 10 * blur + F.cross_entropy(pixel, truth, weight=self._weights(pixel))

    def _weights(self, pixel: Tensor) -> Tensor:
        weights = torch.ones(pixel.shape[1], device=pixel.device)
        weights[0] = 0.3
        return weights

    def checked(self) -> str:
        return "; ".join(f"{look} {_said(judge(self.model, self.sprites, look, self.settings.seed, CHECKED))}" for look in LOOKS)

    def finished(self, average: nn.Module) -> None:
        """model.safetensors (half) and accuracy.json."""
        folder = self.settings.out / self.name
        best: Any = average.cpu().eval()
        save_half(best, folder / "model.safetensors")
        write_json(folder / "accuracy.json", {look: judge(best, self.sprites, look, self.settings.seed, JUDGED) for look in LOOKS})


def judge(model: Any, sprites: dict[str, np.ndarray], look: str, seed: int, count: int) -> dict[str, float]:
    """On held-out rendered scenes of a look with exactly one person: share of looks named right, mean error of joints (shares of the side;
    `joint_p90`, what nine of ten people stay below), mean IoU of the kinds."""
    right, errors, overlaps = 0, [], []
    todo = [scene for k in range(count * 4) if len(people(scene := scene_of(2 * k + 1, seed, "check"), look)) == 1][:count]
    device = next(model.parameters()).device
    for start in range(0, len(todo), 50):
        part = todo[start : start + 50]
        pictures = [render(scene, look, sprites) for scene in part]
        reading = read_pictures(np.stack([p.pixels for p in pictures]), model if device.type == "cpu" else model.cpu())
        right += sum(name == look for name in reading.names)
        for scene, picture, joints, classes in zip(part, pictures, reading.joints.numpy(), reading.classes.numpy(), strict=True):
            errors.append(joint_error(joints, next(iter(people(scene, look).values()))))
            overlaps.append(mean_iou(classes, _classes(scene, picture)))
    model.to(device)
    return {
        "pictures": len(todo),
        "look": right / len(todo),
        "joint_error": float(np.mean(errors)),
        "joint_p90": float(np.quantile(errors, 0.9)),
        "mean_iou": float(np.mean(overlaps)),
    }


def _classes(scene: Scene, picture: Picture) -> np.ndarray[Any, Any]:
    return pixel_truth([o.kind for o in scene.objects], picture.masks)


def _said(row: dict[str, float]) -> str:
    return f"look {row['look']:.3f} joints {row['joint_error']:.4f} IoU {row['mean_iou']:.3f}"


def train(settings: Settings) -> None:
    """Train, or go on."""
    run(Reading(settings), settings)
