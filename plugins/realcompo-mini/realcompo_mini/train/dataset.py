"""What the diffusion stages read: latents, token ids, boxes and phrases of encoded scenes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from diffusers import AutoencoderDC
from transformers import CLIPTokenizer

from realcompo_mini.train.autoencoder import load_autoencoder
from realcompo_mini.train.common import Settings
from realcompo_mini.train.data import encode_scenes
from realcompo_mini.train.models import SLOTS
from realcompo_mini.train.scenes import Scene, sample_scene
from realcompo_mini.train.text import all_phrases, ids
from realcompo_mini.world import load_world


@dataclass(frozen=True)
class Kept:
    """Which scenes a set holds, and in which look (see `sample_scene`)."""

    split: str
    look: str
    blind: bool = False
    style: str | None = None
    kind: str | None = None
    unnamed: tuple[str, ...] = ()

    def scene(self, index: int, seed: int) -> Scene:
        """Its scene of a number."""
        return sample_scene(self.split, index, seed, blind=self.blind, style=self.style, kind=self.kind, unnamed=frozenset(self.unnamed))


PARENTS = {
    "fidelity": Kept("train", "3d"),
    "boxes": Kept("boxes", "flat", blind=True),
    "check-fidelity": Kept("check", "3d"),
    "check-boxes": Kept("check", "flat", blind=True),
}
UNNAMED = tuple(load_world().kinds)[::2]
"""The kinds whose names the layout model `boxes-half` does not know."""
LAYOUTS = {"boxes-coloured": Kept("boxes", "flat"), "boxes-half": Kept("boxes", "flat", blind=True, unnamed=UNNAMED)}
"""Stage → what the other layout models learn from."""
STYLES = {"coloring": "outline", "cute": "cute"}
"""Stage → the look that it teaches."""
UNDER_LOOKS = ("flat", "3d")
"""What spatial branches paint in, under a style's steps."""
SETS = {
    **PARENTS,
    **LAYOUTS,
    **{f"check-{name}": replace(kept, split="check") for name, kept in LAYOUTS.items()},
    **{name: Kept("train", look, style=look) for name, look in STYLES.items()},
    **{f"check-{name}": Kept("check", look, style=look) for name, look in STYLES.items()},
    # the styles' own scenes in other looks
    **{f"{name}-{look}": Kept("train", look, style=style) for name, style in STYLES.items() for look in UNDER_LOOKS},
    "people": Kept("train", "3d", kind="person"),
    "check-people": Kept("check", "3d", kind="person"),
}
CHECKED = 128  # held-out scenes on which progress is measured


@dataclass(frozen=True)
class Scenes:
    """N encoded scenes: latents (N, 8, 16, 16) of unit deviation, half; tokens (N, L); boxes (N, 30, 4), phrases and mask (N, 30); and the
    scenes themselves."""

    latents: np.ndarray
    tokens: torch.Tensor
    boxes: torch.Tensor
    phrases: torch.Tensor
    mask: torch.Tensor
    scenes: list[Scene]

    def __len__(self) -> int:
        return len(self.tokens)

    def clean(self, index: np.ndarray) -> torch.Tensor:
        """(B, 8, 16, 16) float32."""
        return torch.from_numpy(self.latents[np.sort(index)]).float()


def prepare(
    settings: Settings, name: str, tokenizer: CLIPTokenizer, count: int | None = None, model: AutoencoderDC | None = None
) -> Scenes:
    """Encode the first `count` scenes of a set once, then describe them.

    Args:
        count: as many as the settings say, if None; of a set that is held out always `CHECKED`.
        model: the autoencoder; the one in training, if None.
    """
    kept = SETS[name]
    count = CHECKED if name.startswith("check") else count or settings.scenes
    folder = settings.out / "scenes" / name
    model = model or load_autoencoder(settings.out)
    scale = model.config.scaling_factor
    device = torch.device(settings.device)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def encode(pictures: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return model.encode(pictures.to(device)).latent.float().cpu() * scale

    def scene_of(index: int) -> Scene:
        return kept.scene(index, settings.seed)

    encode_scenes(
        folder, settings.out / "sprites" / "sprites.npz", encode, scene_of, kept.look, count, {**asdict(kept), "seed": settings.seed}
    )
    model.to("cpu")  # where sheets are decoded
    return describe(np.load(folder / "latents.npy")[:count], [scene_of(k) for k in range(count)], tokenizer)


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
    return Scenes(latents, tokens, boxes, phrases, mask, scenes)


def encode_all(settings: Settings) -> None:
    """Stage `scenes`: render and encode every set that the two parents read; the others are made by their own stages."""
    from realcompo_mini.train.text import load_text

    tokenizer, _ = load_text(settings.out)
    for name in PARENTS:
        prepare(settings, name, tokenizer)
