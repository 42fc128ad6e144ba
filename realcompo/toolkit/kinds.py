"""What a file of tensors is, told from names and shapes alone: a Stable Diffusion checkpoint in the original layout, or something else.

The original layout is that of the latent-diffusion code: ``model.diffusion_model.input_blocks…`` is the UNet, ``first_stage_model`` the
VAE, ``cond_stage_model`` or ``conditioner`` the text encoders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from .other_kinds import other_kind

Family = Literal["sd1", "sd2", "sdxl"]
Shapes = Mapping[str, tuple[int, ...]]

FAMILIES: Mapping[Family, str] = MappingProxyType({"sd1": "SD 1.x", "sd2": "SD 2.x", "sdxl": "SDXL"})
"""Family → its name."""

_UNET = ("model.diffusion_model.", "model.", "")
_VAE = ("first_stage_model.", "autoencoder.", "vae.")
_CLIP = ("cond_stage_model.transformer.", "text_encoder.transformer.")
_OPEN_CLIP = ("cond_stage_model.model.",)
_XL_CLIP, _XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
_REFINER = "conditioner.embedders.0.model."


@dataclass(frozen=True)
class Kind:
    """What a file is.

    Attributes:
        what: in words, with an article.
        family: of a whole checkpoint that draws pictures from text; None for all else, which cannot be one's source.
        parts: part → prefix of its tensors' names.
        gated: its UNet has GLIGEN's gated layers.
        alone: prefix of the names of a UNet that stands without text encoders, in the original layout; None where there is none.
        modern: its UNet is in diffusers' layout.
        unknown: nothing of it was recognised.
    """

    what: str
    family: Family | None = None
    parts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    gated: bool = False
    alone: str | None = None
    modern: bool = False
    unknown: bool = False


def identify(shapes: Shapes) -> Kind:
    """The kind of a file of these tensors."""
    if (what := other_kind(shapes)) is not None:
        return Kind(what)
    unet = next((prefix for prefix in _UNET if f"{prefix}input_blocks.0.0.weight" in shapes), None)
    if unet is None:
        if (lost := _lost_first(shapes)) is not None:
            return Kind(f"a checkpoint whose UNet lacks {lost!r}")
        what = _fragment(shapes)
        if what == MODERN and "conv_in.weight" not in shapes:
            return Kind("a checkpoint in diffusers' layout whose UNet lacks 'conv_in.weight'")
        if what == MODERN:
            return Kind(what, gated=any(name.startswith("position_net.") for name in shapes), alone="", modern=True)
        return Kind(what, unknown="of an unknown kind" in what)
    return _with_unet(shapes, unet)


def peeled(shapes: Shapes) -> dict[str, str]:
    """Name without what a trainer's wrapper put in front of all (``model.`` before ``model.diffusion_model.``, ``net.`` …) → name. Empty
    where nothing is in front, or a file is known as it stands."""
    if identify(shapes).family is not None:
        return {}
    whole = "model.diffusion_model.input_blocks.0.0.weight"
    front = next((name.removesuffix(whole) for name in shapes if name.endswith(f".{whole}")), "")
    if not front:
        words = {name.partition(".")[0] for name in shapes}
        if len(words) != 1 or not all("." in name for name in shapes) or not identify(shapes).unknown:
            return {}
        front = f"{words.pop()}."
    names = {name.removeprefix(front): name for name in shapes}
    return names if len(names) == len(shapes) else {}


def gate_prefix(shapes: Shapes) -> str | None:
    """The prefix of the names of GLIGEN's layers in the original layout; None where there are none."""
    for prefix in _UNET:
        if f"{prefix}position_net.linears.0.weight" in shapes:
            return prefix
    return None


def context_width(shapes: Shapes, unet: str) -> int | None:
    """How wide the text is that a UNet of the original layout reads."""
    return next(
        (shape[1] for name, shape in shapes.items() if name.startswith(unet) and name.endswith("attn2.to_k.weight") and len(shape) == 2),
        None,
    )


MODERN = "the UNet of a folder in diffusers' layout"

INPAINTING = 9
"""Channels that a UNet which inpaints takes: latents, a mask, and the latents of what stands around it."""


def _with_unet(shapes: Shapes, unet: str) -> Kind:
    """Of a file that holds a UNet in the original layout."""
    texts, family = _texts(shapes)
    first = shapes[f"{unet}input_blocks.0.0.weight"]
    if len(first) != 4:
        return Kind(f"a file whose UNet begins with no convolution, but with a tensor of shape {first}")
    channels = first[1]
    gated = gate_prefix(shapes) == unet
    labelled = f"{unet}label_emb.0.0.weight" in shapes
    name = _family_name(family, context_width(shapes, unet), labelled)
    if channels not in (4, INPAINTING):
        return Kind(f"a checkpoint of {name} whose UNet takes {channels} channels: it upscales or edits pictures")
    if labelled and any(key.startswith(_REFINER) for key in shapes):
        return Kind("the refiner of SDXL, which has no text encoder of CLIP-L")
    if labelled and family in ("sd1", "sd2"):
        return Kind(f"a checkpoint of {name} that is conditioned on a picture's embedding too (unCLIP)")
    if family is None:
        lost = _lost_words(shapes)
        what = f"the UNet of {'GLIGEN on ' if gated else ''}{name} alone, in the original layout"
        return Kind(what + ("" if lost is None else f" (its text encoder lacks {lost!r})"), gated=gated, alone=unet)
    parts = {"unet": unet, **texts}
    vae = vae_prefix(shapes)
    if vae is not None:
        parts["vae"] = vae
    what = f"a single file of {'GLIGEN on ' if gated else ''}{name} in the original layout{', which inpaints' if channels != 4 else ''}"
    return Kind(what + ("" if vae is not None else ", without a VAE"), family, parts, gated)


def vae_prefix(shapes: Shapes) -> str | None:
    """The prefix of a VAE's names within a whole checkpoint; None where there is none."""
    return next((prefix for prefix in _VAE if any(name.startswith(f"{prefix}decoder.") for name in shapes)), None)


def _lost_first(shapes: Shapes) -> str | None:
    """The name of an original UNet's first convolution, by which it is known, where a file has the layers behind it and not this one."""
    for prefix in _UNET:
        if {f"{prefix}time_embed.0.weight", f"{prefix}input_blocks.1.0.in_layers.0.weight"} <= shapes.keys():
            return f"{prefix}input_blocks.0.0.weight"
    return None


def _lost_words(shapes: Shapes) -> str | None:
    """The name of a text encoder's embedding, by which one is known, where a file has other tensors of the encoder and not this one."""
    for prefix in (*_CLIP, _XL_CLIP, *_OPEN_CLIP, _XL_OPEN_CLIP):
        mine = [name.removeprefix(prefix) for name in shapes if name.startswith(prefix)]
        if mine and not any(name.endswith("token_embedding.weight") for name in mine):
            if prefix in (*_OPEN_CLIP, _XL_OPEN_CLIP):
                return f"{prefix}token_embedding.weight"
            inner = "text_model." if any(name.startswith("text_model.") for name in mine) else ""
            return f"{prefix}{inner}embeddings.token_embedding.weight"
    return None


def _texts(shapes: Shapes) -> tuple[dict[str, str], Family | None]:
    """Part → prefix of the text encoders, and whose they are."""
    if _XL_CLIP + "text_model.embeddings.token_embedding.weight" in shapes and _XL_OPEN_CLIP + "token_embedding.weight" in shapes:
        return {"text_encoder": _XL_CLIP, "text_encoder_2": _XL_OPEN_CLIP}, "sdxl"
    for prefix in _OPEN_CLIP:
        if prefix + "token_embedding.weight" in shapes:
            return {"text_encoder": prefix}, "sd2"
    for prefix in _CLIP:
        if any(prefix + inner + "embeddings.token_embedding.weight" in shapes for inner in ("text_model.", "")):
            return {"text_encoder": prefix}, "sd1"
    return {}, None


def _family_name(family: Family | None, width: int | None, labelled: bool) -> str:
    if family is not None:
        return FAMILIES[family]
    if labelled:
        return "SDXL"
    return {768: "SD 1.x", 1024: "SD 2.x"}.get(width or 0, f"a Stable Diffusion with text {width} wide")


def _fragment(shapes: Iterable[str]) -> str:
    """Of a file without a UNet in the original layout."""
    names = list(shapes)

    def some(pattern: str) -> bool:
        return any(re.match(pattern, name) for name in names)

    if some(r".*\.fuser\.") and some(r".*position_net\.") and not some(r"down_blocks\.\d+\.resnets"):
        return "the gated layers of GLIGEN alone, without the UNet that they belong to"
    if some(r"down_blocks\.\d+\.") and some(r"time_embedding\."):
        return MODERN
    if some(r"(first_stage_model\.|vae\.)?decoder\.(conv_in|mid|mid_block|up|up_blocks)\."):
        return "a VAE"
    if some(r"(.*\.)?(text_model|encoder\.layers|resblocks)\.") and some(r".*token_embedding\.weight"):
        return "a text encoder (CLIP)"
    if some(r"(.*\.)?(vision_model|visual)\."):
        return "an image encoder (CLIP Vision), which IP-Adapters see pictures by"
    if some(r"(.*\.)?encoder\.block\.\d+\.layer\.0\.SelfAttention\."):
        return "a text encoder (T5)"
    if not names:
        return "a file without tensors"
    return f"a file of {len(names)} tensors of an unknown kind (the first is {min(names)!r})"
