"""Names of ControlNets and T2I-Adapters in the layouts that files of them have, as diffusers' names.

The original layout of ControlNets is that of lllyasviel's code (``control_model.input_blocks…``, ``zero_convs``, ``input_hint_block``),
that of T2I-Adapters TencentARC's (``body.0.block1…``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

CONTROL = "control_model."
_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "middle_block_out.0": "controlnet_mid_block",
    "input_hint_block.0": "controlnet_cond_embedding.conv_in",
    "input_hint_block.14": "controlnet_cond_embedding.conv_out",
}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def layers_of(names: Iterable[str]) -> int:
    """How many ResNets a block of an original layout has: the first downsampling stands behind those of the first block, at their number
    plus one."""
    downs = [int(match.group(1)) for name in names if (match := re.search(r"input_blocks\.(\d+)\.0\.op\.", name))]
    return max(min(downs) - 1, 1) if downs else 2


def controlnet_name(name: str, layers: int) -> str:
    """A ControlNet's name in diffusers' layout from the original one, without its prefix; a name of no meaning as it is.

    Args:
        layers: ResNets of a block, of `layers_of`.
    """
    for old, new in _ENDS.items():
        if name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    if match := re.fullmatch(r"zero_convs\.(\d+)\.0\.(\w+)", name):
        return f"controlnet_down_blocks.{match.group(1)}.{match.group(2)}"
    if match := re.fullmatch(r"input_hint_block\.(\d+)\.(\w+)", name):
        return f"controlnet_cond_embedding.blocks.{int(match.group(1)) // 2 - 1}.{match.group(2)}"
    if match := re.fullmatch(r"middle_block\.([012])\.(.+)", name):
        index, inside = int(match.group(1)), match.group(2)
        return f"mid_block.attentions.0.{inside}" if index == 1 else f"mid_block.resnets.{index // 2}.{_resnet(inside)}"
    if match := re.fullmatch(r"input_blocks\.(\d+)\.([01])\.(.+)", name):
        block, layer = divmod(int(match.group(1)) - 1, layers + 1)
        inside = match.group(3)
        if match.group(2) == "1":
            return f"down_blocks.{block}.attentions.{layer}.{inside}"
        if inside.startswith("op."):
            return f"down_blocks.{block}.downsamplers.0.conv.{inside.removeprefix('op.')}"
        return f"down_blocks.{block}.resnets.{layer}.{_resnet(inside)}"
    return name


def _resnet(inside: str) -> str:
    for old, new in _RESNET.items():
        if inside.startswith(f"{old}."):
            return new + inside.removeprefix(old)
    return inside


def adapter_name(name: str, layers: int = 2) -> str:
    """A T2I-Adapter's name in diffusers' layout, from that or from the original one; a name of no meaning as it is.

    Args:
        layers: ResNets of a block: two in all that were published in the original layout of the full adapter.
    """
    name = name.removeprefix("adapter.")
    if match := re.fullmatch(r"body\.(\d+)\.body\.(\d+)\.(block[12]\..+)", name):  # the light one, whose ResNets lie in a block
        return f"adapter.body.{match.group(1)}.resnets.{match.group(2)}.{match.group(3)}"
    if match := re.fullmatch(r"body\.(\d+)\.(block[12]\..+)", name):
        block, layer = divmod(int(match.group(1)), layers)
        return f"adapter.body.{block}.resnets.{layer}.{match.group(2)}"
    return f"adapter.{name}"


def original_adapter(names: Iterable[str]) -> bool:
    """Whether a T2I-Adapter is in the original layout."""
    return any(re.fullmatch(r"(adapter\.)?body\.\d+\.(body\.\d+\.)?block[12]\.\w+", name) for name in names)


def adapter_names(names: Iterable[str]) -> dict[str, list[str]]:
    """Name in diffusers' layout → names in the file (one, in a file that is whole)."""
    known = list(names)
    full = original_adapter(known) and not any(".body." in name.removeprefix("adapter.body.") for name in known)
    found: dict[str, list[str]] = {}
    for name in known:
        new = adapter_name(name)
        if full and (match := re.fullmatch(r"adapter\.body\.(\d+)\.in_conv\.(\w+)", new)):  # stands in the block's first ResNet
            new = f"adapter.body.{int(match.group(1)) // 2}.in_conv.{match.group(2)}"
        found.setdefault(new, []).append(name)
    return found


def controlnet_names(names: Iterable[str]) -> dict[str, list[str]]:
    """Name in diffusers' layout → names in the file (one, in a file that is whole). Of a file with a base beside the ControlNet, the
    ControlNet's alone."""
    known = list(names)
    prefixed = [name for name in known if name.startswith(CONTROL)]
    mine = {name.removeprefix(CONTROL): name for name in prefixed} if prefixed else {name: name for name in known}
    original = any(name.startswith(("input_blocks.", "zero_convs.", "input_hint_block.")) for name in mine)
    layers = layers_of(mine)
    found: dict[str, list[str]] = {}
    for bare, name in mine.items():
        found.setdefault(controlnet_name(bare, layers) if original else bare, []).append(name)
    return found


def block_counts(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    """How many numbers a pattern with one group finds in names."""
    return len({match.group(1) for name in shapes if (match := re.match(pattern, name))})


def usual_rows(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> int | None:
    """Rows of most of the tensors whose whole names are of a pattern; None where there are none. One that is spoilt does not make another
    network of the others: it can be named."""
    rows = Counter(shape[0] for name, shape in shapes.items() if shape and re.fullmatch(pattern, name))
    return rows.most_common(1)[0][0] if rows else None
