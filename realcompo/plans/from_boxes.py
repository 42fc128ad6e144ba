"""From boxes with phrases to every kind of condition that is planned: boxes, one skeleton a person, blocks of a segmentation map.

Planners say what stands where; here it becomes what branches are told, so that all planners plan all kinds alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..conditions import Box, Boxes, BoxItem, Condition, Keypoints, Person, Segment, Segmentation, Size
from ..conditions.keypoints import MAX_PEOPLE
from ..conditions.moving import moved_person, moved_segment, pixel_range
from ..conditions.palette import ADE20K, is_person, known_class
from ..conditions.segmentation import MAX_SIDE
from ..conditions.skeletons import ADULT, Build, skeleton
from ..errors import PlanningError, RealCompoError, nearest
from ..interfaces import Plan, PlanRequest, Region


@dataclass(frozen=True)
class Placed:
    """A thing where a planner wants it.

    Attributes:
        phrase: words of the prompt.
        box: (x0, y0, x1, y1) as shares of the picture.
        id: of a region that stays or is changed; made from the phrase where it is empty.
        span: (start, end) characters of the prompt.
        pose: of a person, one of `skeletons.POSES`; empty for anything else, and for a person whose points are there already.
        label: its class in a segmentation map; found from the phrase where it is empty.
    """

    phrase: str
    box: Box
    id: str = ""
    span: tuple[int, int] | None = None
    pose: str = ""
    label: str = ""


def plan_of(placed: Sequence[Placed], request: PlanRequest, *, backdrop: str = "", build: Build = ADULT, **said: Any) -> Plan:
    """The plan that things in their places make, one condition for each kind that is asked for.

    What is to stay keeps the points or pixels that it had; what a wish moves takes them along, stretched with its box. Blocks of a map are
    rectangles, large ones painted first so that small ones stand before them.

    Args:
        backdrop: class of the map's other pixels; empty for none.
        build: of the people.
        said: the plan's transcript, background, negative and remarks.

    Raises:
        PlanningError: another kind of condition; a pose without people; a phrase of no class, with the nearest.
    """
    known = _known(placed, request)
    try:
        named = tuple(replace(one, id=item.id) for one, item in zip(known, _boxes(known).items, strict=True))
        return _plan(named, request, backdrop, build, said)
    except PlanningError:
        raise
    except RealCompoError as error:
        raise PlanningError(error.what, where=error.where, mend=error.mend) from None


def _plan(named: Sequence[Placed], request: PlanRequest, backdrop: str, build: Build, said: dict[str, Any]) -> Plan:
    makers: dict[str, Callable[[], Condition]] = {
        "boxes": lambda: _boxes(named),
        "keypoints": lambda: _people(named, request, build),
        "segmentation": lambda: _map(named, request, backdrop),
    }
    strange = [kind for kind in request.kinds if kind not in makers]
    if strange:
        raise PlanningError(f"{strange[0]!r} is no kind of condition that is planned", mend=nearest(strange[0], makers))
    first, *more = (makers[kind]() for kind in request.kinds)
    remarks = (*said.pop("remarks", ()), *_left_out(named, first, *more))
    return Plan(first, more=tuple(more), remarks=remarks, **said)


def label_of(phrase: str, classes: Collection[str]) -> str:
    """The class that a phrase names.

    Raises:
        PlanningError: none; names the nearest.
    """
    found = known_class(phrase, classes)
    if found is None:
        raise PlanningError(
            f"{phrase!r} names no class of a segmentation map",
            mend=f"word it otherwise, or give the map yourself with label = its class; {nearest(phrase.split()[-1].lower(), classes)}",
        )
    return found


def _known(placed: Sequence[Placed], request: PlanRequest) -> list[Placed]:
    """The things, each with the id of the region that it was before: the one that it says; the region that stays in its very box; or the
    next of its phrase in a layout that is changed."""
    free = {region.id: region for region in (*request.keep, *request.layout)}
    stay = _ids(request.keep)
    given = {one.id: free.pop(one.id) for one in placed if one.id in free}
    found = []
    for one in placed:
        alike = [r for r in free.values() if not one.id and r.phrase.lower() == one.phrase.lower()]
        twin = given.get(one.id) or next((r for r in alike if r.id not in stay or r.box == one.box), None)
        if twin is not None:
            free.pop(twin.id, None)
            one = replace(one, id=twin.id, span=twin.span if twin.id in stay else one.span)
        found.append(one)
    return found


def _boxes(placed: Sequence[Placed]) -> Boxes:
    return Boxes([BoxItem(phrase=one.phrase, box=one.box, id=one.id, span=one.span) for one in placed])


def _former(request: PlanRequest) -> dict[str, tuple[Any, Box]]:
    """Id → the item that it was in the condition before, and its region's box."""
    regions = {region.id: region.box for region in (*request.keep, *request.layout) if region.box is not None}
    items: Sequence[Any] = getattr(request.before, "items", ())
    return {item.id: (item, regions[item.id]) for item in items if item.id in regions}


def _people(placed: Sequence[Placed], request: PlanRequest, build: Build) -> Keypoints:
    old = request.before if isinstance(request.before, Keypoints) else None
    former = _former(request) if old is not None else {}
    there = _ids((*request.keep, *request.layout))
    people = []
    for one in placed:
        pose = one.pose
        if one.id in former and (not pose or one.id in _ids(request.keep)):
            person, box = former[one.id]
            people.append(moved_person(person, box, one.box).model_copy(update={"span": one.span}))
            continue
        if not pose and one.id in there and is_person(one.phrase):
            pose = "standing"  # its box was there already, its points were not
        if pose:
            people.append(Person(phrase=one.phrase, points=skeleton(pose, one.box, request.size, build), id=one.id, span=one.span))
    if not people:
        raise PlanningError(
            "the prompt names no person, and a pose is made of people",
            where=f"prompt {request.prompt!r}",
            mend="name a person in the prompt, or give keypoints yourself",
        )
    if len(people) > MAX_PEOPLE:
        raise PlanningError(f"{len(people)} people, a pose holds {MAX_PEOPLE}", mend="name fewer")
    return Keypoints(people, size=old.size if old is not None and old.size is not None else request.size)


def _map(placed: Sequence[Placed], request: PlanRequest, backdrop: str) -> Segmentation:
    old = request.before if isinstance(request.before, Segmentation) else None
    former = _former(request) if old is not None else {}
    shrink = max(1.0, max(request.size) / MAX_SIDE)
    size = old.size if old is not None else (max(1, int(request.size[0] / shrink)), max(1, int(request.size[1] / shrink)))
    classes = ADE20K if request.classes is None else request.classes
    segments = []
    for one in placed:
        if old is not None and one.id in former:
            segment, box = former[one.id]
            segment = moved_segment(old, segment, box, one.box).model_copy(update={"span": one.span})
            segments.append(segment.model_copy(update={"label": one.label}) if one.label and one.id not in _ids(request.keep) else segment)
        else:
            label = one.label or label_of(one.phrase, classes)
            segments.append(Segment(phrase=one.phrase, label=label, polygons=(_block(one.box, size),), id=one.id, span=one.span))
    if old is None:  # in an older map the order of painting is its owner's
        order = sorted(range(len(placed)), key=lambda n: -(placed[n].box[2] - placed[n].box[0]) * (placed[n].box[3] - placed[n].box[1]))
        segments = [segments[n] for n in order]
    behind: tuple[Segment, ...] = old.backdrop if old is not None else ()
    if backdrop and old is None:
        behind = (Segment(label=backdrop, polygons=(_block((0.0, 0.0, 1.0, 1.0), size),)),)
    return Segmentation(segments, backdrop=behind, size=size)


def _ids(regions: Sequence[Region]) -> set[str]:
    return {region.id for region in regions}


def _block(box: Box, size: Size) -> tuple[float, ...]:
    """The corners of a box in whole pixels of a map, a pixel wide and high at least."""
    (x0, x1), (y0, y1) = (pixel_range(box[axis], box[axis + 2], size[1 - axis]) for axis in (0, 1))
    return float(x0), float(y0), float(x1), float(y0), float(x1), float(y1), float(x0), float(y1)


def _left_out(placed: Sequence[Placed], *conditions: Condition) -> list[str]:
    """What no condition holds: a pose is made of people alone."""
    held = {item.id for condition in conditions for item in getattr(condition, "items", ())}
    names = dict.fromkeys(repr(one.phrase) for one in placed if one.id not in held)
    return [f"left to the prompt, for a pose holds people only: {', '.join(names)}"] if names else []
