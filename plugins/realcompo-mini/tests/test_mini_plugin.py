"""What the plugin declares, and the planner behind core's interface."""

from __future__ import annotations

import subprocess
import sys

import pytest
from realcompo_mini import plugin

from realcompo.errors import PlanningError
from realcompo.interfaces import PlanRequest, Region


def test_declares_without_torch() -> None:
    code = "import sys, realcompo_mini.plugin as p; list(p.register_branches()); list(p.register_planners()); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "False"


def test_branches_share_a_latent_space_and_name_their_bases() -> None:
    fidelity, boxes, *grown = plugin.register_branches()
    wanted = {"boxes-coloured", "boxes-half", "flow", "tokencompose", "coloring", "cute", "pose", "segmentation"}
    assert {spec.id.split("/")[1] for spec in grown} == wanted
    assert (fidelity.id, boxes.id) == ("mini/fidelity", "mini/boxes")
    assert (fidelity.base, boxes.base) == ("sd/v1-5", "gligen/box")
    assert fidelity.traits is not None and boxes.traits is not None
    assert fidelity.traits.latent == boxes.traits.latent
    assert boxes.traits.max_objects == 30


def test_plans_boxes() -> None:
    plan = plugin.MiniPlanner().plan(PlanRequest("two apples on a box and a red star on grass", (128, 128), seed=4))
    items = plan.condition.items  # type: ignore[attr-defined]
    assert [item.phrase for item in items] == ["two apples", "two apples", "a box", "a red star"]
    assert len({item.id for item in items}) == 4
    assert plan.transcript


def test_keeps_what_must_stay() -> None:
    box = (0.1, 0.5, 0.4, 0.9)
    plan = plugin.MiniPlanner().plan(PlanRequest("a cat and a dog", (128, 128), keep=(Region("x", "a cat", box),)))
    assert box in [item.box for item in plan.condition.items]  # type: ignore[attr-defined]


def test_errors_are_planning_errors() -> None:
    with pytest.raises(PlanningError, match="'zebra'"):
        plugin.MiniPlanner().plan(PlanRequest("a zebra", (128, 128)))
    with pytest.raises(PlanningError, match="'pose' is no kind of condition"):
        plugin.MiniPlanner().plan(PlanRequest("a cat", (128, 128), kinds=("pose",)))
