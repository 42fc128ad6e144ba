"""Declares the mini family. Data only: both models are the ordinary classes on other folders."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources

from realcompo.errors import PlanningError
from realcompo.hookspecs import hookimpl
from realcompo.interfaces import Plan, Planner, PlanRequest
from realcompo.specs import BranchSpec, LatentSpace, PlannerSpec, Traits
from realcompo_mini.language import LanguageError
from realcompo_mini.planner import plan_boxes
from realcompo_mini.world import load_world

REALCOMPO_API = 1

_SAMPLE = {
    "prompt": "a cat and a red balloon on grass",
    "boxes": {"a cat": [0.08, 0.45, 0.5, 0.87], "a red balloon": [0.6, 0.1, 0.9, 0.5]},
}
RECOMMENDED = {
    "num_inference_steps": 20,
    "balancer": {
        "name": "core/balance",
        "options": {"warmup": 0.3, "finish": 0.7, "inside": [0.8, 0.0], "outside": [0.8, 0.0], "rate": 0.1, "rule": "running"},
    },
}
"""The prototype's leads (steps, prior, finish, rate), until the tuning split of the comparison has spoken."""

LICENCE = "Apache-2.0; trained on renderings of Microsoft's Fluent Emoji (MIT)"


@lru_cache(maxsize=1)
def _latent() -> LatentSpace:
    """The family's latent space; its scale is what standardised the autoencoder's latents."""
    config = resources.files("realcompo_mini").joinpath("weights/fidelity/vae/config.json")
    scale = json.loads(config.read_text("utf-8"))["scaling_factor"] if config.is_file() else 1.0
    return LatentSpace("mini", channels=8, downscale=8, scaling_factor=scale)


def _traits(max_objects: int | None = None) -> Traits:
    side = load_world().side
    return Traits(_latent(), "mini", default_size=(side, side), max_objects=max_objects, vocabulary=tuple(load_world().words()))


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """The two parents."""
    yield BranchSpec(
        id="mini/fidelity",
        summary="The embedded text-to-image model: 128 pixels, a small world, the 3D look; knows attributes, misplaces and forgets.",
        base="sd/v1-5",
        source="package://realcompo_mini/weights/fidelity",
        traits=_traits(),
        defaults={"map_divisor": 2},  # 8×8 maps: at 16×16 such small networks hardly know where things are
        guidance_scale=4.0,
        licence=LICENCE,
        sample=_SAMPLE,
        recommended=RECOMMENDED,
    )
    yield BranchSpec(
        id="mini/boxes",
        summary="The embedded layout model (GLIGEN's architecture): follows boxes, plain look, blind to colours and patterns.",
        base="gligen/box",
        source="package://realcompo_mini/weights/boxes",
        traits=_traits(max_objects=30),
        defaults={"map_divisor": 2},
        guidance_scale=2.0,
        licence=LICENCE,
        sample=_SAMPLE,
    )


@hookimpl
def register_planners() -> Iterable[PlannerSpec]:
    """The planner of the small language."""
    yield PlannerSpec(
        id="mini/planner",
        summary="Plans boxes for the mini family's language, offline and at once.",
        target="realcompo_mini.plugin:MiniPlanner",
        kinds=("boxes",),
    )


class MiniPlanner(Planner):
    """Boxes for a prompt of the small language; it names a word that it does not know and lists those that it does."""

    def plan(self, request: PlanRequest) -> Plan:
        from realcompo.conditions import Boxes, BoxItem

        if "boxes" not in request.kinds:
            raise PlanningError(f"mini/planner plans boxes, not {', '.join(request.kinds)}", mend="choose another planner")
        keep = [(region.phrase, region.box) for region in request.keep if region.box is not None]
        try:
            objects = plan_boxes(request.prompt, request.seed, keep=keep, most=request.max_objects)
        except LanguageError as error:
            raise PlanningError(
                str(error), where=f"prompt {request.prompt!r}", mend="use the words listed, or give boxes yourself"
            ) from error
        items = [BoxItem(phrase=o.phrase, box=o.box, span=o.span) for o in objects]
        said = {"role": "planner", "content": "; ".join(f"{o.phrase}: {', '.join(f'{v:.3f}' for v in o.box)}" for o in objects)}
        return Plan(Boxes(items), transcript=(said,))
