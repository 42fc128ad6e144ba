"""A recipe against its networks, before a weight is loaded: what is wrong and at which field, what is only doubtful, what it will cost.

Torch is imported when something is checked, not before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realcompo.conditions import Condition
from realcompo.errors import BadCondition, PhraseNotFound, RealCompoError
from realcompo.interfaces import Region, Setting, Step
from realcompo.recipes.recipe import PictureEntry, Recipe
from realcompo.registry import Registry

from .first import alone
from .problems import At, Problem, Unfit
from .reading import MOST, read

if TYPE_CHECKING:
    from realcompo import Composer

BACK = 2
"""A pass back is taken as so many passes forward."""
Plain = dict[str, Any]


@dataclass(frozen=True)
class Checked:
    """A recipe that can be drawn."""

    recipe: Recipe
    composer: Composer
    regions: tuple[tuple[Region, ...], ...]
    lacking: tuple[tuple[str, ...], ...]
    words: tuple[Mapping[str, Mapping[str, str]], ...]
    remarks: tuple[str, ...]


def check(data: Any, registry: Registry, sets: tuple[str, ...] = ()) -> Checked:
    """A request's recipe, checked as far as it can be without weights.

    Raises:
        Unfit: with all that is wrong.
    """
    recipe = read(data, registry, sets)
    with alone("check", *(entry.name for entry in recipe.branches), recipe.scheduler, recipe.balancer.name):
        return _checked(recipe, registry)


def _checked(recipe: Recipe, registry: Registry) -> Checked:
    composer = composed(recipe, registry)
    from realcompo import check_picture

    found, problems = [], []
    for index, picture in enumerate(recipe.pictures):
        try:
            found.append(check_picture(composer, picture, index))
        except RealCompoError as error:
            problems += _of_picture(error, index, picture)
    if problems:
        raise Unfit(problems[:MOST])
    return Checked(
        recipe,
        composer,
        tuple(one.regions for one in found),
        tuple(one.lacking for one in found),
        tuple(
            {name: {id: " ".join(some) for id, some in tokens.items()} for name, tokens in one.tokens.items() if tokens is not None}
            for one in found
        ),
        tuple(composer.remarks(recipe.pictures)),
    )


def composed(recipe: Recipe, registry: Registry) -> Composer:
    """The composer of a recipe.

    Raises:
        Unfit: there is none, with the field that is to blame.
    """
    from realcompo import Composer

    try:
        return Composer.from_recipe(recipe, registry)
    except RealCompoError as error:
        raise Unfit([Problem(error, _blamed(recipe, registry, error))]) from None


def _blamed(recipe: Recipe, registry: Registry, error: RealCompoError) -> At | None:
    """The field without which the recipe's error would not be: each is put back to what is surely fine, in turn."""
    from realcompo import Composer
    from realcompo.recipes.members import member

    def fine(**changes: Any) -> bool:
        try:
            Composer.from_recipe(recipe.model_copy(update=changes), registry)
        except RealCompoError as other:
            return str(other) != str(error)
        return True

    roles = [entry.role or registry.branches[registry.find(_branch(), entry.name).id].role for entry in recipe.branches]
    for index, (entry, role) in enumerate(zip(recipe.branches, roles, strict=True)):
        try:
            member(entry, role or "spatial", registry)
        except RealCompoError:
            return ("branches", index)
    plain = Recipe()
    if fine(height=None, width=None):
        return ("height",) if fine(height=None) and not fine(width=None) else ("width",)
    if recipe.device is not None and fine(device=None):
        return ("device",)
    if fine(num_inference_steps=plain.num_inference_steps):
        return ("num_inference_steps",)
    if recipe.scheduler_options and fine(scheduler_options={}):
        return ("scheduler_options",)
    if fine(scheduler=plain.scheduler, scheduler_options={}):
        return ("scheduler",)
    for index in reversed(range(len(recipe.branches))):  # the last that was added, not the first of the two
        if fine(branches=tuple(one for n, one in enumerate(recipe.branches) if n != index)):
            return ("branches", index)
    return ("branches",)


def _branch() -> Any:
    from realcompo.specs import BranchSpec

    return BranchSpec


def _of_picture(error: RealCompoError, index: int, picture: PictureEntry) -> list[Problem]:
    """Errors of one picture, with their items: of phrases, all that are not in the prompt."""
    at: At = ("pictures", index)
    if isinstance(error, PhraseNotFound):
        found = []
        for key, condition in picture.conditions.items():
            items = getattr(condition, "items", ())
            for number, (_, problem) in enumerate(spans_of(picture.prompt, items)):
                if problem is not None:
                    found.append(Problem(problem, (*at, "conditions", key, "items", number, "phrase")))
        named = [
            (*at, "conditions", key, "items", number, "phrase")
            for key, condition in picture.conditions.items()
            for number, item in enumerate(getattr(condition, "items", ()))
            if error.where is not None and repr(item.id) in error.where
        ]
        return found or [Problem(error, named[0] if named else (*at, "prompt"))]
    if isinstance(error, BadCondition):
        kinds = [key for key, condition in picture.conditions.items() if condition.kind in str(error)]
        return [Problem(error, (*at, "conditions", kinds[0]) if kinds else (*at, "conditions"))]
    return [Problem(error, at)]


# -- words ---------------------------------------------------------------------------------------------------------------------------


def spans_of(prompt: str, items: Sequence[Any]) -> list[tuple[Any, PhraseNotFound | None]]:
    """Of each item (with phrase, id and span) its match in a prompt, or why there is none; one without takes no words from others."""
    from realcompo.toolkit.phrases import find_phrases

    regions = [Region(str(number), item.phrase, span=item.span) for number, item in enumerate(items)]
    problems: dict[str, PhraseNotFound] = {}
    while True:
        left = [region for region in regions if region.id not in problems]
        try:
            matches = dict(zip((region.id for region in left), find_phrases(prompt, left), strict=True))
        except PhraseNotFound as error:
            wrong = next(region for region in left if error.where == f"region {region.id!r}")
            said = items[int(wrong.id)].id or wrong.phrase
            problems[wrong.id] = PhraseNotFound(error.what, where=f"region {said!r}", mend=error.mend)
            continue
        return [(matches.get(region.id), problems.get(region.id)) for region in regions]


# -- regions -------------------------------------------------------------------------------------------------------------------------


def regions_plain(regions: Sequence[Region], conditions: Mapping[str, Condition]) -> list[Plain]:
    """Regions as the API tells them: a mask as the rectangle around it, with the kinds of condition that hold each."""
    held: dict[str, list[str]] = {}
    for condition in conditions.values():
        for item in getattr(condition, "items", ()):
            held.setdefault(item.id, []).append(condition.kind)
    return [
        {"id": r.id, "phrase": r.phrase, "box": _bounds(r), "span": None if r.span is None else list(r.span), "kinds": held.get(r.id, [])}
        for r in regions
    ]


def _bounds(region: Region) -> list[float] | None:
    if region.box is not None:
        return [float(share) for share in region.box]
    if region.mask is None:
        return None
    import numpy as np

    rows, columns = (np.flatnonzero((np.asarray(region.mask) > 0).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    h, w = region.mask.shape
    return [float(columns[0] / w), float(rows[0] / h), float((columns[-1] + 1) / w), float((rows[-1] + 1) / h)]


# -- cost ----------------------------------------------------------------------------------------------------------------------------


def counted_cost(composer: Composer) -> dict[str, float]:
    """Part of a run → F, by the balancer's own schedule: every network is taken as 1 F a pass, the way of a probe or a move as one pass
    forward and one back. The balancer is asked on a picture without regions, so moves that a good layout makes needless are counted."""
    import torch

    members, steps = composer.members, composer.num_inference_steps
    setting = Setting(
        names=tuple(m.name for m in members),
        roles=tuple(m.role for m in members),
        masks=torch.zeros(1, 1, 1, 1),
        owners=torch.zeros(len(members), 1, 1, dtype=torch.bool),
        generators=(torch.Generator(),),
        kinds=tuple(m.spec.condition if m.role == "spatial" else None for m in members),
    )
    state = composer.balancer.start(setting)
    several, chosen = (1, 0) if composer.candidates is None else (composer.candidates.count, composer.candidates.before(steps))
    parts: dict[str, float] = {}
    chances = 0

    def add(part: str, name: str, passes: float) -> None:
        parts[f"{part} {name}"] = parts.get(f"{part} {name}", 0.0) + passes

    for index in range(steps):
        noises = several if index < chosen else 1
        if index == chosen and several > 1:
            add("look", members[0].name, several)
        needs = composer.balancer.needs(state, Step(index, steps, 0.0, 0.0, 0.5, 0.5))
        for m, acts in zip(members, needs.each(), strict=True):
            if acts:
                add("predict", m.name, noises * (2 if m.guidance_scale > 1 and m.traits.guidance == "passes" else 1))
        if needs.probe:
            if chances % composer.probe.every == 0:
                for m in members:
                    add("probe", m.name, noises * (1 + BACK + (0 if composer.probe.guided else 1)))
            chances += 1
        for m, move in zip(members, needs.moves, strict=False):
            if move is not None:
                add("move", m.name, noises * move.most * (1 + BACK))
    return parts
