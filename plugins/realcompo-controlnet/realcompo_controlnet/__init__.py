"""Declares ControlNets for poses, maps and pictures shown as they are. Data only: torch is imported when a branch is first built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from realcompo.conditions.hint import SAMPLE
from realcompo.conditions.skeletons import skeleton
from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, LatentSpace, SyntheticSpec, Traits

from .options import ControlNetOptions, NetOptions

REALCOMPO_API = 1

__all__ = ["REALCOMPO_API", "ControlNetOptions", "NetOptions", "register_branches", "register_synthetics"]

_HINTS = {"canny": "lllyasviel/control_v11p_sd15_canny", "depth": "lllyasviel/control_v11f1p_sd15_depth"}
"""Kind of hint → published ControlNet; hub ids from memory. Others are loaded by the options source and hints."""
_TARGET = "realcompo_controlnet.branch:ControlNetBranch"
_SD = LatentSpace("sd")
_SDXL = LatentSpace("sdxl", scaling_factor=0.13025)


POSE: dict[str, Any] = {
    "fidelity": "sd/v1-5",
    "prompt": "a dancer and a runner on grass, full body",
    "keypoints": {
        "a dancer": skeleton("standing", (0.05, 0.1, 0.55, 0.9)),
        "a runner": skeleton("standing", (0.47, 0.15, 0.97, 0.9)),
    },
}
MAP: dict[str, Any] = {
    "prompt": "a house and a red car on grass under a blue sky",
    "segmentation": {
        "size": [64, 64],
        "backdrop": [
            {"label": "sky", "polygons": [[0, 0, 64, 0, 64, 40, 0, 40]]},
            {"label": "grass", "polygons": [[0, 40, 64, 40, 64, 64, 0, 64]]},
        ],
        "items": [
            {"phrase": "a house", "polygons": [[6, 44, 6, 24, 18, 12, 30, 24, 30, 44]]},
            {"phrase": "a red car", "polygons": [[34, 54, 34, 46, 40, 46, 43, 40, 53, 40, 56, 46, 61, 46, 61, 54]]},
        ],
    },
}


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """Pose and segmentation, each for the base that the published checkpoint was trained on."""
    yield BranchSpec(
        id="controlnet/pose-sd15",
        summary="ControlNet 1.1 openpose on Stable Diffusion 1.5: each person stands as drawn.",
        target=_TARGET,
        options=ControlNetOptions,
        defaults={"base": "sd/v1-5"},
        role="spatial",
        condition="keypoints",
        source="lllyasviel/control_v11p_sd15_openpose",
        traits=Traits(_SD, "SD 1.x with ControlNet"),
        guidance_scale=7.5,
        licence="CreativeML OpenRAIL-M",
        requires=("realcompo-stable-diffusion",),
        sample=POSE,
    )
    yield BranchSpec(
        id="controlnet/pose-sdxl",
        summary="ControlNet openpose on Stable Diffusion XL. The paper's model for keypoints.",
        target=_TARGET,
        options=ControlNetOptions,
        defaults={"base": "sd/xl-base"},
        role="spatial",
        condition="keypoints",
        source="thibaud/controlnet-openpose-sdxl-1.0",
        traits=Traits(_SDXL, "SDXL with ControlNet", default_size=(1024, 1024)),
        guidance_scale=5.0,
        requires=("realcompo-stable-diffusion",),
        sample={**POSE, "fidelity": "sd/xl-base"},
    )
    for hint, source in _HINTS.items():
        yield BranchSpec(
            id=f"controlnet/{hint}-sd15",
            summary=f"ControlNet 1.1 on Stable Diffusion 1.5, shown a picture of the kind {hint!r} as it is.",
            target=_TARGET,
            options=ControlNetOptions,
            defaults={"base": "sd/v1-5", "hints": (hint,)},
            role="spatial",
            condition="hint",
            source=source,
            traits=Traits(_SD, "SD 1.x with ControlNet", hints=(hint,)),
            guidance_scale=7.5,
            licence="CreativeML OpenRAIL-M",
            requires=("realcompo-stable-diffusion",),
            sample={"fidelity": "sd/v1-5", "prompt": "a cat and a house on grass", "hint": {**SAMPLE, "of": hint}},
        )
    yield BranchSpec(
        id="controlnet/seg-sd15",
        summary="ControlNet 1.1 segmentation (ADE20K colours) on Stable Diffusion 1.5.",
        target=_TARGET,
        options=ControlNetOptions,
        defaults={"base": "sd/v1-5"},
        role="spatial",
        condition="segmentation",
        source="lllyasviel/control_v11p_sd15_seg",
        traits=Traits(_SD, "SD 1.x with ControlNet"),
        guidance_scale=7.5,
        licence="CreativeML OpenRAIL-M",
        requires=("realcompo-stable-diffusion",),
        sample={"fidelity": "sd/v1-5", **MAP},
    )
    yield BranchSpec(
        id="controlnet/seg-sd21",
        summary="ControlNet segmentation (ADE20K colours) on Stable Diffusion 2.1, which predicts v. The paper's segmentation model.",
        target=_TARGET,
        options=ControlNetOptions,
        defaults={"base": "sd/v2-1"},
        role="spatial",
        condition="segmentation",
        source="thibaud/controlnet-sd21-ade20k-diffusers",
        traits=Traits(_SD, "SD 2.x with ControlNet", prediction_type="v_prediction", default_size=(768, 768)),
        guidance_scale=7.5,
        licence="CreativeML OpenRAIL++-M",
        requires=("realcompo-stable-diffusion",),
        sample={"fidelity": "sd/v2-1", **MAP},
    )


@hookimpl
def register_synthetics() -> Iterable[SyntheticSpec]:
    """SDXL with a pose at its size."""
    yield SyntheticSpec(
        id="controlnet/sdxl-controlnet",
        summary="Stable Diffusion XL and a ControlNet for poses",
        target="realcompo_controlnet.synthetic:checkpoints",
        recipe={
            "branches": [
                {"name": "sd/xl-base", "source": "synthetic://fidelity"},
                {
                    "name": "controlnet/pose-sdxl",
                    "source": "synthetic://spatial",
                    "options": {"base_source": "synthetic://fidelity"},
                },
            ],
            "num_inference_steps": 20,
            "pictures": [
                {
                    "prompt": "a photo of a cat and a dog on grass",
                    "seed": 1,
                    "conditions": {
                        "keypoints": {
                            "a cat": skeleton("standing", (0.05, 0.1, 0.5, 0.9)),
                            "a dog": skeleton("standing", (0.5, 0.15, 0.95, 0.9)),
                        }
                    },
                }
            ],
        },
        small={"height": 128, "width": 128},
        pipeline="StableDiffusionXLPipeline",
        limits={"exact": None, "lagged": None, "shared": None},
    )
