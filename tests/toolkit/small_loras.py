"""LoRAs of the small checkpoint in diffusers' format, and what they are drawn with beside diffusers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import nn


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))


def pipeline(folder: Path) -> Any:
    pipe = StableDiffusionPipeline.from_pretrained(str(folder), safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_lora(base: Path, folder: Path, parts: Mapping[str, Sequence[str]], rank: int = 2, std: float = 0.5) -> Path:
    """A LoRA of some modules of a checkpoint's parts, opened: B starts at zero. Draws from torch's own generator."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe, states = pipeline(base), {}
    for part, targets in parts.items():
        network = getattr(pipe, part)
        network.add_adapter(LoraConfig(r=rank, lora_alpha=3, target_modules=list(targets)))
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=std)
        states[f"{part}_lora_layers"] = get_peft_model_state_dict(network)
    StableDiffusionPipeline.save_lora_weights(str(folder), **states)
    return folder / "pytorch_lora_weights.safetensors"
