"""ControlNets and T2I-Adapters that are single files: what they are, their configs from shapes, and their networks.

Read are ControlNets in the original and diffusers' layout, unions of several (``ControlNetUnionModel``), control-LoRAs (W = W_base + U·D
for each matrix, Stability's layout), ControlNets stored as differences from their base (W = W_base + ΔW), and T2I-Adapters. Names and
shapes are compared before a tensor is read.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadCheckpoint
from .conversion import empty_network, fill, refuse_integers
from .kinds import identify
from .net_names import CONTROL, adapter_names, block_counts, controlnet_names, usual_rows
from .other_kinds import other_kind
from .tensor_files import TensorFile

RANKED, DIFFERENCE = "lora_controlnet", "difference"
"""Tensors that mark a control-LoRA, and a ControlNet stored as the difference from its base."""

_CONTROLNETS = ("a ControlNet", "a ControlNet (a control-LoRA)")
_MEND = "its weights are not those of this architecture, or a part of them is gone: fetch or copy it again"
_T2I_CHANNELS = {3 * 64: (3, 8), 64: (1, 8), 3 * 256: (3, 16), 256: (1, 16)}
"""Channels after a T2I-Adapter's pixels were folded → (channels of its hint, pixels along a side that are folded into one)."""


@dataclass(frozen=True, eq=False)
class NetFile:
    """A network that was found in a file.

    Attributes:
        file: it.
        name: its class.
        names: name in diffusers' layout → name in the file; of a control-LoRA, of what is stored whole.
        ranked: name in diffusers' layout → names of U and D in the file.
        difference: what is stored of the base's tensors is the difference from them.
        config: what shapes tell.
    """

    file: TensorFile
    name: str
    names: Mapping[str, str]
    ranked: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    difference: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name in diffusers' layout → shape."""
        found = {new: self.file.shapes[old] for new, old in self.names.items()}
        products = {new: (*self.file.shapes[up][:1], *self.file.shapes[down][1:]) for new, (up, down) in self.ranked.items()}
        return {**found, **products}


def is_adapter(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether names are those of a T2I-Adapter."""
    return any(re.match(r"(adapter\.)?body\.\d+\.(body\.\d+\.|resnets\.\d+\.)?(block1|in_conv)\.weight$", name) for name in shapes)


def read_net(file: TensorFile) -> NetFile:
    """What a file holds, from its header.

    Raises:
        BadCheckpoint: no ControlNet or T2I-Adapter; says what it is. Or names that stand for the same tensor, or half of a pair.
    """
    if is_adapter(file.shapes):
        found = NetFile(file, "T2IAdapter", _single(adapter_names(file.shapes), file))
        return NetFile(file, "T2IAdapter", found.names, config=_adapter_config(found))
    if other_kind(file.shapes) not in _CONTROLNETS:
        raise BadCheckpoint(
            f"it is {identify(file.shapes).what}, not a ControlNet",
            where=file.where,
            mend="give a ControlNet or a T2I-Adapter; the base's checkpoint is the option base_source",
        )
    table = controlnet_names(name for name in file.shapes if name.removeprefix(CONTROL) not in (RANKED, DIFFERENCE))
    names = _single(table, file)
    ranked = any(name.removeprefix(CONTROL) == RANKED for name in file.shapes)
    pairs = _pairs(names, file) if ranked else {}
    plain = {new: old for new, old in names.items() if not (ranked and new.endswith((".up", ".down")))}
    union = any(new.startswith("control_add_embedding.") for new in plain)
    difference = any(name.removeprefix(CONTROL) == DIFFERENCE for name in file.shapes)
    kind = "ControlNetUnionModel" if union else "ControlNetModel"
    net = NetFile(file, kind, plain, pairs, difference)
    return NetFile(file, kind, plain, pairs, difference, _control_config(net.shapes, union))


def _single(table: Mapping[str, list[str]], file: TensorFile) -> dict[str, str]:
    for new, old in table.items():
        if len(old) > 1:
            raise BadCheckpoint(f"two of its tensors, {old[0]!r} and {old[1]!r}, are one ({new!r})", where=file.where, mend=_MEND)
    return {new: old[0] for new, old in table.items()}


def _pairs(names: Mapping[str, str], file: TensorFile) -> dict[str, tuple[str, str]]:
    """Of a control-LoRA: name in diffusers' layout → names of U and D."""
    found = {}
    for new in sorted({new.rpartition(".")[0] for new in names if new.endswith((".up", ".down"))}):
        up, down = names.get(f"{new}.up"), names.get(f"{new}.down")
        if up is None or down is None:
            raise BadCheckpoint(f"of its matrix {new!r} only {up or down!r} is there, not its other half", where=file.where, mend=_MEND)
        shapes = file.shapes[up], file.shapes[down]
        if min(map(len, shapes)) < 2 or shapes[0][1] != shapes[1][0]:
            raise BadCheckpoint(f"{up!r} {shapes[0]} and {down!r} {shapes[1]} are of two ranks", where=file.where, mend=_MEND)
        found[f"{new}.weight"] = (up, down)
    return found


# -- configs -------------------------------------------------------------------------------------------------------------------


def _side(shapes: Mapping[str, tuple[int, ...]], name: str, at: int) -> int | None:
    shape = shapes.get(name, ())
    return shape[at] if len(shape) > at else None


def _control_config(shapes: Mapping[str, tuple[int, ...]], union: bool) -> dict[str, Any]:
    """Keys of a ControlNet's config that its shapes tell; the others are its base's."""
    told: dict[str, Any] = {"_class_name": "ControlNetUnionModel" if union else "ControlNetModel"}
    blocks = block_counts(shapes, r"down_blocks\.(\d+)\.resnets\.")
    widths = [usual_rows(shapes, rf"down_blocks\.{index}\.resnets\.\d+\.conv[12]\.(weight|bias)") for index in range(blocks)]
    if blocks and None not in widths:
        told["block_out_channels"] = widths
        told["layers_per_block"] = block_counts(shapes, r"down_blocks\.0\.resnets\.(\d+)\.")
    context = next((shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight") and len(shape) == 2), None)
    if context is not None:
        told["cross_attention_dim"] = context
    if (first := _side(shapes, "conv_in.weight", 1)) is not None:
        told["in_channels"] = first
    if (added := _side(shapes, "add_embedding.linear_1.weight", 1)) is not None:
        told |= {"addition_embed_type": "text_time", "projection_class_embeddings_input_dim": added}
    elif "time_embedding.linear_1.weight" in shapes and not any(name.startswith("add_embedding.") for name in shapes):
        told["addition_embed_type"] = None
    hint = "controlnet_cond_embedding."
    told["conditioning_channels"] = _side(shapes, f"{hint}conv_in.weight", 1) or 3
    levels = block_counts(shapes, rf"{re.escape(hint)}blocks\.(\d+)\.") // 2
    outs = [_side(shapes, f"{hint}conv_in.weight", 0), *(_side(shapes, f"{hint}blocks.{2 * n + 1}.weight", 0) for n in range(levels))]
    if None not in outs:
        told["conditioning_embedding_out_channels"] = outs
    depths = [block_counts(shapes, rf"down_blocks\.{index}\.attentions\.0\.transformer_blocks\.(\d+)\.") for index in range(blocks)]
    middle = block_counts(shapes, r"mid_block\.attentions\.0\.transformer_blocks\.(\d+)\.")
    if blocks and middle + sum(depths):
        told["down_block_types"] = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths]
        told["transformer_layers_per_block"] = [depth or 1 for depth in depths[:-1]] + [depths[-1] or middle or 1]
    elif blocks and "mid_block.resnets.0.conv1.weight" in shapes:
        told |= {"down_block_types": ["DownBlock2D"] * blocks, "mid_block_type": "UNetMidBlock2D"}
    if union:
        tasks, width = (_side(shapes, "task_embedding", at) for at in (0, 1))
        told |= {"num_control_type": tasks, "num_trans_channel": width, "num_proj_channel": _side(shapes, "spatial_ch_projs.weight", 0)}
        told["num_trans_layer"] = block_counts(shapes, r"transformer_layes\.(\d+)\.")
    return told


def _adapter_config(net: NetFile) -> dict[str, Any]:
    """A T2I-Adapter's config.

    Raises:
        BadCheckpoint: none of the published kinds.
    """
    shapes, where = net.shapes, net.file.where
    light = "adapter.body.0.out_conv.weight" in shapes
    first = "adapter.body.0.in_conv.weight" if light else "adapter.conv_in.weight"
    if first not in shapes:
        raise BadCheckpoint(f"it is a T2I-Adapter without {first!r}, the first of its tensors", where=where, mend=_MEND)
    folded = _side(shapes, first, 1)
    if folded not in _T2I_CHANNELS:
        raise BadCheckpoint(
            f"it is a T2I-Adapter whose {net.names[first]!r} of shape {shapes[first]} takes a hint that is folded into "
            f"{'no' if folded is None else folded} channels, not {', '.join(map(str, _T2I_CHANNELS))}",
            where=where,
            mend=_MEND,
        )
    channels, fold = _T2I_CHANNELS[folded]
    blocks = block_counts(shapes, r"adapter\.body\.(\d+)\.")
    inside = r"out_conv\.\w+" if light else r"resnets\.\d+\.block[12]\.\w+"
    widths = [usual_rows(shapes, rf"adapter\.body\.{index}\.{inside}") for index in range(blocks)]
    if not blocks or None in widths:
        lost = f"adapter.body.{widths.index(None) if blocks else 0}.{'out_conv' if light else 'resnets.0.block1'}.weight"
        raise BadCheckpoint(f"it is a T2I-Adapter without {lost!r}", where=where, mend=_MEND)
    return {
        "_class_name": "T2IAdapter",
        "in_channels": channels,
        "channels": widths[:-1] if light else widths,
        "num_res_blocks": block_counts(shapes, r"adapter\.body\.0\.resnets\.(\d+)\."),
        "downscale_factor": fold,
        "adapter_type": "light_adapter" if light else "full_adapter_xl" if fold == 16 else "full_adapter",
    }


def whole_config(net: NetFile, unet: Mapping[str, Any]) -> dict[str, Any]:
    """A file's config: what its shapes tell, and of a ControlNet the rest of its base's UNet's, which it was made from."""
    if net.name == "T2IAdapter":
        return dict(net.config)
    import diffusers

    taken = inspect.signature(getattr(diffusers, net.name).__init__).parameters
    told = {key: value for key, value in unet.items() if key in taken and key not in ("conditioning_embedding_out_channels",)}
    return {**told, **net.config}


# -- networks ------------------------------------------------------------------------------------------------------------------


def check_net_file(net: NetFile, unet: Mapping[str, Any]) -> Any:
    """The network without numbers, if a file has the names and shapes of it.

    Args:
        unet: config of its base's UNet.

    Raises:
        BadCheckpoint: names the first tensor that is missing, too many or of another shape.
    """
    where, what = net.file.where, {"T2IAdapter": "T2I-Adapter"}.get(net.name, "ControlNet")
    refuse_integers(net.file, [*net.names.values(), *(name for pair in net.ranked.values() for name in pair)], what)
    try:
        network = empty_network(whole_config(net, unet), "diffusers", net.name)
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise BadCheckpoint(f"its shapes are those of no {net.name}: {error}", where=where, mend=_MEND) from error
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = net.shapes
    missing = sorted(name for name in wanted.keys() - found.keys() if not (net.ranked and _is_bases(name, wanted, found)))
    more, other = sorted(found.keys() - wanted.keys()), sorted(name for name in wanted.keys() & found.keys() if found[name] != wanted[name])
    if missing:
        raise BadCheckpoint(f"{len(missing)} tensors of the {what} are missing, among them {missing[0]!r}", where=where, mend=_MEND)
    if more:
        named = net.names.get(more[0]) or net.ranked[more[0]][0]
        raise BadCheckpoint(f"it has {len(more)} tensors that are none of a {what}, among them {named!r}", where=where, mend=_MEND)
    if other:
        key = other[0]
        raise BadCheckpoint(
            f"{len(other)} of its tensors are of another shape: {key!r} is {found[key]}, not {wanted[key]}", where=where, mend=_MEND
        )
    return network


def _is_bases(name: str, wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a control-LoRA leaves a tensor to its base: one that the base has, of a kind (weights of vectors, of matrices, biases) of
    which it stores none."""

    def kind(one: str) -> tuple[str, bool]:
        return one.rpartition(".")[2], len(wanted[one]) > 1

    return _of_unet(name) and not any(_of_unet(one) and kind(one) == kind(name) for one in found.keys() & wanted.keys())


def _of_unet(name: str) -> bool:
    """Whether a ControlNet has a tensor from the UNet that it was made from."""
    return name.startswith(("conv_in.", "time_embedding.", "add_embedding.", "down_blocks.", "mid_block."))


def load_net_file(net: NetFile, unet: Any, dtype: torch.dtype) -> nn.Module:
    """The network of a file, in evaluation mode on the CPU.

    Args:
        unet: the base's, whose weights a control-LoRA or a difference is added to.

    Raises:
        BadCheckpoint: see `check_net_file`.
    """
    network: nn.Module = check_net_file(net, unet.config)
    read = net.file.read(net.names.values())
    tensors = {new: read[old] for new, old in net.names.items()}
    if net.ranked or net.difference:
        base = unet.state_dict()

        def whole(name: str, change: Tensor | None) -> Tensor:
            mine: Tensor = base[name].detach().cpu()
            return mine if change is None else mine.float() + change.float().reshape(mine.shape)

        if net.difference:
            tensors = {name: whole(name, tensor) if _of_unet(name) and name in base else tensor for name, tensor in tensors.items()}
        for name, (up, down) in net.ranked.items():
            halves = net.file.read((up, down))
            tensors[name] = whole(name, halves[up].float().flatten(1) @ halves[down].float().flatten(1))
        tensors |= {name: whole(name, None).clone() for name in network.state_dict() if name not in tensors}
    fill(network, tensors, dtype)
    return network.eval()
