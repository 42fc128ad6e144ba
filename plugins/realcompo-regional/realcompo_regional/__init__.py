"""Declares regional prompts. Data only: torch is imported when a branch is first built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, Options

REALCOMPO_API = 1

Share = Annotated[float, Field(ge=0, le=1)]


class RegionalOptions(Options):
    """What it builds on, and how much and how long the regions' own words act."""

    base: str = Field("sd/xl-base", description="Id of the branch whose network it draws with: a UNet or a transformer.")
    base_options: dict[str, Any] = Field(default_factory=dict, description="Options of that branch (`realcompo show` with its id).")
    base_ratio: Share = Field(
        0.3, description="Inside a region, how much of what is attended to is the whole prompt's; the rest is the region's own words'."
    )
    share: Share = Field(0.6, description="Share of the steps after which the regions' words no longer act: 1 is never.")


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """One branch; what it builds on is an option."""
    yield BranchSpec(
        id="regional/any",
        summary="Boxes without training, on any branch (option base): each region's own words are attended to inside its box only.",
        target="realcompo_regional.branch:RegionalBranch",
        options=RegionalOptions,
        role="spatial",
        condition="boxes",
        guidance_scale=5.0,
        requires=("realcompo-stable-diffusion",),
        accepts=("StableDiffusionXLPipeline",),
        sample={
            "fidelity": "sd/xl-base",
            "prompt": "a photo of a cat and a dog on a sofa",
            "boxes": {"a cat": [0.0, 0.25, 0.5, 1.0], "a dog": [0.5, 0.25, 1.0, 1.0]},
        },
    )
