"""Declares Stable Diffusion 3 and 3.5, and a ControlNet for poses. Data only: torch is imported when a branch is first built."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from realcompo.conditions.hint import SAMPLE
from realcompo.conditions.skeletons import skeleton
from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, FlowSchedule, LatentSpace, SyntheticSpec, Traits
from realcompo.toolkit.at_size import at_size
from realcompo.toolkit.control_options import TransformerControlOptions

from .options import SD3Options

REALCOMPO_API = 1

__all__ = ["REALCOMPO_API", "SD3Options", "register_branches", "register_synthetics"]

_LATENT = LatentSpace("sd3", 16, 8, 1.5305, 0.0609)
_FLOW = FlowSchedule(shift=3.0, timestep_spacing="linspace")
_SAMPLE = {
    "prompt": "a photo of a cat and a red balloon on grass",
    "boxes": {"a cat": [0.05, 0.4, 0.5, 0.95], "a red balloon": [0.55, 0.05, 0.9, 0.6]},
}
_POSE: dict[str, Any] = {
    "fidelity": "sd3/medium",
    "prompt": "a dancer and a runner on grass, full body",
    "keypoints": {
        "a dancer": skeleton("standing", (0.05, 0.1, 0.55, 0.9)),
        "a runner": skeleton("standing", (0.47, 0.15, 0.97, 0.9)),
    },
}
_LICENCE = "Stability AI Community License"


def _traits(family: str) -> Traits:
    return Traits(_LATENT, family, _FLOW, "flow_prediction", default_size=(1024, 1024), size_multiple=16)


def _fidelity(component: str, summary: str, family: str, guidance_scale: float, **more: Any) -> BranchSpec:
    return BranchSpec(
        id=f"sd3/{component}",
        summary=summary,
        target="realcompo_sd3.branch:SD3Branch",
        options=SD3Options,
        role="fidelity",
        traits=_traits(family) if "source" in more else None,
        guidance_scale=guidance_scale,
        sample=_SAMPLE,
        recommended={"num_inference_steps": 28},
        **more,
    )


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """The published checkpoints, a pipeline object that the user holds, and the pose ControlNet of SD 3 medium."""
    hub = "stabilityai/stable-diffusion-3"
    yield _fidelity(
        "medium", "Stable Diffusion 3 medium.", "SD 3", 7.0, source=f"{hub}-medium-diffusers", licence="Stability AI Community License"
    )
    yield _fidelity("v3-5-medium", "Stable Diffusion 3.5 medium.", "SD 3.5", 4.5, source=f"{hub}.5-medium", licence=_LICENCE)
    yield _fidelity("v3-5-large", "Stable Diffusion 3.5 large.", "SD 3.5", 3.5, source=f"{hub}.5-large", licence=_LICENCE)
    yield _fidelity(
        "pipeline",
        "A diffusers StableDiffusion3Pipeline, or a folder of one (option of the recipe: source). Left as it is.",
        "SD 3",
        7.0,
        accepts=("StableDiffusion3Pipeline",),
    )
    yield BranchSpec(
        id="sd3/pose",
        summary="ControlNet openpose on Stable Diffusion 3 medium: each person stands as drawn.",
        target="realcompo_sd3.control:SD3ControlBranch",
        options=TransformerControlOptions,
        defaults={"base": "sd3/medium"},
        role="spatial",
        condition="keypoints",
        source="InstantX/SD3-Controlnet-Pose",
        traits=_traits("SD 3 with ControlNet"),
        guidance_scale=7.0,
        sample=_POSE,
    )
    yield BranchSpec(
        id="sd3/canny",
        summary="ControlNet on Stable Diffusion 3 medium, shown edges as they are.",
        target="realcompo_sd3.control:SD3ControlBranch",
        options=TransformerControlOptions,
        defaults={"base": "sd3/medium", "hints": ("canny",)},
        role="spatial",
        condition="hint",
        source="InstantX/SD3-Controlnet-Canny",
        traits=replace(_traits("SD 3 with ControlNet"), hints=("canny",)),
        guidance_scale=7.0,
        sample={"fidelity": "sd3/medium", "prompt": "a cat and a house on grass", "hint": SAMPLE},
    )


@hookimpl
def register_synthetics() -> Iterable[SyntheticSpec]:
    """Stable Diffusion 3 medium at its size: alone without and with T5, and with a ControlNet."""
    rows = (
        ("sd3", "Stable Diffusion 3 medium alone, without T5", False),
        ("sd3-t5", "Stable Diffusion 3 medium alone, with T5-XXL", False),
        ("sd3-controlnet", "Stable Diffusion 3 medium, without T5, and a ControlNet for poses", True),
    )
    return at_size("realcompo_sd3.synthetic", "sd3/medium", "sd3/pose", _SAMPLE["prompt"], _POSE, rows)
