"""The text-to-image model that the fine-tunes start from, as it is shipped, and what they all do with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderDC, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPTextModel

from realcompo_mini.train.common import Settings
from realcompo_mini.train.models import TIMES, alphas_bar, for_training
from realcompo_mini.train.sample import draw
from realcompo_mini.train.text import ids

CHECK_TIME = 800
EVERYWHERE = (
    *("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "time_emb_proj"),
    *("conv1", "conv2", "conv_shortcut", "conv", "conv_in", "conv_out"),
)
"""Modules that a LoRA is put on: attention alone cannot turn shaded textures into outlines, convolutions can."""


@dataclass(frozen=True, eq=False)
class Base:
    """A frozen text-to-image model in float32. `folder` is in diffusers' layout."""

    folder: Path
    tokenizer: Any
    text: CLIPTextModel
    unet: UNet2DConditionModel
    autoencoder: AutoencoderDC
    device: torch.device

    @torch.no_grad()
    def hidden(self, tokens: Tensor) -> Tensor:
        """(B, L, 128) of token ids (B, L)."""
        out: Tensor = self.text(tokens.to(self.device)).last_hidden_state
        return out

    def ids(self, texts: Sequence[str]) -> Tensor:
        """(B, L) token ids."""
        return ids(self.tokenizer, list(texts))


def load_base(settings: Settings) -> Base:
    """The model of ``--base``; else the exported one of this training folder; else the one that the package ships."""
    shipped = Path(str(resources.files("realcompo_mini"))) / "weights" / "fidelity"
    places = [settings.base] if settings.base else [settings.out / "export" / "fidelity", shipped]
    folder = next((place for place in places if (place / "unet" / "config.json").is_file()), None)
    if folder is None:
        raise FileNotFoundError(
            f"no text-to-image model in {' or '.join(map(str, places))}: run the stages fidelity and parents, or name --base"
        )
    device = torch.device(settings.device)
    return Base(
        folder,
        AutoTokenizer.from_pretrained(folder / "tokenizer"),
        CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval().requires_grad_(False).to(device),  # type: ignore[arg-type]
        for_training(UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32), device).eval().requires_grad_(False),
        AutoencoderDC.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval().requires_grad_(False),
        device,
    )


# -- LoRA ---------------------------------------------------------------------------------------------------------------------


def add_lora(unet: UNet2DConditionModel, rank: int) -> UNet2DConditionModel:
    """The same network with a LoRA of α = rank on `EVERYWHERE`, which alone is trained; it starts as the network was."""
    from peft import LoraConfig

    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(EVERYWHERE), init_lora_weights="gaussian"))
    return unet


def save_lora(unet: nn.Module, folder: Path) -> Path:
    """Write a LoRA in diffusers' format, half precision."""
    from peft.utils import get_peft_model_state_dict

    state = {name: tensor.detach().half().contiguous() for name, tensor in get_peft_model_state_dict(unet).items()}  # type: ignore[no-untyped-call]
    StableDiffusionPipeline.save_lora_weights(str(folder), unet_lora_layers=state)
    return folder / "pytorch_lora_weights.safetensors"


def save_half(module: nn.Module, path: Path) -> None:
    """A plain network's state as safetensors, floating point in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: (t.half() if t.is_floating_point() else t).contiguous().cpu() for name, t in module.state_dict().items()}
    save_file(state, path)


# -- noise --------------------------------------------------------------------------------------------------------------------


def noised(clean: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """√ᾱ_t x₀ + √(1 − ᾱ_t) ε, (B, C, h, w), channels last."""
    bar = alphas_bar()[t].view(-1, 1, 1, 1)
    return (bar.sqrt() * clean + (1 - bar).sqrt() * noise).contiguous(memory_format=torch.channels_last)


def late_times(count: int, lowest: int = 0) -> Tensor:
    """(count,) training times in lowest … TIMES − 1, the density rising with t: that is where places are decided."""
    share = torch.rand(count)
    return (lowest**2 + share * (TIMES**2 - lowest**2)).sqrt().long().clamp(max=TIMES - 1)


def min_snr(t: Tensor, most: float = 5.0) -> Tensor:
    """(B,) weights of the ε error."""
    bars = alphas_bar()
    snr = bars / (1 - bars)
    return (snr.clamp(max=most) / snr)[t]


@torch.no_grad()
def clean_error(
    predict: Callable[[Tensor, Tensor], Tensor], clean: Tensor, weight: Tensor | None = None, time_step: int = CHECK_TIME
) -> float:
    """Mean square error of the clean latent, guessed at one time from always the same noise.

    Args:
        predict: (z, t) → ε, (B, C, h, w), on any device.
        clean: x₀ (B, C, h, w).
        weight: (B, 1, h, w) of pixels; all alike if None.
    """
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    t = torch.full((len(clean),), time_step)
    bar = alphas_bar()[time_step]
    guess = (noised(clean, t, noise) - (1 - bar).sqrt() * predict(noised(clean, t, noise), t).float().cpu()) / bar.sqrt()
    error = (guess - clean).square().mean(1, keepdim=True)
    weight = torch.ones_like(error) if weight is None else weight
    return float((error * weight).sum() / weight.sum())


def draw_guided(
    base: Base,
    predict: Callable[[Tensor, Tensor, Tensor], Tensor],
    prompts: Sequence[str],
    guidance: float = 4.0,
    seed: int = 0,
    by: Callable[..., np.ndarray[Any, Any]] = draw,
) -> np.ndarray[Any, Any]:
    """(N, 128, 128, 3) uint8; predict(z, t, hidden) → ε sees the unconditional half first, then the conditional one, 2N rows.

    `by` is the sampler: for a flow, t is σ and the prediction v.
    """
    hidden = base.hidden(torch.cat([base.ids([""] * len(prompts)), base.ids(prompts)]))

    def guided(z: Tensor, t: Tensor) -> Tensor:
        without, with_text = predict(torch.cat([z, z]), torch.cat([t, t]), hidden).float().cpu().chunk(2)
        return without + guidance * (with_text - without)

    return by(guided, len(prompts), base.autoencoder, seed=seed)
