"""Declares layout guidance. Data only: torch is imported when a branch is first built."""

from __future__ import annotations

from collections.abc import Iterable

from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec

from .options import LayoutGuidanceOptions

REALCOMPO_API = 1

__all__ = ["REALCOMPO_API", "LayoutGuidanceOptions", "register_branches"]


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """One branch; what it builds on is an option, whose default is a UNet or a transformer."""
    yield BranchSpec(
        id="layguide/sd",
        summary="Training-free boxes on any Stable Diffusion branch (option base): moves the latents until attention lies in its box.",
        target="realcompo_layout_guidance.branch:LayoutGuidanceBranch",
        options=LayoutGuidanceOptions,
        role="spatial",
        condition="boxes",
        guidance_scale=7.5,
        accepts=("StableDiffusionPipeline",),
        sample={
            "fidelity": "sd/v1-5",
            "prompt": "a photo of a cat and a dog on a sofa",
            "boxes": {"a cat": [0.0, 0.25, 0.5, 1.0], "a dog": [0.5, 0.25, 1.0, 1.0]},
        },
    )
    yield BranchSpec(
        id="layguide/any",
        summary="The same on any branch with a UNet or a transformer (option base).",
        target="realcompo_layout_guidance.branch:LayoutGuidanceBranch",
        options=LayoutGuidanceOptions,
        defaults={"base": "pixart/alpha"},
        role="spatial",
        condition="boxes",
        guidance_scale=4.5,
        requires=("realcompo-pixart",),
        accepts=("PixArtAlphaPipeline",),
        sample={
            "fidelity": "pixart/alpha",
            "prompt": "a photo of a cat and a dog on a sofa",
            "boxes": {"a cat": [0.0, 0.25, 0.5, 1.0], "a dog": [0.5, 0.25, 1.0, 1.0]},
        },
    )
