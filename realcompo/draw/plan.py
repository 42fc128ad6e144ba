"""Where things would stand: `plan` and `revise`, without drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..arguments import text
from ..conditions import Condition
from ..errors import BadCondition, BadOption
from ..plans.planning import PlannedPicture, Task, raise_first
from ..recipes.configuration import resolve
from ..recipes.recipe import PictureEntry, Recipe, RecipeLike
from ..registry import Registry, installed
from .kept import composer_of

if TYPE_CHECKING:
    from ..compose.composer import Composer


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
        PlanningError: the planner finds no layout. BadOption: there is no planner, several kinds, or no text as prompt.
    """
    text("prompt", prompt)
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
