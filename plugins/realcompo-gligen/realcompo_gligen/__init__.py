"""Declares GLIGEN. Data only: torch is imported when a branch is first built."""

from __future__ import annotations

from collections.abc import Iterable

from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, LatentSpace, SyntheticSpec, Traits

from .options import GligenOptions

REALCOMPO_API = 1

__all__ = ["REALCOMPO_API", "GligenOptions", "register_branches", "register_synthetics"]


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
            "fidelity": "sd/v1-5",
            "prompt": "a photo of a cat and a dog on a sofa",
            "boxes": {"a cat": [0.05, 0.3, 0.5, 0.95], "a dog": [0.5, 0.3, 0.95, 0.95]},
        },
    )


@hookimpl
def register_synthetics() -> Iterable[SyntheticSpec]:
    """The paper's pair at its size."""
    yield SyntheticSpec(
        id="gligen/sd15-gligen",
        summary="Stable Diffusion 1.5 and GLIGEN",
        target="realcompo_gligen.synthetic:checkpoints",
        recipe={
            "branches": [
                {"name": "sd/v1-5", "source": "synthetic://fidelity"},
                {"name": "gligen/box", "source": "synthetic://spatial"},
            ],
            "num_inference_steps": 20,
            "pictures": [
                {
                    "prompt": "a photo of a cat and a red balloon on grass",
                    "seed": 1,
                    "conditions": {"boxes": {"a cat": [0.05, 0.4, 0.5, 0.95], "a red balloon": [0.55, 0.05, 0.9, 0.6]}},
                }
            ],
        },
        small={"height": 128, "width": 128},
        pipeline="StableDiffusionPipeline",
    )
