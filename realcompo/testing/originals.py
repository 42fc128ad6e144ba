"""A checkpoint folder as one file in the original layout: the way back of what the toolkit's loader does, and nothing that it uses.

``model.diffusion_model`` is the UNet, ``first_stage_model`` the VAE, ``cond_stage_model`` or ``conditioner`` the text encoders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."

Tensors = dict[str, Any]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def save_original(folder: Path, file: Path, change: Callable[[Tensors], Mapping[str, Any]] = dict) -> Path:
    """Write a diffusers folder (of SD 1.x, 2.x, SDXL or GLIGEN) as one file.

    Args:
        change: what to do to the tensors before they are written.
    """
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in change(original_tensors(folder)).items()}
    save_file(tensors, str(file), metadata={"format": "pt"})
    return file


def original_tensors(folder: Path) -> Tensors:
    """All tensors of a diffusers folder by their names in the original layout."""
    config = _config(folder, "unet")
    found = {UNET + name: tensor for name, tensor in unet_tensors(_load(folder, "unet"), config).items()}
    found |= {VAE + name: tensor for name, tensor in vae_tensors(_load(folder, "vae"), _config(folder, "vae")).items()}
    text = _load(folder, "text_encoder")
    if (folder / "text_encoder_2").is_dir():
        second = open_clip_tensors(_load(folder, "text_encoder_2"))
        return found | _prefixed(XL_CLIP, clip_tensors(text)) | _prefixed(XL_OPEN_CLIP, second)
    if config.get("use_linear_projection"):  # SD 2.x, whose UNet reads the text before its encoder's last block: the file has that too
        return found | _prefixed(OPEN_CLIP, _with_last_block(open_clip_tensors(text)))
    return found | _prefixed(CLIP, clip_tensors(text))


def unet_tensors(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> Tensors:
    """A UNet's tensors by their original names; `config` tells how many layers its blocks have."""
    layers = config["layers_per_block"] + 1
    crossing = [kind.startswith("CrossAttn") for kind in config["up_block_types"]]

    def place(match: re.Match[str]) -> str:
        part, block, kind, layer = match.group(1), int(match.group(2) or 0), match.group(3), int(match.group(4))
        if part == "mid":
            return f"middle_block.{1 if kind == 'attentions' else 2 * layer}"
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * layers}.0"
        if kind == "upsamplers":
            return f"output_blocks.{(block + 1) * layers - 1}.{2 if crossing[block] else 1}"
        at = block * layers + layer
        return f"{'input' if part == 'down' else 'output'}_blocks.{at + (part == 'down')}.{1 if kind == 'attentions' else 0}"

    found = {}
    for name, tensor in tensors.items():
        for old, new in _UNET_ENDS.items():
            if name.startswith(old + "."):
                name = new + name.removeprefix(old)
                break
        else:
            if ".resnets." in name:
                name = _renamed(name, _RESNET)
            if ".downsamplers." in name:
                name = name.replace(".conv.", ".op.")
            name = re.sub(r"^(down|mid|up)_blocks?(?:\.(\d+))?\.(\w+)\.(\d+)", place, name)
        found[name] = tensor
    return found


def vae_tensors(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> Tensors:
    """A VAE's tensors by their original names. Its attention was made of convolutions of one pixel."""
    last = len(config["block_out_channels"]) - 1
    found = {}
    for name, tensor in tensors.items():
        if ".attentions.0." in name:
            name = _renamed(name, _ATTENTION)
            if tensor.ndim == 2:
                tensor = tensor[:, :, None, None]
        name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_norm_out", "norm_out")
        name = name.replace("conv_shortcut", "nin_shortcut").replace("samplers.0.conv", "sample.conv")
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match.group(1)) + 1}", name)
        name = re.sub(r"down_blocks\.(\d)", r"down.\1", name).replace("resnets", "block")
        found[re.sub(r"up_blocks\.(\d)", lambda match: f"up.{last - int(match.group(1))}", name)] = tensor
    return found


def clip_tensors(tensors: Mapping[str, Any]) -> Tensors:
    """A text encoder's tensors as CLIP's files have them, with the buffer of positions."""
    import torch

    found = {"text_model." + name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    length = found["text_model.embeddings.position_embedding.weight"].shape[0]
    return found | {"text_model.embeddings.position_ids": torch.arange(length)[None]}


def open_clip_tensors(tensors: Mapping[str, Any]) -> Tensors:
    """A text encoder's tensors as OpenCLIP's files have them: query, key and value in one."""
    import torch

    plain = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    found: Tensors = {"logit_scale": torch.tensor(4.6)}
    for name, tensor in plain.items():
        if name == "text_projection.weight":
            found["text_projection"] = tensor.T
        elif name.startswith("embeddings."):
            found["token_embedding.weight" if "token" in name else "positional_embedding"] = tensor
        elif name.startswith("final_layer_norm."):
            found[name.replace("final_layer_norm", "ln_final")] = tensor
        elif match := re.fullmatch(r"encoder\.(layers\.\d+)\.self_attn\.q_proj\.(\w+)", name):
            three = [plain[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            block = match.group(1).replace("layers", "transformer.resblocks")
            found[f"{block}.attn.in_proj_{match.group(2)}"] = torch.cat(three)
        elif not re.search(r"\.[kv]_proj\.", name):
            found[_renamed(name, _OPEN_CLIP).replace("encoder.layers", "transformer.resblocks")] = tensor
    return found


def _with_last_block(tensors: Tensors) -> Tensors:
    import torch

    blocks = {int(match.group(1)) for name in tensors if (match := re.match(r"transformer\.resblocks\.(\d+)\.", name))}
    last = f"transformer.resblocks.{max(blocks)}."
    more = {
        name.replace(last, f"transformer.resblocks.{max(blocks) + 1}."): torch.randn_like(t) for name, t in tensors.items() if last in name
    }
    width = tensors["positional_embedding"].shape[1]
    return tensors | more | {"text_projection": torch.randn(width, width)}


def _renamed(name: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        name = re.sub(rf"\.{re.escape(old)}(?=\.)", f".{new}", name)
    return name


def _prefixed(prefix: str, tensors: Mapping[str, Any]) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _config(folder: Path, part: str) -> dict[str, Any]:
    return dict(json.loads((folder / part / "config.json").read_text(encoding="utf-8")))


def _load(folder: Path, part: str) -> Tensors:
    from safetensors.torch import load_file

    return dict(load_file(str(next((folder / part).glob("*.safetensors")))))
