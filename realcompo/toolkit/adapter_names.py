"""Whose tensor is it: from a name in an adapter's file, in any spelling that is about, to a module of a network and a role in it.

Spellings: kohya's and LyCORIS' (``lora_unet_down_blocks_0_…``, ``lora_te1_…``), the same over the original layout (``input_blocks_4_1_…``),
diffusers' new and old ones, PEFT's (``base_model.model.…``) and ComfyUI's (``diffusion_model.…``). Dots and underscores are alike here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_FRONTS: tuple[tuple[str, str | None], ...] = (
    ("base_model.model.", None),
    ("model.diffusion_model.", "unet"),
    ("diffusion_model.", "unet"),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder.", "text_encoder"),
    ("text_encoders.clip_l.transformer.", "text_encoder"),
    ("text_encoders.clip_g.transformer.", "text_encoder_2"),
    ("unet.", "unet"),
    ("transformer.", "transformer"),
    ("lora_transformer_", "transformer"),
    ("lora_unet_", "unet"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"),
    ("lycoris_", None),
    ("oft_unet_", "unet"),
)
"""What stands before a module's name, and whose it says that the module is."""

_SET = r"(?:\.(?!weight$|bias$)[\w-]+)?"  # PEFT's name of a set of adapters
_ROLES: tuple[tuple[str, str], ...] = (
    (rf"(?:\.lora_down|\.lora_A{_SET}|\.lora\.down|[._]lora_linear_layer\.down|_lora\.down)(?:\.weight)?", "down"),
    (rf"(?:\.lora_up|\.lora_B{_SET}|\.lora\.up|[._]lora_linear_layer\.up|_lora\.up)(?:\.weight)?", "up"),
    (rf"(?:\.lora_up|\.lora_B{_SET})\.bias", "up_bias"),
    (r"\.lora_mid(?:\.weight)?", "mid"),
    (r"(?:[._]lora|[._]lora_linear_layer)?\.alpha", "alpha"),
    (r"\.dora_scale", "dora_scale"),
    (rf"\.lora_magnitude_vector{_SET}(?:\.weight)?", "magnitude"),
    (rf"\.(hada_w1_a|hada_w1_b|hada_w2_a|hada_w2_b|hada_t1|hada_t2){_SET}", ""),
    (rf"\.(lokr_w1|lokr_w1_a|lokr_w1_b|lokr_w2|lokr_w2_a|lokr_w2_b|lokr_t2){_SET}", ""),
    (r"\.(diff|diff_b|w_norm|b_norm)", ""),
)
"""Ends of names → role; "" where the end is the role's own name."""

_ENDS = [(re.compile(f"^(.+?){pattern}$"), role) for pattern, role in _ROLES]

_REFUSED: tuple[tuple[str, str], ...] = (
    (r"\.(on_input|ia3_l)\b", "IA3"),
    (r"\.boft_", "BOFT"),
    (r"(^|\.)oft_|\.oft_", "OFT"),
    (r"\.(a1|a2|b1|b2|bm1|bm2)(\.weight)?$", "GLoRA"),
    (r"\.vera_", "VeRA"),
    (r"\.(lora_E|ranknum)\b", "AdaLoRA"),
    (r"\.hra_u\b", "HRA"),
    (r"\.fourierft_", "FourierFT"),
    (r"\.(miss_block|bone_)", "MiSS (Bone)"),
    (r"\.(randlora_|randbasis_)", "RandLoRA"),
    (r"\.vblora_", "VB-LoRA"),
    (r"\.lora_embedding_[AB]", "LoRA of an embedding"),
    (r"(^|\.)(bundle_emb|string_to_param|emb_params)\b", "LoRA with embeddings of words in it"),
    (r"\.set_weight$|\.reshape_weight$", "LoRA of ComfyUI that sets whole weights"),
)
"""Marks of kinds that are not applied here → their names."""

_OF_TRANSFORMERS: tuple[tuple[str, str], ...] = (
    (r"(^|[._])(down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)[._]", "a UNet (SD 1.x, 2.x or SDXL)"),
    (r"double_blocks|(^|[._])single_blocks|joint_blocks|img_attn_qkv", "the original code's layout, whose projections are joined"),
    (r"single_transformer_blocks", "FLUX.1"),
    (r"transformer_blocks[._]\d+[._]attn1[._]", "PixArt"),
    (r"(^|[._])layers[._]\d+[._]attention[._]", "Z-Image or Lumina"),
    (r"transformer_blocks[._]\d+[._]attn[._]", "Stable Diffusion 3 or FLUX.1"),
)
"""Marks in a file that does not fit a transformer → whose it is."""

_OTHERS: tuple[tuple[str, str], ...] = (
    (r"double_blocks|double_stream|lora_transformer_single|(^|[._])single_transformer_blocks|single_blocks", "Flux or HunyuanVideo"),
    (r"joint_blocks|context_block", "Stable Diffusion 3"),
    (r"^lora_te3|text_encoder_3|t5xxl", "a model with a T5 text encoder (Flux or Stable Diffusion 3)"),
    (r"lora_prior_|^prior\.", "Stable Cascade or Kandinsky"),
    (r"motion_module", "AnimateDiff's motion modules"),
    (r"lora_controlnet|^controlnet\.", "a ControlNet"),
    (r"^(transformer\.|lora_transformer_)|adaln_single|cross_attn_norm|^(base_model\.model\.)?transformer_blocks\.", "a transformer"),
    (r"^(lora_unet_|diffusion_model\.|base_model\.model\.)?(blocks|layers|llm)[._]\d", "a transformer"),
)
"""Marks of other architectures → whose."""


@dataclass(frozen=True)
class Place:
    """Where a tensor belongs: a module of a part, by its name there, and its role in it."""

    part: str
    module: str
    role: str


def refused_kind(name: str, dimensions: int) -> str | None:
    """The kind of adapter that a name is a mark of, if it is one that is not applied here."""
    for pattern, kind in _REFUSED:
        if re.search(pattern, name):
            return "BOFT" if kind == "OFT" and dimensions == 4 else kind  # LyCORIS has both in ``oft_blocks``
    return None


def other_architecture(names: Iterable[str]) -> str | None:
    """Whose adapter it is, where its names tell that it is for none of ours."""
    names = list(names)
    return next((whose for pattern, whose in _OTHERS if any(re.search(pattern, name) for name in names)), None)


def other_than_transformer(names: Iterable[str]) -> str | None:
    """Whose adapter it is, where it does not fit a transformer."""
    names = list(names)
    return next((whose for pattern, whose in _OF_TRANSFORMERS if any(re.search(pattern, name) for name in names)), None)


def split(name: str) -> tuple[str | None, str, str] | None:
    """(part if the name says it, module's name, role) of a tensor; None where its end is unknown."""
    for pattern, role in _ENDS:
        match = pattern.match(name)
        if match:
            part, stem = _front(match.group(1))
            own = role or match.group(2)
            return part, re.sub(r"\.processor\b", "", stem), own
    return None


def _front(stem: str) -> tuple[str | None, str]:
    part = None
    while True:
        for front, whose in _FRONTS:
            if stem.startswith(front):
                stem, part = stem.removeprefix(front), whose or part
                break
        else:
            return part, stem


def flat(name: str) -> str:
    """A name with dots as underscores."""
    return name.replace(".", "_")


def spellings(part: str, network: Any) -> dict[str, str]:
    """Flat name, in all layouts → name of each module of a network that has weights.

    Args:
        part: ``unet``, ``transformer`` or a text encoder.
        network: its modules; they need no numbers.
    """
    own = [name for name, module in network.named_modules() if any(True for _ in module.parameters(recurse=False))]
    found: dict[str, str] = {}
    for name in own:
        for spelling in _unet_names(name, network.config) if part == "unet" else _text_names(name):
            found.setdefault(flat(spelling), name)
    return found


def _text_names(name: str) -> tuple[str, ...]:
    plain = name.removeprefix("text_model.")
    short = (name.removesuffix(".0"),) if name.endswith(".to_out.0") else ()
    return (name, f"text_model.{plain}", plain, *short)


_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def _unet_names(name: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """A module's name in diffusers' layout, the old one of its output projection, and that of the original layout."""
    names = [name]
    if name.endswith(".to_out.0"):
        names.append(name.removesuffix(".0"))  # of diffusers' attention processors
    match = re.match(r"(down_blocks|up_blocks|mid_block)\.(?:(\d+)\.)?(\w+)\.(\d+)\.?(.*)$", name)
    if name in _UNET_ENDS:
        names.append(_UNET_ENDS[name])
    elif match:
        kind, block, what, layer, rest = match.group(1), int(match.group(2) or 0), match.group(3), int(match.group(4)), match.group(5)
        deep = config["layers_per_block"]
        layers = (deep[0] if isinstance(deep, list | tuple) else deep) + 1
        rest = _RESNET.get(rest, rest) if what == "resnets" else rest
        if kind == "mid_block":
            place = f"middle_block.{1 if what == 'attentions' else 2 * layer}"
        elif what == "downsamplers":
            place, rest = f"input_blocks.{(block + 1) * layers}.0", "op"
        elif what == "upsamplers":
            crossing = "CrossAttn" in config["up_block_types"][block]
            place = f"output_blocks.{(block + 1) * layers - 1}.{2 if crossing else 1}"
        elif kind == "down_blocks":
            place = f"input_blocks.{block * layers + layer + 1}.{1 if what == 'attentions' else 0}"
        else:
            place = f"output_blocks.{block * layers + layer}.{1 if what == 'attentions' else 0}"
        names.append(f"{place}.{rest}" if rest else place)
    return tuple(names)
