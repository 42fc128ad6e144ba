"""The short ways in: `generate`, `run`, `plan`, `revise` and `reproduce`, on the recipe that all layers of configuration make together."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .conditions import Condition
from .errors import BadCondition, BadOption, BadPicture, BadRecipe, DifferentWeights, RealCompoError, UnknownName, nearest
from .layers import guarded_options, resolve
from .planning import PlannedPicture, Task, raise_first
from .png import Embedded, read_recipe
from .recipe import BranchEntry, Component, PictureEntry, Recipe
from .registry import Registry, installed
from .specs import BalancerSpec, BranchSpec, Spec

if TYPE_CHECKING:
    from PIL.Image import Image

    from .composer import Composer, Progress
    from .picture import Result

RecipeLike = str | Path | Recipe | Mapping[str, Any] | None

_CALL = (
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "height",
    "width",
    "generator",
    "latents",
    "num_images_per_prompt",
    "output_type",
    "callback_on_step_end",
    "progress",
)
_STANDING = tuple(name for name in Recipe.model_fields if name not in ("pictures", "version", "branches", *_CALL))
_kept: tuple[str, Registry, Composer] | None = None


def composer_of(recipe: Recipe, registry: Registry | None = None) -> Composer:
    """The composer of a recipe. The last one is kept, so that its weights are loaded once."""
    from .composer import Composer

    global _kept
    registry = registry or installed()
    key = json.dumps(recipe.model_copy(update={"pictures": ()}).plain(), sort_keys=True)
    if _kept is not None and _kept[0] == key and _kept[1] is registry:
        return _kept[2]
    _kept = None  # two composers' weights may not fit the memory
    composer = Composer.from_recipe(recipe, registry)
    _kept = (key, registry, composer)
    return composer


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
            generator, latents, num_images_per_prompt, output_type …), of a recipe (device, dtype, scheduler, balancer, planner,
            offload …), and ``fidelity``, ``spatial``: ids of branches.

    Raises:
        RealCompoError: see errors.py.
    """
    known = {*_CALL, *_STANDING, "fidelity", "spatial"}
    for name in settings:
        if name not in known:
            raise UnknownName(f"generate takes no {name!r}", mend=nearest(name, known))
    call = {name: settings.pop(name) for name in _CALL if name in settings}
    found = resolve(recipe, sets=sets, arguments=_arguments(settings), registry=registry).recipe
    return composer_of(found, registry)(prompt, condition, seed=seed, **call)


def _arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a recipe as a layer; ``fidelity`` and ``spatial`` as its branches."""
    arguments = {name: value for name, value in settings.items() if name not in ("fidelity", "spatial")}
    if "fidelity" not in settings and "spatial" not in settings:
        return arguments
    if "fidelity" not in settings:
        raise BadOption("spatial is given without fidelity", mend="give both: the branches are replaced together")
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
    """Draw the pictures of a recipe as one batch. For many pictures, into a folder and resumable, see `realcompo.batch.draw`.

    Raises:
        BadRecipe: it holds no pictures, and all that `resolve` raises.
    """
    from .batch import seeded

    found = resolve(recipe, sets=sets, registry=registry).recipe
    require_pictures(found, recipe)
    return composer_of(found, registry).compose(seeded(found.pictures), progress=progress)


def require_pictures(recipe: Recipe, where: RecipeLike = None) -> None:
    """Raise BadRecipe where there is nothing to draw."""
    if not recipe.pictures:
        place = str(where) if isinstance(where, (str, Path)) else None
        raise BadRecipe(
            "it draws nothing: it holds no pictures", where=place, mend='add [[pictures]] with a prompt, or prompts = "prompts.txt"'
        )


# -- planning ----------------------------------------------------------------------------------------------------------------


def plan(
    prompt: str,
    kind: str | None = None,
    *,
    keep: Condition | None = None,
    seed: int = 0,
    recipe: RecipeLike = None,
    sets: Sequence[str] = (),
    registry: Registry | None = None,
) -> Condition:
    """Where things would stand, without drawing: ``generate(prompt, plan(prompt))``.

    Args:
        kind: of condition, where the recipe's branches take several.
        keep: what stays as it is; only the rest is planned.

    Raises:
        PlanningError: the planner finds no layout. BadOption: there is no planner, or several kinds.
    """
    composer = planning_composer(recipe, sets, {}, registry)[1]
    task = plan_task(PictureEntry(prompt=prompt, seed=seed), composer, keep=keep)
    return _of_kind(plan_tasks(composer, [task])[0].picture, kind)


def revise(
    prompt: str,
    layout: Condition,
    wish: str,
    *,
    seed: int = 0,
    recipe: RecipeLike = None,
    sets: Sequence[str] = (),
    registry: Registry | None = None,
) -> Condition:
    """A layout changed as a wish says: ``revise("a cat and a dog", boxes, "move the dog left")``.

    Raises:
        PlanningError: the planner does not understand the wish, or cannot fulfil it.
    """
    composer = planning_composer(recipe, sets, {}, registry)[1]
    task = plan_task(PictureEntry(prompt=prompt, seed=seed), composer, layout=layout, wish=wish)
    return _of_kind(plan_tasks(composer, [task])[0].picture, layout.kind)


def planning_composer(
    recipe: RecipeLike, sets: Sequence[str], arguments: Mapping[str, Any], registry: Registry | None = None
) -> tuple[Recipe, Composer]:
    """The recipe of all layers and its composer, which loads no weights as long as it only plans.

    Raises:
        BadOption: it names no planner.
    """
    found = resolve(recipe, sets=sets, arguments=arguments, registry=registry).recipe
    if found.planner is None:
        raise BadOption("the recipe names no planner", mend='add planner = "mini/planner", or another of `realcompo list`')
    return found, composer_of(found, registry or installed())


def plan_task(
    picture: PictureEntry, composer: Composer, *, keep: Condition | None = None, layout: Condition | None = None, wish: str = ""
) -> Task:
    """A picture to plan; what it has of the kind to be planned is taken out.

    Raises:
        BadCondition: what is to be kept or changed is of a kind that no branch takes.
    """
    kinds = {m.spec.condition for m in composer.members if m.role == "spatial"} - {None}
    before = keep or layout
    if before is not None and before.kind not in kinds:
        raise BadCondition(
            f"no branch of the recipe takes {before.kind}", mend=f"its branches take {', '.join(sorted(map(str, kinds))) or 'nothing'}"
        )
    regions = () if before is None else composer.registry.transfer(before.kind)(before, composer.size)
    rest = {key: one for key, one in picture.conditions.items() if before is None or one.kind != before.kind}
    task = Task(picture.model_copy(update={"conditions": rest}), before=before)
    return replace(task, keep=regions) if keep is not None else replace(task, layout=regions, wish=wish)


def plan_tasks(composer: Composer, tasks: Sequence[Task]) -> list[PlannedPicture]:
    """Planned pictures.

    Raises:
        PlanningError: of the first that has no layout. BadCondition: there is nothing to plan.
    """
    planned = raise_first(composer.plan(tasks))
    if not all(one.picture.conditions for one in planned):
        raise BadCondition("no branch of the recipe takes a condition: there is nothing to plan", mend="add a spatial branch")
    return planned


def _of_kind(picture: PictureEntry, kind: str | None) -> Condition:
    conditions = picture.conditions
    if kind is None and len(conditions) == 1:
        return next(iter(conditions.values()))
    if kind is None or kind not in conditions:
        raise BadOption(f"kind = {kind!r}, but {', '.join(conditions) or 'nothing'} is planned", mend="name one of them as kind=")
    return conditions[kind]


# -- reproducing -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reproduction:
    """A picture drawn again from the recipe that it carries.

    Attributes:
        result: the new picture.
        same: whether every pixel is the same.
        largest: the largest difference of a channel, of 255; None where the sizes differ.
        changed: the share of pixels that differ, in [0, 1].
        edited: whether the file's pixels are not those that were drawn.
        notes: what is different here: versions, device, batch.
    """

    result: Result
    same: bool
    largest: int | None
    changed: float
    edited: bool
    notes: tuple[str, ...] = ()


def reproduce(
    path: str | Path,
    *,
    device: str | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Draw a picture again from the PNG alone, and compare the pixels.

    The recipe in a picture is not trusted: no planner is asked, and an option that could run a stranger's code is refused.

    Args:
        path: a PNG that RealCompo saved.
        device: in place of the recorded one.

    Raises:
        BadPicture: truncated, no recipe, or drawn from noise that no seed gives.
        DifferentWeights: the weights here are others; names both fingerprints.
    """
    from .picture import pixel_digest

    path = Path(path).expanduser()
    embedded = read_recipe(path)
    original = _pixels(path)
    registry = registry or installed()
    recipe = _safe(embedded, path, device, registry)
    try:
        composer = composer_of(recipe, registry)
    except RealCompoError as error:
        raise type(error)(error.what, where=f"{path}: {error.where}" if error.where else str(path), mend=error.mend) from None
    notes = _compare_facts(embedded, composer, path)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    result = composer.compose(recipe.pictures, progress=progress)
    largest, changed = _difference(original, result.image)
    digest = embedded.facts.get("pixels")
    return Reproduction(
        result=result,
        same=changed == 0,
        largest=largest,
        changed=changed,
        edited=digest is not None and digest != pixel_digest(original),
        notes=tuple(notes),
    )


def _pixels(path: Path) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadPicture(f"its pixels cannot be read: {error}", where=str(path), mend="take another copy of the file") from None


def _safe(embedded: Embedded, path: Path, device: str | None, registry: Registry) -> Recipe:
    """The recipe to draw, with what a stranger may not decide taken out."""
    recipe, where = embedded.recipe, str(path)
    if len(recipe.pictures) != 1 or recipe.pictures[0].seed is None:
        raise BadPicture(
            "it was drawn from noise or a generator that no seed gives, so it cannot be drawn again",
            where=where,
            mend="draw with seed=…",
        )
    parts: list[tuple[BranchEntry | Component, type[Any]]] = [(one, BranchSpec) for one in recipe.branches]
    parts.append((recipe.balancer, BalancerSpec))
    for part, kind in parts:
        try:
            spec: Spec = registry.find(kind, part.name)
        except RealCompoError as error:
            raise type(error)(error.what, where=f"{path}: it was drawn with {part.name!r}", mend=error.mend) from None
        for name in guarded_options(spec, part.options):
            raise BadOption(
                f"the recipe in the picture turns {name} on for {part.name!r}, which a stranger's picture could misuse",
                where=where,
                mend=f"if you trust it, take it out (realcompo check {path.name} -o scene.toml), read it, run that with --set",
            )
    # A stranger's picture asks no network: what it needs is on this machine, or it is not reproduced.
    offline = tuple(
        one.model_copy(update={"options": {**one.options, "download": False}} if one.options.get("download") else {})
        for one in recipe.branches
    )
    return recipe.model_copy(update={"planner": None, "device": device or recipe.device, "branches": offline})


def _compare_facts(embedded: Embedded, composer: Composer, path: Path) -> list[str]:
    """What is different here, short of the weights, whose difference is an error."""
    from .devices import versions

    notes: list[str] = []
    recorded = embedded.facts.get("weights")
    recorded = recorded if isinstance(recorded, dict) else {}
    for member, branch in zip(composer.members, composer.branches, strict=True):
        then, now = recorded.get(member.name), branch.fingerprint()
        if not isinstance(then, dict):
            notes.append(f"the picture does not say which weights of {member.name!r} it was drawn with")
            continue
        wrong = sorted(part for part in {*then, *now} if then.get(part) != now.get(part))
        if wrong:
            told = "; ".join(f"{part}: {then.get(part, 'none')} in the picture, {now.get(part, 'none')} here" for part in wrong)
            raise DifferentWeights(
                f"the weights of {member.name!r} are others than the picture was drawn with ({told})",
                where=str(path),
                mend="name the checkpoint that it was drawn with (sources in the user file), or draw a new picture: realcompo run",
            )
    was = embedded.facts.get("versions")
    was = was if isinstance(was, dict) else {}
    here = versions([name for name in was if name not in ("python", "realcompo", "torch", "diffusers", "transformers")])
    notes += [f"{name} {was[name]} drew the picture, {here[name]} is here" for name in was if name in here and was[name] != here[name]]
    if embedded.recipe.device != str(composer.device):
        notes.append(f"the picture was drawn on {embedded.recipe.device}, this is {composer.device}")
    batch = embedded.facts.get("batch")
    if isinstance(batch, dict) and batch.get("size", 1) != 1:
        notes.append(f"the picture was drawn in a batch of {batch['size']}, now alone: the last digits of a sum may round otherwise")
    return notes


def _difference(a: Image, b: Image) -> tuple[int | None, float]:
    """Largest difference of a channel (None where sizes differ), and the share of pixels that differ."""
    import numpy as np

    if a.size != b.size:
        return None, 1.0
    x, y = (np.asarray(image.convert("RGBA"), dtype=np.int16) for image in (a, b))
    gap = np.abs(x - y).max(axis=-1)
    return int(gap.max()), float((gap > 0).mean())
