"""Declares GLIGEN. Data only: torch is imported when a branch is first built."""

from __future__ import annotations

from collections.abc import Iterable

from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, LatentSpace, Traits

from .options import GligenOptions

REALCOMPO_API = 1

__all__ = ["REALCOMPO_API", "GligenOptions", "register_branches"]


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """GLIGEN with text boxes."""
    yield BranchSpec(
        id="gligen/box",
        summary="GLIGEN on Stable Diffusion 1.4: each box holds its phrase. The paper's layout model.",
        target="realcompo_gligen.branch:GligenBranch",
        options=GligenOptions,
        role="spatial",
        condition="boxes",
        source="masterful/gligen-1-4-generation-text-box",
        traits=Traits(LatentSpace("sd"), "SD 1.x with GLIGEN", max_objects=30),
        guidance_scale=7.5,
        licence="CreativeML OpenRAIL-M",
        accepts=("StableDiffusionGLIGENPipeline",),
        sample={
            "prompt": "a photo of a cat and a dog on a sofa",
            "boxes": {"a cat": [0.05, 0.3, 0.5, 0.95], "a dog": [0.5, 0.3, 0.95, 0.95]},
        },
    )
