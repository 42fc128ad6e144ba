"""The settings that A1111 writes into pictures, and that galleries and model sites read: prompt, negative prompt, `Steps: 20, Sampler: …`.

Beside our recipe, which alone draws the picture again. What A1111 has a field for is written as it writes it; what it has none for (a
spatial branch, a balancer) has a field of its own, which readers keep or leave aside. PNG: the text chunk `parameters`; PNG, JPEG and WebP:
EXIF's UserComment.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..recipes.recipe import BranchEntry, Recipe

KEYWORD = "parameters"
MODEL = "model_sha256"
"""Fact → SHA-256 of the fidelity branch's file, where it is one file: A1111's model hash is its beginning."""

_SAMPLERS: Mapping[str, tuple[str, str]] = {
    "ddim": ("DDIM", ""),
    "pndm": ("PLMS", ""),
    "euler": ("Euler", ""),
    "euler-ancestral": ("Euler a", ""),
    "dpm++-2m": ("DPM++ 2M", ""),
    "dpm++-2m-karras": ("DPM++ 2M", "Karras"),
    "unipc": ("UniPC", ""),
    "lcm": ("LCM", ""),
    "flow-euler": ("Euler", "Simple"),
}
"""Our scheduler → A1111's sampler and schedule type."""
_UPSCALERS = {"core/latent": "Latent", "core/lanczos": "Lanczos"}
_SOFTWARE, _EXIF, _COMMENT = 0x0131, 0x8769, 0x9286


def parameters_text(recipe: Recipe, facts: Mapping[str, Any], size: tuple[int, int]) -> str:
    """The text for a picture of a recipe that holds it alone.

    Args:
        facts: that it carries.
        size: (width, height) of the picture, which is the recipe's where it says none.
    """
    picture = recipe.pictures[0]
    first = next((one for one in recipe.branches if one.role != "spatial"), recipe.branches[0])
    prompt = picture.prompt if first.prompt is None else first.prompt.replace("{prompt}", picture.prompt)
    negative = picture.negative_prompt if first.negative_prompt is None else first.negative_prompt
    weighted = _words(recipe, first, "prompt_weights") is not None
    lines = [_line(prompt, weighted)]
    if negative:
        lines.append(f"Negative prompt: {_line(negative, weighted)}")
    fields = {name: value for name, value in _fields(recipe, first, facts, size).items() if value not in (None, "")}
    return "\n".join([*lines, ", ".join(f"{name}: {_quoted(value)}" for name, value in fields.items())])


def _fields(recipe: Recipe, first: BranchEntry, facts: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    picture, hires = recipe.pictures[0], recipe.hires
    sampler, kind = _SAMPLERS.get(recipe.scheduler, (recipe.scheduler, ""))
    digest = facts.get(MODEL)
    skip = _words(recipe, first, "clip_skip")
    strength = picture.strength if picture.image is not None else None
    found: dict[str, Any] = {
        "Steps": recipe.num_inference_steps,
        "Sampler": sampler,
        "Schedule type": kind,
        "CFG scale": None if first.guidance_scale is None else f"{first.guidance_scale:g}",
        "Seed": picture.seed,
        "Size": f"{recipe.width or size[0]}x{recipe.height or size[1]}",
        "Model hash": digest[:10] if isinstance(digest, str) else None,
        "Model": Path(first.source).stem if first.source else first.name,
        "VAE": Path(vae).stem if isinstance(vae := first.options.get("vae"), str) else None,
        "Denoising strength": None if strength is None else f"{strength:g}",
        "Clip skip": skip + 1 if isinstance(skip, int) and not isinstance(skip, bool) else None,  # diffusers' 0 is A1111's 1
    }
    if hires is not None:
        found["Denoising strength"] = f"{hires.strength:g}"
        found["Hires upscale"] = None if hires.scale is None else f"{hires.scale:g}"
        found["Hires resize"] = f"{hires.width}x{hires.height}" if hires.width and hires.height else None
        found["Hires steps"] = hires.steps
        found["Hires upscaler"] = _UPSCALERS.get(hires.upscaler.name, hires.upscaler.name)
    found["LoRA"] = _loras(first.options)
    found["Spatial"] = ", ".join(one.name for one in recipe.branches if one is not first)
    found["Balancer"] = recipe.balancer.name if len(recipe.branches) > 1 else None
    version = facts.get("versions", {}).get("realcompo") if isinstance(facts.get("versions"), Mapping) else None
    return {**found, "Version": f"RealCompo {version or ''}".strip()}


def _loras(options: Mapping[str, Any]) -> str:
    """``ink:0.8``, of one file or of several with a scale each, or one for all."""
    told = options.get("lora")
    files = [told] if isinstance(told, str) else list(told or ())
    scales = options.get("lora_scale", 1.0)
    each = list(scales) if isinstance(scales, list | tuple) else [scales] * len(files)
    return ", ".join(f"{Path(str(file)).stem}:{scale:g}" for file, scale in zip(files, each, strict=False))


def _words(recipe: Recipe, first: BranchEntry, name: str) -> Any:
    """How the words are read: the branch's own option, else the recipe's."""
    own = first.options.get(name)
    return own if own is not None else getattr(getattr(recipe, "words", None), name, None)


def _line(text: str, weighted: bool) -> str:
    """A prompt as A1111 reads it: where brackets are letters here, they are escaped there. A line that its reader would take for the
    negative prompt is joined to the one before."""
    plain = text if weighted else re.sub(r"([()\[\]\\])", r"\\\1", text)
    return re.sub(r"\s*\n\s*(?=Negative prompt:)", " ", plain.strip())


def _quoted(value: Any) -> str:
    """A value with what would end it in quotes, as A1111 does."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ',\n:"') else text


def exif_of(text: str, software: str = "RealCompo") -> bytes:
    """EXIF with the text as its UserComment, in UTF-16 and of the type that its standard asks for (pillow would write another)."""
    comment, name = b"UNICODE\0" + text.encode("utf-16-be"), software.encode("ascii") + b"\0"
    inner = 8 + 2 + 2 * 12 + 4 + len(name)  # behind the header, the first table and the name
    inner += inner % 2
    first = struct.pack("<H", 2) + _entry(_SOFTWARE, 2, len(name), 38) + _entry(_EXIF, 4, 1, inner) + bytes(4)
    second = struct.pack("<H", 1) + _entry(_COMMENT, 7, len(comment), inner + 18) + bytes(4)
    return b"Exif\0\0" + (b"II*\0" + struct.pack("<I", 8) + first + name).ljust(inner, b"\0") + second + comment


def _entry(tag: int, kind: int, count: int, value: int) -> bytes:
    """A field of a TIFF table; `value` is where it lies, as all here are longer than four bytes (or a place)."""
    return struct.pack("<HHII", tag, kind, count, value)
