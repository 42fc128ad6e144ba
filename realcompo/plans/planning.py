"""From prompts to conditions: what a planner is asked for pictures that lack some, one or many at once, and what is made of its plans."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..conditions import Boxes, Condition, Keypoints, Segmentation
from ..errors import PlanningError
from ..interfaces import Plan, Planner, PlanRequest, Region
from ..recipes.recipe import PictureEntry
from ..recipes.worded import read_region, written_condition
from ..weighing import Reading, plain, read_weights

if TYPE_CHECKING:
    from ..recipes.members import Member

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """A picture to plan.

    Attributes:
        picture: what it has already is not planned.
        keep: regions that stay as they are; the rest is planned.
        layout, wish: how things stand, and what is wanted otherwise.
        before: the condition that `keep` or `layout` are the regions of.
    """

    picture: PictureEntry
    keep: tuple[Region, ...] = ()
    layout: tuple[Region, ...] = ()
    wish: str = ""
    before: Condition | None = None


@dataclass(frozen=True)
class PlannedPicture:
    """A picture with planned conditions, what was said on the way, and what the user should know."""

    picture: PictureEntry
    transcript: tuple[dict[str, Any], ...] = ()
    remarks: tuple[str, ...] = ()


def requests(members: Sequence[Member], task: Task, size: tuple[int, int]) -> list[PlanRequest]:
    """What a planner is asked: one request for all kinds of condition that the picture's spatial branches lack, so that things stand in the
    same places in all of them; none where nothing is lacking."""
    picture = task.picture
    wanting = [m for m in members if m.role == "spatial" and m.spec.condition is not None and m.condition(picture) is None]
    if not wanting:
        return []
    reading = reading_of(members, picture.prompt)
    limits = [m.traits.max_objects for m in members if m.traits.max_objects is not None]
    words = vocabulary(members)
    return [
        PlanRequest(
            prompt=reading.text,
            size=size,
            kinds=tuple(dict.fromkeys(m.spec.condition for m in wanting if m.spec.condition is not None)),
            max_objects=min(limits, default=None),
            vocabulary=words,
            keep=tuple(read_region(region, reading) for region in task.keep),
            seed=picture.seed or 0,
            layout=tuple(read_region(region, reading) for region in task.layout),
            wish=task.wish,
            before=task.before,
            classes=classes([m for m in wanting if m.spec.condition == Segmentation.kind]),
        )
    ]


def reading_of(members: Sequence[Member], prompt: str) -> Reading:
    """A prompt as a planner reads it: without marks of weights, where a branch reads such.

    Raises:
        BadOption: they cannot be read.
    """
    return read_weights(prompt) if any(m.weighs for m in members) else plain(prompt)


def vocabulary(members: Sequence[Member]) -> tuple[str, ...] | None:
    """The words that all branches know; None where none of them has a closed vocabulary."""
    known = [set(m.traits.vocabulary) for m in members if m.traits.vocabulary is not None]
    return tuple(sorted(set.intersection(*known))) if known else None


def classes(members: Sequence[Member]) -> tuple[str, ...] | None:
    """The classes that all branches of segmentation maps have colours for; None for ADE20K's."""
    own = [m.traits.classes for m in members if m.traits.classes is not None]
    if not own:
        return None
    from ..conditions.palette import ADE20K

    known = [set(ADE20K if m.traits.classes is None else m.traits.classes) for m in members]
    return tuple(name for name in own[0] if all(name in some for some in known))


def plan_pictures(
    planner: Planner, members: Sequence[Member], tasks: Sequence[Task], size: tuple[int, int], use: Sequence[str] = ()
) -> list[PlannedPicture | PlanningError]:
    """Each picture with a planned condition for each kind that it lacks, or why there is none. All requests go to the planner at once.

    Args:
        size: (height, width) in pixels.
        use: which of the planner's words are used: "background", "negative".
    """
    asked = [requests(members, task, size) for task in tasks]
    plans = iter(ask(planner, [request for some in asked for request in some]))
    words = vocabulary(members)
    readings = [reading_of(members, task.picture.prompt) for task in tasks]
    told = zip(tasks, asked, readings, strict=True)
    return [_planned(task, some, [next(plans) for _ in some], use, words, reading) for task, some, reading in told]


def ask(planner: Planner, asked: Sequence[PlanRequest]) -> list[Plan | PlanningError]:
    """A planner's answers, each failure in its place. A wish is passed only to a planner that takes it; what was to stay, stays."""
    if not asked:
        return []
    if any(request.wish for request in asked) and not planner.revises:
        what = f"{type(planner).__name__} plans from a prompt only: it takes no wish about a layout"
        return [PlanningError(what, mend="name another planner with --planner, or edit the boxes in the recipe") for _ in asked]
    found = finished(planner.try_many(asked))
    kept = [_kept(request, plan) if isinstance(plan, Plan) else plan for request, plan in zip(asked, found, strict=True)]
    return [_own_words(request, plan) if isinstance(plan, Plan) else plan for request, plan in zip(asked, kept, strict=True)]


def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, whether or not a loop runs in this thread (a notebook's)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    box: list[tuple[bool, Any]] = []

    def inside() -> None:
        try:
            box.append((True, asyncio.run(work)))
        except BaseException as error:
            box.append((False, error))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    good, value = box[0]
    if not good:
        raise value
    result: T = value
    return result


def raise_first(found: Sequence[PlannedPicture | PlanningError]) -> list[PlannedPicture]:
    """All of them, or the first failure, which says how many there are."""
    failed = [one for one in found if isinstance(one, PlanningError)]
    if failed:
        raise joined(failed, len(found)) from None
    return [one for one in found if isinstance(one, PlannedPicture)]


def joined(failed: Sequence[PlanningError], count: int) -> PlanningError:
    """One error for all failures of `count` pictures."""
    first = failed[0]
    if count == 1:
        return first
    return type(first)(f"{len(failed)} of {count} pictures have no plan; the first: {first.what}", where=first.where, mend=first.mend)


def _planned(
    task: Task,
    asked: Sequence[PlanRequest],
    plans: Sequence[Plan | PlanningError],
    use: Sequence[str],
    words: Sequence[str] | None,
    reading: Reading,
) -> PlannedPicture | PlanningError:
    picture = task.picture
    said: list[dict[str, Any]] = []
    remarks: list[str] = []
    for request, plan in zip(asked, plans, strict=True):
        if isinstance(plan, PlanningError):
            return plan
        found = {condition.kind: written_condition(condition, reading) for condition in plan.conditions}
        lacking = [kind for kind in request.kinds if kind not in found]
        if lacking:
            return PlanningError(
                f"the planner planned {', '.join(found)}, but no {', '.join(lacking)}",
                where=f"prompt {request.prompt!r}",
                mend="name a planner that plans all kinds (realcompo show ID says which), or give the rest yourself",
            )
        conditions = {**picture.conditions, **{kind: found[kind] for kind in request.kinds}}
        picture = picture.model_copy(update={"conditions": conditions})
        picture, notes = _worded(picture, plan, use, words)
        said += [*plan.transcript, *({"role": "recipe", "content": note} for note in notes)]
        remarks += [*plan.remarks, *notes]
    return PlannedPicture(picture, tuple(said), tuple(remarks))


def _worded(picture: PictureEntry, plan: Plan, use: Sequence[str], words: Sequence[str] | None) -> tuple[PictureEntry, list[str]]:
    """The picture with the planner's own words where the recipe asks for them, and what was left out. They go to the end: spans hold."""
    notes: list[str] = []
    changed: dict[str, str] = {}
    for name, said, field in (("background", plan.background, "prompt"), ("negative", plan.negative, "negative_prompt")):
        said, before = " ".join(said.split()), getattr(picture, field)
        if name not in use or not said or said.lower() in before.lower():
            continue
        strange = [word for word in re.findall(r"[^\W_]+", said.lower()) if words is not None and word not in words]
        if strange:
            notes.append(f"the planner's {name} {said!r} is left out: the branches do not know {strange[0]!r}")
        else:
            changed[field] = f"{before}, {said}" if before else said
    return picture.model_copy(update=changed), notes


def _kept(request: PlanRequest, plan: Plan) -> Plan | PlanningError:
    """The plan with the ids and spans of what was to stay, or an error where something did not stay."""
    if not request.keep:
        return plan
    kept: list[Condition] = []
    for condition in plan.conditions:
        one = _kept_boxes(request, condition) if isinstance(condition, Boxes) else _kept_items(request, condition)
        if isinstance(one, PlanningError):
            return one
        kept.append(one)
    return replace(plan, condition=kept[0], more=tuple(kept[1:]))


def _own_words(request: PlanRequest, plan: Plan) -> Plan:
    """The plan with the own prompts of the regions that were there before: planners speak of places only."""
    told = {region.id: region for region in (*request.keep, *request.layout) if region.prompt or region.negative_prompt}
    if not told:
        return plan

    def worded(condition: Condition) -> Condition:
        if not isinstance(condition, Boxes):
            return condition
        own = [(item, told.get(item.id)) for item in condition.items]
        return Boxes(
            [item if r is None else item.model_copy(update={"prompt": r.prompt, "negative_prompt": r.negative_prompt}) for item, r in own]
        )

    return replace(plan, condition=worded(plan.condition), more=tuple(worded(one) for one in plan.more))


def _kept_items(request: PlanRequest, condition: Condition) -> Condition | PlanningError:
    """A pose or map in which each region that was to stay is the item that it was: points or pixels, not a box, are what stays."""
    if not isinstance(condition, (Keypoints, Segmentation)) or type(request.before) is not type(condition):
        return condition
    before = {item.id: item for item in request.before.items}
    now = {item.id: item for item in condition.items}
    for region in request.keep:
        if region.id in before and now.get(region.id) != before[region.id].model_copy(update={"span": region.span}):
            return _moved(request, region)
    return condition


def _kept_boxes(request: PlanRequest, condition: Boxes) -> Boxes | PlanningError:
    items = list(condition.items)
    free = set(range(len(items)))
    for region in request.keep:
        spot = next((n for n in sorted(free) if items[n].box == region.box and items[n].phrase.lower() == region.phrase.lower()), None)
        if spot is None:
            return _moved(request, region)
        free.remove(spot)
        items[spot] = items[spot].model_copy(update={"id": region.id, "span": region.span})
    given = {region.id for region in request.keep}
    others = [item.model_copy(update={"id": ""}) if n in free and item.id in given else item for n, item in enumerate(items)]
    return Boxes(others)


def _moved(request: PlanRequest, region: Region) -> PlanningError:
    return PlanningError(
        f"the planner moved {region.phrase!r}, which was to stay", where=f"prompt {request.prompt!r}", mend="try another seed"
    )
