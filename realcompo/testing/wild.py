"""Checkpoints in layouts that are passed around, written from what is published of these layouts: see docs/checkpoints.md. Nothing of this
is used where files are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .originals import UNET, unet_tensors

Tensors = dict[str, Any]


def flat_name(name: str) -> str:
    """A UNet's tensor in the average that the latent-diffusion code keeps (LitEma): without ``model.`` in front and without dots."""
    return "model_ema." + name.removeprefix("model.").replace(".", "")


def with_average(tensors: Mapping[str, Any], average: Mapping[str, Any], alone: bool = False) -> Tensors:
    """An original file's tensors with an average beside the UNet, or in its place.

    Args:
        average: name in the original layout → tensor.
    """
    import torch

    kept = {name: tensor for name, tensor in tensors.items() if not (alone and name.startswith(UNET))}
    flat = {flat_name(name): tensor.clone() for name, tensor in average.items() if name.startswith(UNET)}
    return {**kept, **flat, "model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(470000, dtype=torch.int32)}


def in_eight_bits(tensors: Mapping[str, Any], front: str, style: str, kind: str = "float8_e4m3fn") -> tuple[Tensors, Tensors]:
    """(tensors whose matrices in `front` are stored in eight bits; the same tensors as they stand for in float32).

    Args:
        style: 'plain' (all floating numbers, no scale), 'scale_weight' (one scale a tensor, a mark ``scaled_fp8``), 'weight_scale' (with a
            note ``comfy_quant``), or 'rows' (one scale a row).
    """
    import torch

    eight = getattr(torch, kind)
    stored: Tensors = {}
    meant: Tensors = {}
    for name, tensor in tensors.items():
        if style == "plain":
            stored[name] = tensor.to(eight) if tensor.is_floating_point() else tensor
            meant[name] = stored[name].to(tensor.dtype)
        elif name.startswith(front) and name.endswith(".weight") and tensor.ndim >= 2:
            largest = tensor.abs().flatten(1).amax(1) if style == "rows" else tensor.abs().max()[None]
            scale = largest / torch.finfo(eight).max
            spread = scale.view(-1, *[1] * (tensor.ndim - 1))
            stored[name] = (tensor / spread).to(eight)
            meant[name] = stored[name].float() * spread
            layer = name.removesuffix(".weight")
            if style == "scale_weight":
                stored |= {f"{layer}.scale_weight": scale.reshape(()), f"{layer}.scale_input": torch.ones(())}
            else:
                stored[f"{layer}.weight_scale"] = scale[:, None].clone() if style == "rows" else scale.reshape(())
                stored[f"{layer}.input_scale"] = torch.ones(())
                note = json.dumps({"format": kind}).encode()
                stored[f"{layer}.comfy_quant"] = torch.tensor(list(note), dtype=torch.uint8)
        else:
            stored[name] = meant[name] = tensor
    if style == "scale_weight":
        stored[f"{front}scaled_fp8"] = torch.zeros(0, dtype=eight)
    return stored, meant


def shard(file: Path, count: int = 2, variant: str = "", behind: bool = False) -> None:
    """Split a part's weights into numbered files with an index, as `save_pretrained` does.

    Args:
        behind: the variant stands behind the number, as in older repositories.
    """
    from safetensors.torch import load_file, save_file

    tensors = load_file(str(file))
    file.unlink()
    dot = f".{variant}" if variant else ""
    table: dict[str, str] = {}
    for number in range(count):
        shown = f"-{number + 1:05d}-of-{count:05d}"
        name = f"{file.stem}{shown}{dot}.safetensors" if behind else f"{file.stem}{dot}{shown}.safetensors"
        part = {key: tensors[key] for key in sorted(tensors)[number::count]}
        save_file(part, str(file.with_name(name)), metadata={"format": "pt"})
        table |= dict.fromkeys(part, name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": table}
    file.with_name(f"{file.stem}.safetensors.index{dot}.json").write_text(json.dumps(index), encoding="utf-8")


# -- ControlNets and T2I-Adapters -----------------------------------------------------------------------------------------------


def controlnet_tensors(tensors: Mapping[str, Any], config: Mapping[str, Any], front: str = "control_model.") -> Tensors:
    """A ControlNet's tensors by the names of lllyasviel's code (cldm): a copy of the UNet's first half, with zero convolutions behind its
    blocks and eight convolutions for the hint."""
    levels = len(config["block_out_channels"])
    shared = {name: tensor for name, tensor in tensors.items() if not name.startswith("controlnet_")}
    found = unet_tensors(shared, {**config, "up_block_types": ["UpBlock2D"] * levels})
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "controlnet_down_blocks":
            number, _, end = rest.partition(".")
            found[f"zero_convs.{number}.0.{end}"] = tensor
        elif kind == "controlnet_mid_block":
            found[f"middle_block_out.0.{rest}"] = tensor
        elif kind == "controlnet_cond_embedding":
            *place, end = rest.split(".")
            index = {"conv_in": 0, "conv_out": 14}.get(place[0])
            found[f"input_hint_block.{2 * int(place[1]) + 2 if index is None else index}.{end}"] = tensor
    return {front + name: tensor for name, tensor in found.items()}


def control_lora(net: Mapping[str, Any], unet: Mapping[str, Any], config: Mapping[str, Any], rank: int) -> tuple[Tensors, Tensors]:
    """(A control-LoRA, as Stability's node saves it; the ControlNet that it stands for, by diffusers' names.) What the UNet has too is a
    product of two narrow matrices beside it; vectors, and what it has not, are whole.

    Args:
        net, unet: tensors by diffusers' names; config: of the ControlNet.
    """
    import torch

    stored: Tensors = {"lora_controlnet": torch.tensor([])}
    meant: Tensors = {}
    for name, tensor in net.items():
        (old,) = controlnet_tensors({name: tensor}, config, "")
        if name not in unet or tensor.ndim < 2:
            stored[old], meant[name] = tensor.half(), tensor.half().float()
            continue
        left, scale, right = torch.linalg.svd((tensor - unet[name]).flatten(1), full_matrices=False)
        up, down = (left[:, :rank] * scale[:rank]).half(), right[:rank].half()
        if tensor.ndim == 4:
            stored |= {f"{old.removesuffix('.weight')}.up": up[:, :, None, None].clone()}
            stored[f"{old.removesuffix('.weight')}.down"] = down.reshape(-1, *tensor.shape[1:]).clone()
        else:
            stored |= {f"{old.removesuffix('.weight')}.up": up.clone(), f"{old.removesuffix('.weight')}.down": down.clone()}
        meant[name] = unet[name] + (up.float() @ down.float()).reshape(tensor.shape)
    return stored, meant


def adapter_tensors(tensors: Mapping[str, Any]) -> Tensors:
    """A T2I-Adapter's tensors by the names of TencentARC's code: ResNets are numbered through; those of the light one lie in a block."""
    light = "adapter.body.0.out_conv.weight" in tensors
    found = {}
    for name, tensor in tensors.items():
        words = name.removeprefix("adapter.").split(".")
        if light and words[0] == "body":
            words = ["body", words[1], *(["body"] if words[2] == "resnets" else []), *words[2 + (words[2] == "resnets") :]]
        elif words[0] == "body":
            number = 2 * int(words[1])
            words = ["body", str(number + int(words[3])), *words[4:]] if words[2] == "resnets" else ["body", str(number), *words[2:]]
        found[".".join(words)] = tensor
    return found
