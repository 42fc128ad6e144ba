"""Small random IP-Adapters in the published layout, with their image encoder beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

WIDTH, PROJECTED = 24, 20
"""Of the image encoder's tokens, and of what it makes of a picture."""


def save_ip_adapter(folder: Path, checkpoint: Path, kind: Literal["plain", "plus"] = "plain", seed: int = 0) -> Path:
    """Write ``adapter.safetensors`` and ``image_encoder/`` for the UNet of a small checkpoint; the same seed writes the same numbers.

    Returns:
        The adapter's file.
    """
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    folder.mkdir(parents=True, exist_ok=True)
    text = json.loads((checkpoint / "unet" / "config.json").read_text(encoding="utf-8"))["cross_attention_dim"]
    weights = load_file(str(checkpoint / "unet" / "diffusion_pytorch_model.safetensors"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = CLIPVisionConfig(**settings, image_size=32, patch_size=8, projection_dim=PROJECTED, initializer_range=0.5)
        CLIPVisionModelWithProjection(config).save_pretrained(str(folder / "image_encoder"))
        state = {}
        order = {"down_blocks": 0, "up_blocks": 1, "mid_block": 2}  # in which diffusers' UNet holds its parts, and adapters count
        names = sorted(
            {name.removesuffix(".to_k.weight") for name in weights if name.endswith("attn2.to_k.weight")},
            key=lambda name: (order[name.split(".")[0]], [int(part) for part in name.split(".") if part.isdigit()]),
        )
        for index, name in enumerate(names):
            for letter in "kv":
                state[f"ip_adapter.{2 * index + 1}.to_{letter}_ip.weight"] = torch.randn_like(weights[f"{name}.to_{letter}.weight"]) * 0.3
        if kind == "plain":
            inside = {"proj.weight": torch.randn(4 * text, PROJECTED) * 0.3, "proj.bias": torch.zeros(4 * text)}
            inside |= {"norm.weight": torch.ones(text), "norm.bias": torch.zeros(text)}
        else:
            inside = _plus(text)
        state |= {f"image_proj.{name}": tensor for name, tensor in inside.items()}
    file = folder / "adapter.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, str(file))
    return file


def _plus(text: int, hidden: int = 64, tokens: int = 3) -> dict[str, Any]:
    """The resampler of the "plus" adapters: four blocks of attention and feed-forward layers, heads 64 wide."""
    import torch

    def norm(name: str, width: int) -> dict[str, Any]:
        return {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}

    def matrix(name: str, out: int, inside: int) -> dict[str, Any]:
        return {f"{name}.weight": torch.randn(out, inside) * 1.4 / inside**0.5}

    found = {"latents": torch.randn(1, tokens, hidden), **norm("norm_out", text)}
    for name, out, inside in (("proj_in", hidden, WIDTH), ("proj_out", text, hidden)):
        found |= {**matrix(name, out, inside), f"{name}.bias": torch.zeros(out)}
    for layer in range(4):
        attention, forward = f"layers.{layer}.0", f"layers.{layer}.1"
        found |= {**norm(f"{attention}.norm1", hidden), **norm(f"{attention}.norm2", hidden), **norm(f"{forward}.0", hidden)}
        found |= {**matrix(f"{attention}.to_q", hidden, hidden), **matrix(f"{attention}.to_kv", 2 * hidden, hidden)}
        found |= {**matrix(f"{attention}.to_out", hidden, hidden)}
        found |= {**matrix(f"{forward}.1", 4 * hidden, hidden), **matrix(f"{forward}.3", hidden, 4 * hidden)}
    return found
