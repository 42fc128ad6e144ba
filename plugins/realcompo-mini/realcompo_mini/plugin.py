"""Declares the mini family. Data only: all models are the ordinary classes on other folders."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from typing import Any

from realcompo.conditions.skeletons import skeleton
from realcompo.errors import PlanningError
from realcompo.hookspecs import hookimpl
from realcompo.interfaces import Plan, Planner, PlanRequest
from realcompo.plans.from_boxes import Placed, plan_of
from realcompo.specs import BranchSpec, Column, FlowSchedule, LatentSpace, PlannerSpec, ScorerSpec, SuiteSpec, Traits
from realcompo.toolkit import TransformerOptions
from realcompo_mini.bodies import BUILD
from realcompo_mini.language import LanguageError, parse
from realcompo_mini.palette import palette
from realcompo_mini.planner import plan_boxes
from realcompo_mini.preview import rows
from realcompo_mini.suite_options import SceneOptions
from realcompo_mini.world import load_world

REALCOMPO_API = 1

_SAMPLE = {
    "fidelity": "mini/fidelity",
    "prompt": "a cat and a red balloon on grass",
    "boxes": {"a cat": [0.08, 0.45, 0.5, 0.87], "a red balloon": [0.6, 0.1, 0.9, 0.5]},
}
GUIDANCE = {"mini/fidelity": 4.0, "mini/boxes": 3.0}
"""Each branch at the scale that it likes best, found on the tuning split of the comparison: mini/boxes beside mini/fidelity, in the default
(alone it likes 4). The others take mini/fidelity's, which they are made of."""

RECOMMENDED: dict[str, Any] = {"num_inference_steps": 20}

WEIGHTS = "package://realcompo_mini/weights"
FIDELITY_SOURCE = f"{WEIGHTS}/fidelity"
_ON_FIDELITY = {"base": "mini/fidelity", "map_divisor": 2}


POSE: dict[str, Any] = {
    "fidelity": "mini/fidelity",
    "prompt": "a blue person and a red person on grass",
    "keypoints": {
        "a blue person": skeleton("waving", (0.12, 0.25, 0.48, 0.8), build=BUILD),
        "a red person": skeleton("waving", (0.54, 0.3, 0.9, 0.8), build=BUILD),
    },
}
MAP: dict[str, Any] = {
    "fidelity": "mini/fidelity",
    "prompt": "a house and a red car on grass",
    "segmentation": {
        "size": [64, 64],
        "backdrop": [{"label": "grass", "polygons": [[0, 0, 64, 0, 64, 64, 0, 64]]}],
        "items": [
            {"phrase": "a house", "polygons": [[5, 46, 5, 24, 17, 12, 29, 24, 29, 46]]},
            {"phrase": "a red car", "polygons": [[34, 56, 34, 47, 39, 46, 42, 39, 53, 39, 56, 46, 61, 47, 61, 56]]},
        ],
    },
}
LICENCE = "Apache-2.0; trained on renderings of Microsoft's Fluent Emoji (MIT)"


@lru_cache(maxsize=1)
def _latent() -> LatentSpace:
    """The family's latent space; its scale is what standardised the autoencoder's latents."""
    config = resources.files("realcompo_mini").joinpath("weights/fidelity/vae/config.json")
    scale = json.loads(config.read_text("utf-8"))["scaling_factor"] if config.is_file() else 1.0
    return LatentSpace("mini", channels=8, downscale=8, scaling_factor=scale, rgb=rows())


def _traits(max_objects: int | None = None) -> Traits:
    side = load_world().side
    return Traits(_latent(), "mini", default_size=(side, side), max_objects=max_objects, vocabulary=tuple(load_world().words()))


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """The two parents, and what was trained on the first of them.

    A model is declared whether or not its weights are in this checkout: names and recipes can be checked without them, and what is missing
    is said when it is to be loaded.
    """
    yield BranchSpec(
        id="mini/fidelity",
        summary="The embedded text-to-image model: 128 pixels, a small world, the 3D look; knows attributes, misplaces and forgets.",
        base="sd/v1-5",
        source=FIDELITY_SOURCE,
        traits=_traits(),
        defaults={"map_divisor": 2},  # 8×8 maps: at 16×16 such small networks hardly know where things are
        guidance_scale=GUIDANCE["mini/fidelity"],
        licence=LICENCE,
        sample=_SAMPLE,
        recommended=RECOMMENDED,
    )
    yield BranchSpec(
        id="mini/boxes",
        summary="The embedded layout model (GLIGEN's architecture): follows boxes, plain look, blind to colours and patterns.",
        base="gligen/box",
        source=f"{WEIGHTS}/boxes",
        traits=_traits(max_objects=30),
        defaults={"map_divisor": 2},
        guidance_scale=GUIDANCE["mini/boxes"],
        licence=LICENCE,
        sample=_SAMPLE,
    )
    for name, summary in (
        ("coloured", "The embedded layout model that knows colours and patterns, too, and lacks the look only."),
        ("half", "The embedded layout model that knows half the kinds: where another is named, it draws one of those that it does not."),
    ):
        yield BranchSpec(
            id=f"mini/boxes-{name}",
            summary=summary,
            base="mini/boxes",
            source=f"{WEIGHTS}/boxes",
            defaults={"lora": f"{WEIGHTS}/boxes-{name}/pytorch_lora_weights.safetensors"},
            guidance_scale=4.0,  # as docs/pairs.md judges them
            licence=LICENCE,
            requires=("peft",),
        )
    yield BranchSpec(
        id="mini/flow",
        summary="The embedded transformer (PixArt's blocks, a rectified flow): mini/fidelity's world and latents by another architecture.",
        target="realcompo.toolkit.transformer:TransformerBranch",
        options=TransformerOptions,
        role="fidelity",
        source=f"{WEIGHTS}/flow",
        defaults={"vae": f"{FIDELITY_SOURCE}/vae"},
        traits=replace(_traits(), schedule=FlowSchedule(shift=2.0), prediction_type="flow_prediction", size_multiple=16),
        guidance_scale=GUIDANCE["mini/fidelity"],
        licence=LICENCE,
        sample=_SAMPLE,
        recommended=RECOMMENDED,
    )
    for name, summary, prompt in (
        ("tokencompose", "The embedded TokenCompose: taught to attend to each object with its own words.", None),
        ("coloring", "The embedded Coloring Page: black outlines on white.", "a coloring page of {prompt}"),
        ("cute", "The embedded cute style: pastel stickers.", "a cute picture of {prompt}"),
    ):
        yield BranchSpec(
            id=f"mini/{name}",
            summary=summary,
            base="mini/fidelity",
            source=FIDELITY_SOURCE,
            defaults={"lora": f"{WEIGHTS}/{name}/pytorch_lora_weights.safetensors"},
            licence=LICENCE,
            requires=("peft",),
            prompt=prompt,
            recommended=RECOMMENDED,
        )
    yield BranchSpec(
        id="mini/pose",
        summary="The embedded pose ControlNet: people stand as drawn.",
        base="controlnet/pose-sd15",
        source=f"{WEIGHTS}/pose",
        traits=replace(_traits(), family="mini with ControlNet"),
        defaults=_ON_FIDELITY,
        guidance_scale=GUIDANCE["mini/fidelity"],
        licence=LICENCE,
        requires=("realcompo-controlnet",),
        sample={**POSE, "fidelity": "mini/fidelity"},
    )
    yield BranchSpec(
        id="mini/segmentation",
        summary="The embedded segmentation ControlNet: maps of the mini world's classes.",
        base="controlnet/seg-sd15",
        source=f"{WEIGHTS}/segmentation",
        traits=replace(_traits(), family="mini with ControlNet"),
        defaults={**_ON_FIDELITY, "palette": palette()},
        guidance_scale=GUIDANCE["mini/fidelity"],
        licence=LICENCE,
        requires=("realcompo-controlnet",),
        sample={**MAP, "fidelity": "mini/fidelity"},
    )


@hookimpl
def register_planners() -> Iterable[PlannerSpec]:
    """The planner of the small language."""
    yield PlannerSpec(
        id="mini/planner",
        summary="Plans boxes, poses and maps for the mini family's language, offline and at once.",
        target="realcompo_mini.plugin:MiniPlanner",
        kinds=("boxes", "keypoints", "segmentation"),
    )


@hookimpl
def register_suites() -> Iterable[SuiteSpec]:
    """Scenes whose truth is known."""
    yield SuiteSpec(
        id="mini/scenes",
        summary="Scenes of the small world with their layouts: two to four objects, colours, patterns, counts.",
        target="realcompo_mini.suite:MiniScenes",
        options=SceneOptions,
        scorers=("mini/judge", "mini/distance"),
    )


@hookimpl
def register_scorers() -> Iterable[ScorerSpec]:
    """What judges them."""
    yield ScorerSpec(
        id="mini/judge",
        summary="What a picture holds of its scene, by a detector trained on rendered scenes.",
        target="realcompo_mini.suite:MiniJudge",
        columns=(
            Column(name="in_box", title="in box", top="in_box", bottom="objects"),
            Column(name="placed", title="placed", top="placed", bottom="objects"),
            Column(name="attributes", title="attributes", top="attributes", bottom="told"),
            Column(name="present", title="present", top="present", bottom="objects"),
            Column(name="exact", title="exact count", top="exact"),
        ),
        reads=("truth",),
        licence=LICENCE,
    )
    yield ScorerSpec(
        id="mini/distance",
        summary="Fréchet distance to rendered 3D scenes, by the detector's features.",
        target="realcompo_mini.suite:MiniDistance",
        columns=(Column(name="distance", title="distance", less=True, whole=True),),
        licence=LICENCE,
    )


class MiniPlanner(Planner):
    """Boxes, poses or maps for a prompt of the small language; it names a word that it does not know and lists those that it does. Its
    people stand: the language has no word for what they do. Changes a layout as a few plain sentences say (planner_revise.py)."""

    revises = True

    def plan(self, request: PlanRequest) -> Plan:
        if request.wish:
            return self._revised(request)
        keep = [(region.phrase, region.box) for region in request.keep if region.box is not None]
        try:
            objects = plan_boxes(request.prompt, request.seed, keep=keep, most=request.max_objects)
        except LanguageError as error:
            raise PlanningError(
                str(error),
                where=f"prompt {request.prompt!r}",
                mend="use the words listed: the models were trained on no others; big ones know any",
            ) from error
        said = {"role": "planner", "content": "; ".join(f"{o.phrase}: {', '.join(f'{v:.3f}' for v in o.box)}" for o in objects)}
        placed = [Placed(o.phrase, o.box, span=o.span, pose="standing" if o.kind == "person" else "") for o in objects]
        backdrop = parse(request.prompt).background or ""
        return plan_of(placed, request, backdrop=backdrop, build=BUILD, transcript=(said,))

    def _revised(self, request: PlanRequest) -> Plan:
        from realcompo_mini.planner_revise import Thing, revised

        spans = {region.id: region.span for region in request.layout}
        things = [Thing(region.id, region.phrase, region.box) for region in request.layout if region.box is not None]
        if len(things) < len(request.layout):
            raise PlanningError("a region of the layout has no box", where="mini/planner", mend="give it a box, or take it out")
        try:
            after, remarks = revised(request.prompt, things, request.wish)
        except LanguageError as error:
            raise PlanningError(str(error), where=f"wish {request.wish!r}", mend="say it so, or edit the boxes in the recipe") from error
        placed = [Placed(t.phrase, t.box, id=t.id, span=spans[t.id]) for t in after]
        said = {"role": "planner", "content": f"revised: {request.wish}"}
        return plan_of(placed, request, build=BUILD, transcript=(said,), remarks=tuple(remarks))
