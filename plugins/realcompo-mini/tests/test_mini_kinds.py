"""Poses and maps of the mini language, offline: people stand with the world's own build, maps have its own classes."""

from __future__ import annotations

from math import hypot
from typing import Any

import pytest
from realcompo_mini.bodies import BUILD
from realcompo_mini.palette import palette
from realcompo_mini.plugin import MiniPlanner
from realcompo_mini.world import load_world

import realcompo as rc
from realcompo.conditions.drawing import draw_segments
from realcompo.conditions.skeletons import ADULT, skeleton
from realcompo.errors import PlanningError
from realcompo.interfaces import PlanRequest

SIZE = (128, 128)


def test_the_build_is_that_of_the_figures_that_were_rendered() -> None:
    """Lengths of limbs, measured on the poses that the training renders."""
    from realcompo_mini.train.people import JOINTS, POSES

    for pose in POSES:
        at = dict(zip(JOINTS, pose, strict=True))
        for name, start, end in (
            *(("upper_arm", f"{s}_shoulder", f"{s}_elbow") for s in ("left", "right")),
            *(("forearm", f"{s}_elbow", f"{s}_wrist") for s in ("left", "right")),
            *(("thigh", f"{s}_hip", f"{s}_knee") for s in ("left", "right")),
            *(("shin", f"{s}_knee", f"{s}_ankle") for s in ("left", "right")),
            ("head", "neck", "nose"),
        ):
            (ax, ay), (bx, by) = at[start], at[end]
            assert hypot(ax - bx, ay - by) == pytest.approx(getattr(BUILD, name), abs=1e-6), name
        assert at["left_hip"][1] - at["neck"][1] == pytest.approx(BUILD.trunk)
        assert (at["left_shoulder"][0] - at["right_shoulder"][0]) / 2 == pytest.approx(BUILD.shoulders)
        assert (at["left_ear"][0] - at["right_ear"][0]) / 2 == pytest.approx(BUILD.ears)
    assert BUILD != ADULT


def test_people_stand_where_their_boxes_do() -> None:
    prompt = "two people and a red car on grass"
    boxes: Any = MiniPlanner().plan(PlanRequest(prompt, SIZE, seed=5)).condition
    plan = MiniPlanner().plan(PlanRequest(prompt, SIZE, seed=5, kinds=("keypoints",)))
    pose: Any = plan.condition
    assert [p.phrase for p in pose.items] == ["two people", "two people"] and "'a red car'" in plan.remarks[0]
    for person, item in zip(pose.items, boxes.items, strict=False):
        assert person.points == skeleton("standing", item.box, SIZE, BUILD)
        assert all(item.box[0] <= x <= item.box[2] and item.box[1] <= y <= item.box[3] for x, y in person.points.values())


def test_a_prompt_without_people_is_told() -> None:
    with pytest.raises(PlanningError, match="names no person"):
        MiniPlanner().plan(PlanRequest("a cat and a dog", SIZE, kinds=("keypoints",)))


@pytest.mark.parametrize("kind", sorted(load_world().kinds))
def test_everything_of_the_world_is_painted_in_its_colour(kind: str) -> None:
    colours = palette()
    word = load_world().kinds[kind]
    for phrase in (f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}", f"two {word.plural}"):
        asked = PlanRequest(f"{phrase} on snow", SIZE, kinds=("segmentation",), classes=tuple(colours))
        scene: Any = MiniPlanner().plan(asked).condition
        hint = draw_segments(scene, SIZE, colours)
        assert {colour for _, colour in hint.getcolors()} == {colours[kind], colours["snow"]}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("branch", "kinds"),
    [("mini/pose", ["keypoints"]), ("mini/segmentation", ["segmentation"]), ("mini/boxes mini/pose", ["boxes", "keypoints"])],
)
def test_recipes_of_the_family_plan_from_a_prompt(branch: str, kinds: list[str]) -> None:
    """Planning loads no weights, so it works before they are there."""
    branches = ["mini/fidelity", *branch.split()]
    for kind in kinds:
        found = rc.plan("a blue person and a house on grass", kind, recipe={"branches": branches})
        assert found.kind == kind
    if "segmentation" in kinds:
        assert [s.label for s in found.backdrop] == ["grass"] and {s.label for s in found.items} == {"person", "house"}  # type: ignore[attr-defined]
    if "keypoints" in kinds:
        moved: Any = rc.revise("a blue person and a house on grass", found, "move the person up a little", recipe={"branches": branches})
        old, new = found.items[0].points["nose"], moved.items[0].points["nose"]  # type: ignore[attr-defined]
        assert new[0] == pytest.approx(old[0], abs=1e-3) and 0 < old[1] - new[1] <= 0.0601
