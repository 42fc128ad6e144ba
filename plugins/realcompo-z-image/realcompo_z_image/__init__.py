"""Declares Z-Image, Z-Image-Turbo and a ControlNet for poses. Data only: torch is imported when a branch is first built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from realcompo.conditions.skeletons import skeleton
from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, FlowSchedule, LatentSpace, Traits
from realcompo.toolkit import TransformerOptions
from realcompo.toolkit.control_options import TransformerControlOptions

REALCOMPO_API = 1


class ZImageOptions(TransformerOptions):
    """What every transformer has, how much of a prompt is read, and how guidance is held in."""

    text_length: int = Field(512, ge=32, le=1024, description="How many tokens are read, those of the chat template included.")
    cfg_normalization: float = Field(
        0.0, ge=0, description="The guided prediction is made no longer than the unguided one times this; 0 leaves it as it is."
    )
    cfg_truncation: float = Field(1.0, ge=0, le=1, description="There is guidance until 1 − σ passes this; 1 is always.")


def _traits(family: str, guidance: Literal["passes", "none"] = "passes") -> Traits:
    latent = LatentSpace("flux", 16, 8, 0.3611, 0.1159)  # of FLUX.1's autoencoder
    return Traits(latent, family, FlowSchedule(shift=3.0), "flow_prediction", (1024, 1024), 16, guidance=guidance)


def _fidelity(component: str, summary: str, guidance_scale: float, steps: int, **more: Any) -> BranchSpec:
    return BranchSpec(
        id=f"z-image/{component}",
        summary=summary,
        target="realcompo_z_image.branch:ZImageBranch",
        options=ZImageOptions,
        role="fidelity",
        guidance_scale=guidance_scale,
        recommended={"num_inference_steps": steps},
        **more,
    )


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """The published checkpoints, a pipeline object that the user holds, and a ControlNet that is shown poses."""
    hub: dict[str, Any] = {"licence": "Apache-2.0"}
    yield _fidelity("base", "Z-Image.", 5.0, 50, source="Tongyi-MAI/Z-Image", traits=_traits("Z-Image"), **hub)
    turbo = _traits("Z-Image-Turbo", "none")
    yield _fidelity("turbo", "Z-Image-Turbo: nine steps, no guidance.", 1.0, 9, source="Tongyi-MAI/Z-Image-Turbo", traits=turbo, **hub)
    held = "A diffusers ZImagePipeline, or a folder of one (option of the recipe: source). Left as it is."
    yield _fidelity("pipeline", held, 5.0, 50, accepts=("ZImagePipeline",))
    people = {"a dancer": skeleton("standing", (0.05, 0.1, 0.55, 0.9)), "a runner": skeleton("standing", (0.47, 0.15, 0.97, 0.9))}
    yield BranchSpec(
        id="z-image/pose",
        summary="A ControlNet on Z-Image-Turbo (option of the recipe: source), shown poses: each person stands as drawn.",
        target="realcompo_z_image.control:ZImageControlBranch",
        options=TransformerControlOptions,
        defaults={"base": "z-image/turbo"},
        role="spatial",
        condition="keypoints",
        traits=_traits("Z-Image with ControlNet", "none"),
        guidance_scale=1.0,
        accepts=("ZImageControlNetPipeline",),
        sample={"fidelity": "z-image/turbo", "prompt": "a dancer and a runner on grass, full body", "keypoints": people},
    )
