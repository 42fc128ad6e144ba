"""Declares FLUX.1 dev and schnell, and the union ControlNet of dev for poses. Data only: torch is imported when a branch is first built."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from realcompo.conditions.hint import SAMPLE
from realcompo.conditions.skeletons import skeleton
from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, FlowSchedule, LatentSpace, SyntheticSpec, Traits
from realcompo.toolkit.at_size import at_size

from .options import FluxControlOptions, FluxOptions

REALCOMPO_API = 1

__all__ = ["REALCOMPO_API", "FluxControlOptions", "FluxOptions", "register_branches", "register_synthetics"]

_LATENT = LatentSpace("flux", 16, 8, 0.3611, 0.1159)
_DYNAMIC = FlowSchedule(shift=3.0, use_dynamic_shifting=True)
_SAMPLE = {
    "prompt": "a photo of a cat and a red balloon on grass",
    "boxes": {"a cat": [0.05, 0.4, 0.5, 0.95], "a red balloon": [0.55, 0.05, 0.9, 0.6]},
}
POSE: dict[str, Any] = {
    "fidelity": "flux/dev",
    "prompt": "a dancer and a runner on grass, full body",
    "keypoints": {
        "a dancer": skeleton("standing", (0.05, 0.1, 0.55, 0.9)),
        "a runner": skeleton("standing", (0.47, 0.15, 0.97, 0.9)),
    },
}
UNION = ("canny", "tile", "depth", "blur", "gray", "lq")
"""Kinds of hint that InstantX's union ControlNet knows, beside poses; from memory."""
_DEV = "FLUX.1 [dev] Non-Commercial License"


def _traits(family: str, schedule: FlowSchedule = _DYNAMIC, guidance: Any = "embedded") -> Traits:
    return Traits(_LATENT, family, schedule, "flow_prediction", (1024, 1024), 16, guidance=guidance)


def _fidelity(component: str, summary: str, **more: Any) -> BranchSpec:
    return BranchSpec(
        id=f"flux/{component}",
        summary=summary,
        target="realcompo_flux.branch:FluxBranch",
        options=FluxOptions,
        role="fidelity",
        sample=_SAMPLE,
        **more,
    )


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """The published checkpoints, a pipeline object that the user holds, and a union ControlNet for poses."""
    yield _fidelity(
        "dev",
        "FLUX.1 dev: told its guidance scale as a number, one pass a step.",
        source="black-forest-labs/FLUX.1-dev",
        traits=_traits("FLUX.1 dev"),
        guidance_scale=3.5,
        licence=_DEV,
        recommended={"num_inference_steps": 28},
    )
    yield _fidelity(
        "schnell",
        "FLUX.1 schnell: four steps, no guidance.",
        source="black-forest-labs/FLUX.1-schnell",
        traits=_traits("FLUX.1 schnell", FlowSchedule(shift=1.0), "none"),
        guidance_scale=1.0,
        licence="Apache-2.0",
        defaults={"text_length": 256},
        recommended={"num_inference_steps": 4},
    )
    yield _fidelity(
        "pipeline",
        "A diffusers FluxPipeline, or a folder of one (option of the recipe: source). Left as it is.",
        guidance_scale=3.5,
        accepts=("FluxPipeline",),
    )
    yield BranchSpec(
        id="flux/pose",
        summary="Union ControlNet on FLUX.1 dev, shown poses: each person stands as drawn.",
        target="realcompo_flux.control:FluxControlBranch",
        options=FluxControlOptions,
        role="spatial",
        condition="keypoints",
        source="InstantX/FLUX.1-dev-Controlnet-Union",
        traits=_traits("FLUX.1 dev with ControlNet"),
        guidance_scale=3.5,
        licence=_DEV,
        sample=POSE,
    )
    yield BranchSpec(
        id="flux/hint",
        summary="Union ControlNet on FLUX.1 dev, shown edges, depth, a blurred or a coarse picture.",
        target="realcompo_flux.control:FluxControlBranch",
        options=FluxControlOptions,
        defaults={"hints": UNION},
        role="spatial",
        condition="hint",
        source="InstantX/FLUX.1-dev-Controlnet-Union",
        traits=replace(_traits("FLUX.1 dev with ControlNet"), hints=UNION),
        guidance_scale=3.5,
        licence=_DEV,
        sample={"fidelity": "flux/dev", "prompt": "a cat and a house on grass", "hint": SAMPLE},
    )


@hookimpl
def register_synthetics() -> Iterable[SyntheticSpec]:
    """FLUX.1 dev at its size, alone and with a union ControlNet."""
    rows = (
        ("flux", "FLUX.1 dev alone, with T5-XXL", False),
        ("flux-controlnet", "FLUX.1 dev and a union ControlNet for poses", True),
    )
    return at_size("realcompo_flux.synthetic", "flux/dev", "flux/pose", _SAMPLE["prompt"], POSE, rows)
