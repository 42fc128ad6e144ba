"""The shortest ways to a picture: `generate` and `run`, on the recipe that all layers of configuration make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..conditions import Condition
from ..errors import BadOption, UnknownName, nearest
from ..recipes.configuration import resolve
from ..recipes.recipe import MAX_STEPS, BranchEntry, Candidates, Hires, Recipe, RecipeLike
from ..registry import Registry
from .entries import require_pictures, seeded
from .kept import composer_of

if TYPE_CHECKING:
    from ..compose.composer import Progress
    from ..pictures.result import Result

_CALL = (
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "height",
    "width",
    "generator",
    "latents",
    "num_images_per_prompt",
    "image",
    "strength",
    "mask_image",
    "mask_feather",
    "padding_mask_crop",
    "output_type",
    "callback_on_step_end",
    "progress",
)
_ELSEWHERE = {
    "steps": "write num_inference_steps; ",
    "boxes": "give rc.Boxes({…}) as the second argument; ",
    "negative": "write negative_prompt; ",
    "torch_dtype": "write dtype; ",
    "size": "write height and width; ",
    "seeds": "write seed, a list of them; ",
}
"""What the command line and other libraries call it → what it is here."""
_STANDING = tuple(name for name in Recipe.model_fields if name not in ("pictures", "version", "branches", *_CALL))


def generate(
    prompt: str | Sequence[str],
    condition: Condition | Mapping[str, Condition] | Sequence[Any] | None = None,
    *,
    seed: int | Sequence[int] | None = None,
    recipe: RecipeLike = None,
    sets: Sequence[str] = (),
    registry: Registry | None = None,
    **settings: Any,
) -> Result:
    """Draw a prompt. With nothing configured: the embedded default family on the best device there is.

    Args:
        prompt: one, or B.
        condition: where things stand; planned where it is None.
        seed: of the first picture.
        recipe: a file, a `Recipe` or plain data to draw with; its own pictures are left aside.
        sets: ``"branches.0.guidance_scale=5"``, the last layer.
        settings: those of `Composer.__call__` (num_inference_steps, guidance_scale, negative_prompt, height, width,
            generator, latents, num_images_per_prompt, image, strength, mask_image, output_type …), of a recipe (device, dtype,
            scheduler, balancer, planner, hires, words, offload …), and ``fidelity``, ``spatial``: ids of branches.

    Raises:
        RealCompoError: see errors.py.
    """
    known = {*_CALL, *_STANDING, "fidelity", "spatial"}
    for name in settings:
        if name not in known:
            raise UnknownName(f"generate takes no {name!r}", mend=_ELSEWHERE.get(name, "") + nearest(name, known))
    call = {name: settings.pop(name) for name in _CALL if name in settings}
    layer = _arguments(settings)
    if type(steps := call.get("num_inference_steps")) is int and 1 <= steps <= MAX_STEPS:
        layer["num_inference_steps"] = steps  # the composer judges the run by them; other values are refused by the call
    found = resolve(recipe, sets=sets, arguments=layer, registry=registry).recipe
    return composer_of(found, registry)(prompt, condition, seed=seed, **call)


def _arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a recipe as a layer; ``fidelity`` and ``spatial`` as its branches."""
    arguments = {name: value for name, value in settings.items() if name not in ("fidelity", "spatial")}
    for name in ("hires", "candidates"):
        if isinstance(arguments.get(name), (Hires, Candidates)):
            arguments[name] = arguments[name].model_dump(mode="json", exclude_unset=True)
    for name in ("device", "dtype"):
        if type(arguments.get(name)).__module__ == "torch":  # torch.device("cuda"), torch.float16
            arguments[name] = str(arguments[name]).removeprefix("torch.")
    if not isinstance(arguments.get("scheduler", ""), str):
        raise BadOption(
            f"generate takes no {type(arguments['scheduler']).__name__} as a scheduler",
            mend="give a name and scheduler_options, or build rc.Composer(scheduler=…) for objects in memory",
        )
    if "fidelity" not in settings and "spatial" not in settings:
        return arguments
    if "fidelity" not in settings:
        raise BadOption(
            "spatial is given without fidelity",
            mend="give both, since the branches are replaced together: fidelity='mini/fidelity', --fidelity mini/fidelity",
        )
    spatial = settings.get("spatial", ())
    spatial = [spatial] if isinstance(spatial, (str, Mapping, BranchEntry)) else list(spatial)
    branches = [_entry(settings["fidelity"], "fidelity"), *(_entry(one, "spatial") for one in spatial)]
    return {**arguments, "branches": branches}


def _entry(what: Any, role: str) -> dict[str, Any]:
    if isinstance(what, BranchEntry):
        return {"role": role, **what.model_dump(exclude_unset=True)}
    if not isinstance(what, (str, Mapping)):
        raise BadOption(
            f"generate takes no {type(what).__name__} as a branch",
            mend="build rc.Composer(fidelity=…, spatial=…) for objects in memory",
        )
    return {"name": what, "role": role} if isinstance(what, str) else {"role": role, **what}


def run(
    recipe: RecipeLike,
    *,
    sets: Sequence[str] = (),
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Result:
    """Draw the pictures of a recipe as one batch. For many pictures, into a folder and resumable, see `realcompo.draw.batch.draw`.

    Raises:
        BadRecipe: it holds no pictures, and all that `resolve` raises.
    """
    found = resolve(recipe, sets=sets, registry=registry).recipe
    require_pictures(found, recipe)
    return composer_of(found, registry).compose(seeded(found.pictures), progress=progress)
