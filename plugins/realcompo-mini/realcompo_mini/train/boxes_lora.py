"""Stages `boxes-coloured` and `boxes-half`: other layout models, as LoRAs of the shipped one.

A default that is to serve any pair is judged on layout models that lack other things. The shipped one follows boxes and knows every kind,
but no colour. `boxes-coloured` knows colours and patterns, and lacks the look only; `boxes-half` knows the names of half the kinds: where
one of the others is named, it draws any of those.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import AutoTokenizer, CLIPTextModel

from realcompo_mini.train.base import add_lora, load_base
from realcompo_mini.train.boxes import STAGES, BoxesCourse
from realcompo_mini.train.common import Settings
from realcompo_mini.train.dataset import prepare
from realcompo_mini.train.loop import run
from realcompo_mini.train.models import for_training
from realcompo_mini.train.text import all_phrases, embed_phrases, ids

RANK = 12
FOLDER = Path(str(resources.files("realcompo_mini"))) / "weights" / "boxes"


class BoxesLora(BoxesCourse):
    """Attributes: see `Course`."""

    total, peak, check = 2500, 1e-3, 200

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings, self.device = name, settings, torch.device(settings.device)
        self.tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
        self.text = CLIPTextModel.from_pretrained(FOLDER / "text_encoder", dtype=torch.float32).eval().requires_grad_(False)
        self.table = embed_phrases(self.text, self.tokenizer, all_phrases())  # the exported network standardises them itself
        self.text.to(self.device)  # type: ignore[arg-type]
        self.autoencoder = load_base(settings).autoencoder
        self.scenes, self.held_out = (prepare(settings, which, self.tokenizer, None, self.autoencoder) for which in (name, f"check-{name}"))
        self.count = len(self.scenes)
        self.empty = ids(self.tokenizer, [""])[0]
        torch.manual_seed(settings.seed)
        unet = UNet2DConditionModel.from_pretrained(FOLDER / "unet", torch_dtype=torch.float32).requires_grad_(False)
        self.model: Any = add_lora(for_training(unet, self.device), settings.rank or RANK).to(self.device)

    def stage(self, step: int) -> tuple[int, float, float]:
        """The last: it follows boxes already."""
        return STAGES[-1][1:]


def train_coloured(settings: Settings) -> None:
    """Colours and patterns as the words say."""
    run(BoxesLora("boxes-coloured", settings), settings)


def train_half(settings: Settings) -> None:
    """Half the kinds' names mean nothing."""
    run(BoxesLora("boxes-half", settings), settings)
