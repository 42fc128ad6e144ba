"""Layouts of a suite's scenes: planned once, for all recipes and noises alike, kept in the folder and published beside the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..conditions import Boxes, Condition
from ..draw.batch import PLAN_AHEAD
from ..errors import BadOption, PlanningError
from ..interfaces import Case
from ..plans.layouts import layout_of, write_layouts
from ..plans.planning import PlannedPicture, Task, joined, plan_pictures
from ..recipes.recipe import PictureEntry, dump_condition, read_condition
from .lines import Lines
from .study import LAYOUTS, Study

if TYPE_CHECKING:
    from ..compose.composer import Composer
    from ..recipes.members import Member

SURELY = 8
"""So many scenes that all have no plan are no accident: a server is down, or it is the wrong planner."""


@dataclass(frozen=True)
class Asked:
    """What a recipe is asked for a case.

    Attributes:
        entry: the picture; None where it lacks a condition that could not be planned.
        error: why.
    """

    entry: PictureEntry | None
    error: str | None = None


class Layouts:
    """The layouts of a study, planned or of the suite's own.

    Args:
        writing: what a killed run left of a last line is taken off the file.
    """

    def __init__(self, study: Study, writing: bool = True) -> None:
        self.study = study
        self.lines = Lines(study.folder / LAYOUTS, "scene", writing)

    def told(self, case: Case) -> Case:
        """The case with the conditions that were planned for its scene."""
        line = self._kept(case) or {}
        planned = {key: read_condition(key, data) for key, data in line.get("conditions", {}).items()}
        return replace(case, conditions={**planned, **case.conditions}) if planned else case

    def asked(self, case: Case, members: Sequence[Member]) -> Asked:
        """The picture that a recipe of these members is asked for: with the conditions that its branches take, and no others."""
        entry = PictureEntry(prompt=case.prompt, negative_prompt=case.negative_prompt, seed=case.seed)
        line = self._kept(case) or {}
        conditions = taken(members, self.told(case).conditions)
        if any(key in line.get("conditions", {}) for key in conditions):
            entry = entry.model_copy(update=line.get("words", {}))  # the planner's own background, where the recipe uses it
        entry = entry.model_copy(update={"conditions": conditions})
        if lacking(members, entry):
            return Asked(None, line.get("error") or f"no {lacking(members, entry)[0]} is planned")
        return Asked(entry)

    def plan(self, composers: Mapping[str, Composer], retry: bool, told: Callable[[int, int], None]) -> None:
        """Plan what no recipe can do without and the folder does not hold: a line a scene.

        Args:
            retry: try again scenes that had no plan.
            told: how many are planned, of how many.

        Raises:
            PlanningError: none can be planned. BadOption: nobody plans.
        """
        scenes = list({case.group: case for case in self.study.cases}.values())
        everyone = [m for one in composers.values() for m in one.members]
        todo = [case for case in scenes if self._open(case, everyone, retry)]
        if not todo:
            return
        wanting = {name: one for name, one in composers.items() if lacking(one.members, self._entry(todo[0]))}
        planner = next((one for one in wanting.values() if one.planner is not None), None)
        if planner is None or planner.planner is None:
            raise BadOption(
                f"the suite has no {lacking(everyone, self._entry(todo[0]))[0]} of {todo[0].prompt!r}, and no recipe names a planner",
                where=", ".join(wanting),
                mend='add planner = "mini/planner" to a recipe, or another of `realcompo list`',
            )
        built = self.study.registry.planner(planner.planner.name, planner.planner.options)
        done = 0
        for start in range(0, len(todo), PLAN_AHEAD):
            window = todo[start : start + PLAN_AHEAD]
            found = plan_pictures(built, everyone, [Task(self._entry(case)) for case in window], planner.size, planner.planner.use)
            failed = [one for one in found if isinstance(one, PlanningError)]
            if len(failed) == len(window) and (len(window) >= SURELY or not len(self.lines)):
                raise joined(failed, len(window))
            for case, one in zip(window, found, strict=True):
                self.lines.add(self._line(case, one))
            done += len(window)
            told(done, len(todo))

    def publish(self) -> None:
        """layouts.json: the boxes of all scenes, as `realcompo import` and others read them."""
        scenes = list({case.group: self.told(case) for case in self.study.cases}.values())
        boxed = [case for case in scenes if any(isinstance(one, Boxes) for one in case.conditions.values())]
        entries = [PictureEntry(prompt=case.prompt, name=case.group, seed=case.seed, conditions=dict(case.conditions)) for case in boxed]
        if entries:
            write_layouts([layout_of(entry)[0] for entry in entries], self.study.folder / "layouts.json", "json")

    def _kept(self, case: Case) -> dict[str, Any] | None:
        """The line of a case's scene, if it is of its prompt: the file may come from elsewhere."""
        line = self.lines.get(case.group)
        return line if line is not None and line.get("prompt") == case.prompt else None

    def _entry(self, case: Case) -> PictureEntry:
        conditions = dict(self.told(case).conditions)
        return PictureEntry(prompt=case.prompt, negative_prompt=case.negative_prompt, seed=case.seed, conditions=conditions)

    def _open(self, case: Case, everyone: Sequence[Member], retry: bool) -> bool:
        line = self._kept(case)
        return bool(lacking(everyone, self._entry(case))) and (line is None or "error" not in line or retry)

    def _line(self, case: Case, found: PlannedPicture | PlanningError) -> dict[str, Any]:
        head = {"scene": case.group, "prompt": case.prompt}
        before = (self._kept(case) or {}).get("conditions", {})
        if isinstance(found, PlanningError):
            return {**head, "conditions": before, "error": str(found)}
        planned = {key: dump_condition(one) for key, one in found.picture.conditions.items() if key not in case.conditions}
        words = {
            name: getattr(found.picture, name)
            for name in ("prompt", "negative_prompt")
            if getattr(found.picture, name) != getattr(case, name)
        }
        return {**head, "conditions": planned, **({"words": words} if words else {})}


def lacking(members: Sequence[Member], entry: PictureEntry) -> list[str]:
    """Kinds of condition that spatial branches take and a picture has not."""
    kinds = [m.spec.condition for m in members if m.role == "spatial" and m.spec.condition is not None and m.condition(entry) is None]
    return list(dict.fromkeys(kinds))


def taken(members: Sequence[Member], conditions: Mapping[str, Condition]) -> dict[str, Condition]:
    """The conditions that some spatial branch takes: a recipe's picture carries no others."""
    known = {key for m in members if m.role == "spatial" for key in (m.name, m.spec.id, m.spec.id.split("/")[1], m.spec.condition)}
    return {key: condition for key, condition in conditions.items() if key in known}
