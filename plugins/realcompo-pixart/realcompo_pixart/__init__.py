"""Declares PixArt-α and PixArt-Σ. Data only: torch is imported when a branch is first built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, LatentSpace, NoiseSchedule, Traits

from .options import PixArtOptions

REALCOMPO_API = 1

__all__ = ["REALCOMPO_API", "PixArtOptions", "register_branches"]

_SD = LatentSpace("sd")
_SDXL = LatentSpace("sdxl", scaling_factor=0.13025)
_LINEAR = NoiseSchedule(beta_start=0.0001, beta_end=0.02, beta_schedule="linear", timestep_spacing="linspace", steps_offset=0)
_SAMPLE = {
    "prompt": "a photo of a cat and a red balloon on grass",
    "boxes": {"a cat": [0.05, 0.4, 0.5, 0.95], "a red balloon": [0.55, 0.05, 0.9, 0.6]},
}


def _spec(component: str, summary: str, source: str | None, latent: LatentSpace, family: str, size: int, **more: Any) -> BranchSpec:
    return BranchSpec(
        id=f"pixart/{component}",
        summary=summary,
        target="realcompo_pixart.branch:PixArtBranch",
        options=PixArtOptions,
        role="fidelity",
        source=source,
        traits=None if source is None else Traits(latent, family, _LINEAR, default_size=(size, size), size_multiple=16),
        guidance_scale=4.5,
        sample=_SAMPLE,
        recommended={"num_inference_steps": 20},
        **more,
    )


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """The published checkpoints, and a pipeline object that the user holds."""
    rail = {"licence": "CreativeML OpenRAIL++-M"}
    alpha, sigma = "PixArt-alpha/PixArt-XL-2", "PixArt-alpha/PixArt-Sigma-XL-2"
    yield _spec(
        "alpha",
        "PixArt-α 1024: a transformer in the latents of SD 1.x, told the picture's size.",
        f"{alpha}-1024-MS",
        _SD,
        "PixArt-α",
        1024,
        **rail,
    )
    yield _spec("alpha-512", "PixArt-α 512: a transformer in the latents of SD 1.x.", f"{alpha}-512x512", _SD, "PixArt-α 512", 512, **rail)
    yield _spec(
        "sigma",
        "PixArt-Σ 1024: a transformer in the latents of SDXL that reads 300 tokens.",
        f"{sigma}-1024-MS",
        _SDXL,
        "PixArt-Σ",
        1024,
        defaults={"text_length": 300},
        **rail,
    )
    yield _spec(
        "pipeline",
        "A diffusers PixArtAlphaPipeline or PixArtSigmaPipeline, or a folder of one (option of the recipe: source). Left as it is.",
        None,
        _SD,
        "PixArt",
        1024,
        accepts=("PixArtAlphaPipeline", "PixArtSigmaPipeline"),
    )
