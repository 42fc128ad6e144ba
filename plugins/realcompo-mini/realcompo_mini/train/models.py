"""The diffusion networks and their noise schedules."""

from __future__ import annotations

import torch
from diffusers import PixArtTransformer2DModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

SIDE, CHANNELS, WIDTH, SLOTS = 16, 8, 128, 30
TIMES, BETA_START, BETA_END = 1000, 0.00085, 0.012


def alphas_bar() -> torch.Tensor:
    """(1000,) ᾱ_t of Stable Diffusion's "scaled linear" schedule."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TIMES, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


def build_unet(gated: bool) -> UNet2DConditionModel:
    """16×16×8 latents, text (B, L, 128). Text-to-image: 8.8 M parameters, attention at 16×16, 8×8 and 4×4; gated: 10.4 M, at 8×8 and 4×4.

    Gated attention at 16×16 halves the speed (20 against 41 samples a second on one thread) and drowns 30 box tokens among 256 of the
    picture's.
    """
    fine = "" if gated else "CrossAttn"
    return UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        down_block_types=(f"{fine}DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", f"{fine}UpBlock2D"),
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # number of heads: diffusers kept the old name
        attention_type="gated" if gated else "default",
    )


def build_transformer() -> PixArtTransformer2DModel:
    """16×16×8 latents as 8×8 tokens, text (B, L, 128): 8.6 M parameters, ten blocks of width 224.

    Of the two kinds of block that were weighed, PixArt's spends the parameters where the picture is: one modulation for all blocks, and of
    the text keys and values only. A joint block (Stable Diffusion 3) has two thirds of its parameters in modulations and in the text's own
    stream. On one core 72 samples a second (seven blocks of width 256: 85; six joint blocks, 7.8 M: 67).
    """
    heads, size = 7, 32
    return PixArtTransformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=size,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=10,
        cross_attention_dim=heads * size,
        caption_channels=WIDTH,
        sample_size=SIDE,
        patch_size=2,
    )


@torch.no_grad()
def start_transformer(transformer: PixArtTransformer2DModel) -> None:
    """Weights to train from: diffusers leaves a transformer's to torch's defaults, which are too small for its depth.

    Xavier everywhere, the patches' convolution as the linear layer that it is, the modulation near zero, and the answer zero.
    """
    for module in transformer.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.flatten(1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for layer in (transformer.adaln_single.linear, *_linears(transformer.adaln_single.emb)):
        nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(transformer.proj_out.weight)


def _linears(module: nn.Module) -> list[nn.Linear]:
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


def shifted(sigma: torch.Tensor, shift: float) -> torch.Tensor:
    """Noise levels 0 … 1 moved towards 1 by a shift above 1, ends where they were: s σ / (1 + (s − 1) σ), as Stable Diffusion 3 does."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def for_training(unet: UNet2DConditionModel, device: torch.device) -> UNet2DConditionModel:
    """Channels last, and on a CPU the plain attention: the fused one has a slow backward pass there (27 against 36 a second)."""
    if device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())
    return unet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


@torch.no_grad()
def open_gates(unet: UNet2DConditionModel) -> None:
    """Start a gated network so that it notices its boxes.

    Every picture token attends to many others and a handful of boxes; with the usual start hardly any gradient reaches the boxes. Larger
    queries and keys make the attention choose, larger values make the choice matter, gates at 1 let it through.
    """
    for name, module in unet.named_modules():
        if name.endswith("fuser"):
            module.attn.to_q.weight.mul_(3)
            module.attn.to_k.weight.mul_(3)
            module.attn.to_v.weight.mul_(1.7)
            module.attn.to_out[0].weight.mul_(1.7)
            module.alpha_attn.fill_(1.0)
            module.alpha_dense.fill_(1.0)
    for layer in unet.position_net.linears:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def fold_standardisation(unet: UNet2DConditionModel, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    """Let a position net that was trained on (e − mean) / deviation take the pooled phrase embedding e itself, (WIDTH,) each.

    The null feature passes the same layer, so it becomes deviation · null + mean.
    """
    net = unet.position_net
    first = net.linears[0]
    text = first.weight[:, :WIDTH] / deviation
    first.bias.sub_(text @ mean)
    first.weight[:, :WIDTH] = text
    net.null_positive_feature.copy_(net.null_positive_feature * deviation + mean)


def scheduler_config() -> dict[str, object]:
    """Arguments of a DDIM scheduler for these models."""
    return {
        "num_train_timesteps": TIMES,
        "beta_start": BETA_START,
        "beta_end": BETA_END,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": "epsilon",
    }
