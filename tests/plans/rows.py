"""A planner whose answers are known: each noun a column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import realcompo as rc
from realcompo.errors import PlanningError
from realcompo.hookspecs import hookimpl
from realcompo.interfaces import Plan, Planner, PlanRequest
from realcompo.specs import PlannerSpec


class Row(Planner):
    """Each noun a column; keeps what is to stay; its one wish is "up". `batches` is how many were asked for at once, `moves_kept` breaks
    the promise to keep."""

    revises = True
    batches: list[int] = []  # noqa: RUF012
    moves_kept = False

    def plan(self, request: PlanRequest) -> Plan:
        if request.wish:
            if request.wish != "up":
                raise PlanningError(f"{request.wish!r} is not understood", mend="say up")
            moved = [(r.phrase, (r.box[0], 0.0, r.box[2], r.box[3] - r.box[1])) for r in request.layout if r.box is not None]
            return Plan(rc.Boxes(moved))
        nouns = re.findall(r"an? \w+", request.prompt)
        if not nouns:
            raise PlanningError("no noun", mend="write a cat")
        kept = {region.phrase: region.box for region in request.keep}
        if self.moves_kept:
            kept = {}
        rows = [
            (noun, kept.get(noun) or (n / len(nouns), round(0.1 + request.seed / 20, 3), (n + 1) / len(nouns), 0.9))
            for n, noun in enumerate(nouns)
        ]
        return Plan(rc.Boxes(rows), background="deep sea", negative="blur", remarks=("depth was not checked",))

    async def try_many(self, requests: Sequence[PlanRequest]) -> list[Plan | PlanningError]:
        type(self).batches.append(len(requests))
        return await super().try_many(requests)

    def requested(self, request: PlanRequest) -> dict[str, Any] | None:
        return {"ask": request.prompt}


class Deaf(Row):
    revises = False


def module_of_rows() -> ModuleType:
    module = ModuleType("layout_test_planner")

    @hookimpl
    def register_planners() -> list[PlannerSpec]:
        return [
            PlannerSpec(id="rows/row", target="layout_test_planner:Row", summary="rows"),
            PlannerSpec(id="rows/deaf", target="layout_test_planner:Deaf", summary="rows"),
        ]

    module.__dict__.update(REALCOMPO_API=1, register_planners=register_planners, Row=Row, Deaf=Deaf)
    return module


BASE = {"branches": ["toy/fidelity", "toy/spatial"], "planner": "rows/row", "num_inference_steps": 2, "device": "cpu"}
