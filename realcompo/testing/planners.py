"""The contract of planners: from a prompt to a condition."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import BaseModel

from ..conditions import KINDS, Condition
from ..errors import PlanningError
from ..interfaces import Plan, Planner, PlanRequest, Region
from ..plans.planning import finished
from ..specs import BranchSpec, PlannerSpec
from .common import SAMPLE, ComponentContract

NONSENSE = ("", "  ", "qwzx vbnm", "🙂", "and and and", "a cat " * 200)
"""Prompts that may have no plan; whatever comes of them, it is a plan or a `PlanningError`."""


class PlannerContract(ComponentContract[PlannerSpec]):
    """What every planner keeps to. Override, beside `ComponentContract`'s:

    Attributes:
        prompts: that it can plan, with two objects or more each (or a table of kind of condition → prompts, for poses want people); the
            samples of its plugin's branches by default.
        size: (height, width) in pixels.
        seeds: that it is asked with.
        vocabulary: as the branches that it plans for would state it.
    """

    kind = PlannerSpec
    prompts: ClassVar[Sequence[str] | Mapping[str, Sequence[str]]] = ()
    size: ClassVar[tuple[int, int]] = (512, 512)
    seeds: ClassVar[Sequence[int]] = (0, 1, 2, 3)
    vocabulary: ClassVar[tuple[str, ...] | None] = None

    @classmethod
    def planner(cls) -> Planner:
        built: Planner = cls.host().planner(cls.component, cls.options)
        return built

    @classmethod
    def requests(cls) -> list[PlanRequest]:
        """Every prompt with every kind of condition and every seed."""
        return [
            PlanRequest(prompt=prompt, size=cls.size, kinds=(kind,), vocabulary=cls.vocabulary, seed=seed, classes=cls.classes_of(kind))
            for kind in cls.spec().kinds
            for prompt in cls.prompts_of(kind)
            for seed in cls.seeds
        ]

    @classmethod
    def prompts_of(cls, kind: str) -> Sequence[str]:
        """Prompts that a kind of condition can be planned of."""
        if cls.prompts:
            return cls.prompts.get(kind, ()) if isinstance(cls.prompts, Mapping) else cls.prompts
        samples = [spec.sample for spec in cls._own_branches() if spec.sample is not None and kind in spec.sample]
        return list(dict.fromkeys(sample["prompt"] for sample in samples)) or [SAMPLE["prompt"]]

    @classmethod
    def classes_of(cls, kind: str) -> tuple[str, ...] | None:
        """The classes that the plugin's own branches of maps have colours for."""
        found = [cls.host().inspect(spec.id).classes for spec in cls._own_branches() if spec.condition == kind == "segmentation"]
        return found[0] if found else None

    @classmethod
    def _own_branches(cls) -> list[BranchSpec]:
        plugin = cls.component.split("/")[0]
        return [spec for spec in cls.host().branches.values() if spec.id.startswith(f"{plugin}/")]

    @classmethod
    def items(cls, condition: Condition) -> Sequence[Any]:
        """The parts of a condition that hold a phrase each."""
        found: Sequence[Any] = getattr(condition, "items", ())
        return found

    # -- checks ----------------------------------------------------------------------------------------------------------

    def test_plans_are_valid(self) -> None:
        """A condition of a kind that was asked for, not empty, which its own validation accepts."""
        for request in self.requests():
            plan = self.planner().plan(request)
            assert isinstance(plan, Plan)
            condition = plan.condition
            assert condition.kind in request.kinds
            assert self.items(condition), "an empty plan: raise PlanningError"
            if condition.kind in KINDS:
                KINDS[condition.kind].model_validate(condition.model_dump())

    def test_phrases_are_in_the_prompt(self) -> None:
        """A branch looks each phrase up among the prompt's tokens."""
        for request in self.requests():
            for item in self.items(self.planner().plan(request).condition):
                assert item.phrase.strip() and item.phrase.lower() in request.prompt.lower(), (
                    f"{item.phrase!r} is not in {request.prompt!r}"
                )

    def test_same_seed_plans_the_same(self) -> None:
        planner = self.planner()
        for request in self.requests():
            assert planner.plan(request).condition == planner.plan(request).condition == self.planner().plan(request).condition

    def test_limit_of_objects_is_kept(self) -> None:
        """At most `max_objects`, or a PlanningError: a plan of more would be refused later."""
        for request in self.requests():
            for limit in (1, 2):
                try:
                    plan = self.planner().plan(replace(request, max_objects=limit))
                except PlanningError:
                    continue
                assert len(self.items(plan.condition)) <= limit

    def test_kept_regions_stay(self) -> None:
        """A region to keep is in the plan as it was (or there is a PlanningError): a box as a box, of a pose the points, of a map the
        pixels."""
        for request in self.requests():
            before = self.planner().plan(request).condition
            items = self.items(before)
            box = (0.1, 0.2, 0.3, 0.5)
            if not items:
                continue
            if before.kind != "boxes":
                kept = self.host().transfer(before.kind)(before, request.size)[0]
                try:
                    plan = self.planner().plan(replace(request, keep=(kept,), before=before))
                except PlanningError:
                    continue
                assert items[0] in self.items(plan.condition)
                continue
            kept = Region(id=items[0].id, phrase=items[0].phrase, box=box)
            try:
                plan = self.planner().plan(replace(request, keep=(kept,)))
            except PlanningError:
                continue
            assert box in [item.box for item in self.items(plan.condition) if item.phrase == kept.phrase]

    def test_failures_are_planning_errors(self) -> None:
        """A prompt that it cannot plan is a PlanningError that says why, nothing else."""
        kinds = self.spec().kinds
        for prompt in NONSENSE:
            try:
                plan = self.planner().plan(PlanRequest(prompt=prompt, size=self.size, kinds=kinds[:1], vocabulary=self.vocabulary))
            except PlanningError as error:
                assert error.what.strip(), "a PlanningError says why"
            else:
                assert self.items(plan.condition), f"an empty plan of {prompt!r}: raise PlanningError"

    def test_batches_are_the_single_plans(self) -> None:
        """`try_many` gives one answer a request, in order, each that of `plan`; a failure stands in its place."""
        requests = self.requests()[:4]
        requests.append(replace(requests[0], prompt=NONSENSE[0]))
        asked = [request for request in requests if self._alone(request) == self._alone(request)]  # else another check's business
        found = finished(self.planner().try_many(asked))
        assert [one.condition if isinstance(one, Plan) else type(one) for one in found] == [self._alone(request) for request in asked]

    def _alone(self, request: PlanRequest) -> Any:
        """The condition that a request gets by itself, or the type of its error; NaN, which is unequal to itself, for errors of any
        other kind."""
        try:
            return self.planner().plan(request).condition
        except PlanningError as error:
            return type(error)
        except Exception:
            return float("nan")

    def test_wishes_are_plans_or_planning_errors(self) -> None:
        """A planner that `revises` answers any wish with a valid plan or a PlanningError."""
        if not self.planner().revises:
            return
        for request in self.requests()[:2]:
            layout = tuple(Region(item.id, item.phrase, box=item.box) for item in self.items(self.planner().plan(request).condition))
            for wish in ("qwzx vbnm", "move everything", layout[0].phrase, "remove " * 50):
                try:
                    plan = self.planner().plan(replace(request, layout=layout, wish=wish))
                except PlanningError as error:
                    assert error.what.strip(), "a PlanningError says why"
                else:
                    assert self.items(plan.condition), f"an empty plan of the wish {wish!r}: raise PlanningError"

    def test_a_dry_run_is_plain_data(self) -> None:
        """What `requested` says can be printed as JSON."""
        told = self.planner().requested(self.requests()[0])
        assert told is None or json.loads(json.dumps(told)) == told

    def test_transcript_is_plain_data(self) -> None:
        """It is kept in the picture's recipe."""
        for request in self.requests():
            transcript = self.planner().plan(request).transcript
            assert not any(isinstance(entry, BaseModel) for entry in transcript)
            assert json.loads(json.dumps(list(transcript))) == list(transcript)
