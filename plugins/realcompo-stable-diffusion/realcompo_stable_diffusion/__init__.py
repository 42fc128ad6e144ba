"""Declares Stable Diffusion 1.x, 2.x and SDXL. Data only: torch is imported when a branch is first built."""

from __future__ import annotations

from collections.abc import Iterable

from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, LatentSpace, PredictionType, SyntheticSpec, Traits
from realcompo.toolkit import UNetOptions

from .options import SDXLOptions

REALCOMPO_API = 1

__all__ = ["REALCOMPO_API", "SDXLOptions", "register_branches", "register_synthetics"]

_TARGET = "realcompo_stable_diffusion.branch:StableDiffusionBranch"
_XL = "realcompo_stable_diffusion.sdxl:SDXLBranch"
_SAMPLE = {
    "prompt": "a photo of a cat and a red balloon on grass",
    "boxes": {"a cat": [0.05, 0.4, 0.5, 0.95], "a red balloon": [0.55, 0.05, 0.9, 0.6]},
}


def _spec(
    component: str,
    summary: str,
    source: str,
    family: str,
    size: int = 512,
    prediction: PredictionType = "epsilon",
    licence: str = "CreativeML OpenRAIL-M",
) -> BranchSpec:
    return BranchSpec(
        id=f"sd/{component}",
        summary=summary,
        target=_TARGET,
        options=UNetOptions,
        role="fidelity",
        source=source,
        traits=Traits(LatentSpace("sd"), family, prediction_type=prediction, default_size=(size, size)),
        guidance_scale=7.5,
        licence=licence,
        sample=_SAMPLE,
    )


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """The published checkpoints, and a pipeline object that the user holds."""
    yield _spec("v1-5", "Stable Diffusion 1.5, the paper's fidelity model.", "stable-diffusion-v1-5/stable-diffusion-v1-5", "SD 1.x")
    yield _spec("v1-4", "Stable Diffusion 1.4.", "CompVis/stable-diffusion-v1-4", "SD 1.x")
    yield _spec(
        "v2-1-base",
        "Stable Diffusion 2.1 base: 512×512, predicts noise.",
        "stabilityai/stable-diffusion-2-1-base",
        "SD 2.x",
        licence="CreativeML OpenRAIL++-M",
    )
    yield _spec(
        "v2-1",
        "Stable Diffusion 2.1: 768×768, predicts v.",
        "stabilityai/stable-diffusion-2-1",
        "SD 2.x",
        768,
        "v_prediction",
        "CreativeML OpenRAIL++-M",
    )
    yield BranchSpec(
        id="sd/pipeline",
        summary="A diffusers StableDiffusionPipeline, or a folder of one (option of the recipe: source). Left as it is.",
        target=_TARGET,
        options=UNetOptions,
        role="fidelity",
        guidance_scale=7.5,
        sample=_SAMPLE,
        accepts=("StableDiffusionPipeline",),
    )
    yield BranchSpec(
        id="sd/xl-base",
        summary="Stable Diffusion XL 1.0 base: 1024×1024, two text encoders, told the picture's size. The paper's model for keypoints.",
        target=_XL,
        options=SDXLOptions,
        role="fidelity",
        source="stabilityai/stable-diffusion-xl-base-1.0",
        traits=Traits(LatentSpace("sdxl", scaling_factor=0.13025), "SDXL", default_size=(1024, 1024)),
        guidance_scale=5.0,
        licence="CreativeML OpenRAIL++-M",
        sample=_SAMPLE,
    )
    yield BranchSpec(
        id="sd/xl-pipeline",
        summary="A diffusers StableDiffusionXLPipeline, or a folder of one (option of the recipe: source). Left as it is.",
        target=_XL,
        options=SDXLOptions,
        role="fidelity",
        guidance_scale=5.0,
        sample=_SAMPLE,
        accepts=("StableDiffusionXLPipeline",),
    )


@hookimpl
def register_synthetics() -> Iterable[SyntheticSpec]:
    """The fidelity branches alone, at their sizes."""
    for name, branch, summary, pipeline in (
        ("sd15", "sd/v1-5", "Stable Diffusion 1.5 alone", "StableDiffusionPipeline"),
        ("sdxl", "sd/xl-base", "Stable Diffusion XL alone", "StableDiffusionXLPipeline"),
    ):
        yield SyntheticSpec(
            id=f"sd/{name}",
            summary=summary,
            target=f"realcompo_stable_diffusion.synthetic:{name}",
            recipe={
                "branches": [{"name": branch, "source": "synthetic://fidelity"}],
                "num_inference_steps": 20,
                "pictures": [{"prompt": _SAMPLE["prompt"], "seed": 1}],
            },
            small={"height": 128, "width": 128},
            pipeline=pipeline,
        )
