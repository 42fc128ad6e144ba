"""Stages `pose` and `segmentation`: a ControlNet on the frozen text-to-image model.

It starts as the model's own encoder, its outputs at zero; only the layers that read the hint start at random, so that there is something
to let through from the first step. As in the stage `boxes`, the loss is the error of the clean latent, at high noise first.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel
from torch import Tensor, nn
from torch.nn import functional as F

from realcompo_mini.train.base import clean_error, draw_guided, late_times, load_base, noised
from realcompo_mini.train.common import Settings, to_pictures
from realcompo_mini.train.dataset import Scenes, prepare
from realcompo_mini.train.hints import class_map, paint, skeleton
from realcompo_mini.train.loop import Course, run
from realcompo_mini.train.models import SIDE, alphas_bar, for_training
from realcompo_mini.train.render import render_masks
from realcompo_mini.train.sprites import load

SCENES, HINT_WIDTHS = 16_000, (8, 16, 32, 64)
# until which step, lowest t, bounds of the weight (1 − ᾱ) / ᾱ
STAGES = ((300, 500, 0.0, 100.0), (10**9, 0, 0.3, 30.0))
EMPTY, BLANK = 0.15, 0.1  # shares of a batch: empty captions, black hints


def build(unet: Any) -> ControlNetModel:
    """A ControlNet of the network's own widths, 4.1 M parameters."""
    net = ControlNetModel.from_unet(unet, conditioning_channels=3, conditioning_embedding_out_channels=HINT_WIDTHS)
    for layer in net.controlnet_cond_embedding.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return net.requires_grad_(True)


class Control(Course):
    """Attributes: see `Course`."""

    total, peak, check = 1700, 1e-3, 200
    set = "fidelity"
    heavy = 1.0  # how much more a pixel counts that the hint speaks of

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.base = load_base(settings)
        self.sprites = load(settings.out / "sprites" / "sprites.npz")
        self.scenes = prepare(settings, self.set, self.base.tokenizer, min(settings.scenes, SCENES), self.base.autoencoder)
        self.held_out = prepare(settings, f"check-{self.set}", self.base.tokenizer, None, self.base.autoencoder)
        self.count = len(self.scenes)
        self.empty = self.base.ids([""])[0]
        self.model: Any = for_training(build(self.base.unet), self.base.device)
        self.checked_hints, self.checked_weights = self.told(self.held_out, np.arange(len(self.held_out)))

    @abstractmethod
    def hint(self, scenes: Scenes, index: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """A scene's hint (128, 128, 3) uint8, and where it speaks (128, 128) bool."""

    def told(self, scenes: Scenes, index: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
        """Hints (B, 3, 128, 128) in [0, 1], and weights (B, 1, 16, 16) of the latent's pixels."""
        hints, places = zip(*(self.hint(scenes, int(k)) for k in index), strict=True)
        weights = F.adaptive_avg_pool2d(torch.from_numpy(np.stack(places)).float().unsqueeze(1), SIDE)
        return torch.from_numpy(np.stack(hints)).permute(0, 3, 1, 2).float().div_(255), 1 + (self.heavy - 1) * weights

    def predict(self, net: Any, z: Tensor, t: Tensor, hidden: Tensor, hints: Tensor | None) -> Tensor:
        """ε of the base with the residuals of a ControlNet; without, where there are no hints."""
        device = self.base.device
        z, t = z.to(device), t.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            told: dict[str, Any] = {}
            if hints is not None:
                seen = hints.to(device).contiguous(memory_format=torch.channels_last)
                down, mid = net(z, t, encoder_hidden_states=hidden, controlnet_cond=seen, return_dict=False)
                told = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
            out: Tensor = self.base.unet(z, t, encoder_hidden_states=hidden, **told).sample
        return out

    def loss(self, index: np.ndarray[Any, Any], step: int) -> Tensor:
        lowest, low, high = next(stage[1:] for stage in STAGES if step < stage[0])
        bars = alphas_bar()
        weights = ((1 - bars) / bars).clamp(low, high)
        weights = weights / weights[lowest:].mean()
        count = len(index)
        clean, tokens = self.scenes.clean(index), self.scenes.tokens[index].clone()
        hints, places = self.told(self.scenes, index)
        tokens[torch.rand(count) < EMPTY] = self.empty
        hints[torch.rand(count) < BLANK] = 0
        t, noise = late_times(count, lowest), torch.randn_like(clean)
        out = self.predict(self.model, noised(clean, t, noise), t, self.base.hidden(tokens), hints).float()
        error = (out - noise.to(out.device)).square().mean(1, keepdim=True) * places.to(out.device)
        return (error.mean((1, 2, 3)) * weights[t].to(out.device)).mean()

    def checked(self) -> str:
        clean, hidden = self.held_out.clean(np.arange(len(self.held_out))), self.base.hidden(self.held_out.tokens)
        right, where = self.checked_hints, self.checked_weights
        hints = (right, torch.zeros_like(right), right.roll(1, 0), None)
        errors = [clean_error(lambda z, t, h=h: self.predict(self.model, z, t, hidden, h), clean, where) for h in hints]
        return "x0 error at t=800 with right | blank | shuffled hint | base model {:.3f} | {:.3f} | {:.3f} | {:.3f}".format(*errors)

    def drawn(self, average: nn.Module) -> np.ndarray[Any, Any]:
        """Eight held-out scenes as rendered (through the autoencoder), their hints, and the same captions and hints drawn; twice."""
        count = 16
        autoencoder, hints = self.base.autoencoder, self.checked_hints[:count]
        truth = to_pictures(autoencoder.decode(self.held_out.clean(np.arange(count)) / autoencoder.config.scaling_factor).sample)
        both = torch.cat([hints, hints])
        captions = [scene.caption for scene in self.held_out.scenes[:count]]
        with torch.no_grad():
            made = draw_guided(self.base, lambda z, t, h: self.predict(average, z, t, h, both), captions)
        seen = to_pictures(hints * 2 - 1)
        return np.concatenate([part[k : k + 8] for k in (0, 8) for part in (truth, seen, made)])


class Pose(Control):
    """Attributes: see `Course`. People fill a tenth of a picture, so their pixels count more."""

    name, set, heavy = "pose", "people", 5.0

    def hint(self, scenes: Scenes, index: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        scene = scenes.scenes[index]
        seen = skeleton(scene)
        side = seen.shape[0]
        place = np.zeros((side, side), bool)
        for o in scene.objects:
            if o.kind == "person":
                x0, y0, x1, y1 = (round(v * side) for v in o.box)
                place[y0:y1, x0:x1] = True
        return seen, place


class Segments(Control):
    """Attributes: see `Course`."""

    name, set = "segmentation", "fidelity"

    def __init__(self, settings: Settings) -> None:
        self._maps: dict[tuple[int, int], np.ndarray[Any, Any]] = {}
        super().__init__(settings)

    def hint(self, scenes: Scenes, index: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        key = (id(scenes), index)
        if key not in self._maps:  # 16 kB each
            self._maps[key] = class_map(scenes.scenes[index], render_masks(scenes.scenes[index], "3d", self.sprites))
        numbers = self._maps[key]
        return paint(numbers), np.ones(numbers.shape, bool)


def train_pose(settings: Settings) -> None:
    """People who stand as drawn."""
    run(Pose(settings), settings)


def train_segmentation(settings: Settings) -> None:
    """Class-colour maps."""
    run(Segments(settings), settings)
