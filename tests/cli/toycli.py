"""What the tests of the command line run: toys in place of the embedded default, and a recipe of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from typer.testing import Result

import realcompo.registry
from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec, PlannerSpec
from realcompo.testing import toys

SCENE = """branches = ["toy/fidelity", "toy/spatial"]
num_inference_steps = 4
device = "cpu"

[[pictures]]
name = "both"
prompt = "a cat and a dog"
seed = 3
[pictures.conditions.boxes]
"a cat" = [0.0, 0.3, 0.5, 0.9]
"a dog" = [0.5, 0.3, 1.0, 0.9]

[[pictures]]
prompt = "a dog"
[pictures.conditions.boxes]
"a dog" = [0.5, 0.3, 1.0, 0.9]
"""
TOYS = ["--fidelity", "toy/fidelity", "--spatial", "toy/spatial", "--device", "cpu", "--steps", "4"]
Cli = Callable[..., Result]


def mini() -> ModuleType:
    """A plugin that stands for the embedded default: toys, and a planner that gives each noun a column."""
    module = ModuleType("cli_test_mini")

    @hookimpl
    def register_branches() -> list[BranchSpec]:
        return [
            BranchSpec(id="mini/fidelity", role="fidelity", summary="a toy", recommended={"num_inference_steps": 4}, **toys._COMMON),
            BranchSpec(id="mini/boxes", role="spatial", condition="boxes", summary="a toy", **toys._COMMON),
        ]

    @hookimpl
    def register_planners() -> list[PlannerSpec]:
        return [PlannerSpec(id="mini/planner", target="cli_test_mini:Columns", summary="columns")]

    module.__dict__.update(REALCOMPO_API=1, register_branches=register_branches, register_planners=register_planners, Columns=Columns)
    return module


class Columns(realcompo.registry.Planner):
    def plan(self, request: Any) -> Any:
        import realcompo as rc
        from realcompo.errors import PlanningError
        from realcompo.interfaces import Plan

        nouns = re.findall(r"an? \w+", request.prompt)
        if not nouns:
            raise PlanningError(f"no noun in {request.prompt!r}", mend="write a cat")
        top = 0.1 + request.seed % 4 / 10
        return Plan(rc.Boxes([(noun, (n / len(nouns), top, (n + 1) / len(nouns), 0.9)) for n, noun in enumerate(nouns)]))
