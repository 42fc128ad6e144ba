"""What the diffusion stages read: latents, token ids, boxes and phrases of encoded scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from transformers import CLIPTokenizer

from realcompo_mini.train.autoencoder import load_autoencoder
from realcompo_mini.train.common import Settings
from realcompo_mini.train.data import encode_scenes
from realcompo_mini.train.models import SLOTS
from realcompo_mini.train.scenes import Scene, sample_scene
from realcompo_mini.train.text import all_phrases, ids

SETS = {
    "fidelity": ("train", "3d", False),
    "boxes": ("boxes", "flat", True),
    "check-fidelity": ("check", "3d", False),
    "check-boxes": ("check", "flat", True),
}
CHECKED = 128  # held-out scenes on which progress is measured


@dataclass(frozen=True)
class Scenes:
    """N encoded scenes: latents (N, 8, 16, 16) of unit deviation, half; tokens (N, L); boxes (N, 30, 4), phrases and mask (N, 30)."""

    latents: np.ndarray
    tokens: torch.Tensor
    boxes: torch.Tensor
    phrases: torch.Tensor
    mask: torch.Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def clean(self, index: np.ndarray) -> torch.Tensor:
        """(B, 8, 16, 16) float32."""
        return torch.from_numpy(self.latents[np.sort(index)]).float()


def prepare(settings: Settings, name: str, tokenizer: CLIPTokenizer) -> Scenes:
    """Encode the scenes of a set once, then describe them."""
    split, look, blind = SETS[name]
    count = CHECKED if name.startswith("check") else settings.scenes
    folder = settings.out / "scenes" / name
    model = load_autoencoder(settings.out)
    scale = model.config.scaling_factor
    device = torch.device(settings.device)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def encode(pictures: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return model.encode(pictures.to(device)).latent.float().cpu() * scale

    encode_scenes(folder, settings.out / "sprites" / "sprites.npz", encode, split, look, count, settings.seed, blind=blind)
    return describe(
        np.load(folder / "latents.npy")[:count], [sample_scene(split, k, settings.seed, blind=blind) for k in range(count)], tokenizer
    )


def describe(latents: np.ndarray, scenes: list[Scene], tokenizer: CLIPTokenizer) -> Scenes:
    """Token ids and padded boxes for scenes."""
    number = {phrase: k for k, phrase in enumerate(all_phrases())}
    count = len(scenes)
    boxes, phrases, mask = torch.zeros(count, SLOTS, 4), torch.zeros(count, SLOTS, dtype=torch.long), torch.zeros(count, SLOTS)
    for k, scene in enumerate(scenes):
        for slot, thing in enumerate(scene.objects):
            boxes[k, slot] = torch.tensor(thing.box)
            phrases[k, slot] = number[thing.phrase]
            mask[k, slot] = 1
    tokens = torch.cat([ids(tokenizer, [s.caption for s in scenes[k : k + 2000]]) for k in range(0, count, 2000)])
    return Scenes(latents, tokens, boxes, phrases, mask)


def encode_all(settings: Settings) -> None:
    """Stage `scenes`: render and encode every set that the diffusion stages read."""
    from realcompo_mini.train.text import load_text

    tokenizer, _ = load_text(settings.out)
    for name in SETS:
        prepare(settings, name, tokenizer)
