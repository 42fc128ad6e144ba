"""Poses and maps from a sentence: what planners place becomes skeletons and blocks, is kept, changed, saved, drawn, reproduced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import realcompo as rc
import realcompo.registry
from realcompo.conditions.drawing import draw_segments
from realcompo.draw import kept
from realcompo.errors import PlanningError
from realcompo.hookspecs import hookimpl
from realcompo.interfaces import Plan, Planner, PlanRequest, Region
from realcompo.plans.from_boxes import Placed, plan_of
from realcompo.recipes.configuration import parse_text
from realcompo.recipes.writing import to_json, to_toml, to_yaml
from realcompo.specs import BranchSpec, PlannerSpec
from realcompo.testing.toys import TOY_TRAITS, ToyOptions
from tests.toyworld import toys_installed

PEOPLE = {"woman": "waving", "man": "sitting"}


class Columns(Planner):
    """Each noun a column; women wave, men sit; a wish is "left": all move by a tenth."""

    revises = True

    def plan(self, request: PlanRequest) -> Plan:
        if request.wish:
            if request.wish != "left":
                raise PlanningError(f"{request.wish!r} is not understood", mend="say left")
            step = min([0.1, *(r.box[0] for r in request.layout if r.box)])
            moved = [Placed(r.phrase, (r.box[0] - step, r.box[1], r.box[2] - step, r.box[3]), r.id) for r in request.layout if r.box]
            return plan_of(moved, request)
        nouns = re.findall(r"an? \w+", request.prompt)
        kept = {region.phrase: region.box for region in request.keep}
        step = 1 / len(nouns)
        placed = [
            Placed(noun, kept.get(noun) or (n * step, 0.2, (n + 1) * step, 0.9), pose=PEOPLE.get(noun.split()[1], ""))
            for n, noun in enumerate(nouns)
        ]
        return plan_of(placed, request, backdrop="grass" if "grass" in request.prompt else "")


class BoxesOnly(Planner):
    def plan(self, request: PlanRequest) -> Plan:
        return Plan(rc.Boxes({"a woman": (0, 0, 1, 1)}))


def _module() -> ModuleType:
    module = ModuleType("placing_test_plugin")
    toy: dict[str, Any] = {"target": "realcompo.testing.toys:ToyBranch", "options": ToyOptions, "guidance_scale": 1.0}

    @hookimpl
    def register_planners() -> list[PlannerSpec]:
        return [
            PlannerSpec(id="plan/columns", target="placing_test_plugin:Columns", summary="columns"),
            PlannerSpec(id="plan/boxes", target="placing_test_plugin:BoxesOnly", summary="boxes"),
        ]

    @hookimpl
    def register_branches() -> list[BranchSpec]:
        own = replace(TOY_TRAITS, classes=("grass", "woman"))
        return [
            BranchSpec(id="plan/pose", role="spatial", condition="keypoints", summary="toy", traits=TOY_TRAITS, **toy),
            BranchSpec(id="plan/map", role="spatial", condition="segmentation", summary="toy", traits=TOY_TRAITS, **toy),
            BranchSpec(id="plan/own-map", role="spatial", condition="segmentation", summary="toy", traits=own, **toy),
        ]

    module.__dict__.update(
        REALCOMPO_API=1, register_planners=register_planners, register_branches=register_branches, Columns=Columns, BoxesOnly=BoxesOnly
    )
    return module


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    with toys_installed("plan", _module(), monkeypatch, tmp_path) as found:
        yield found


def recipe(*spatial: str, planner: str = "plan/columns") -> dict[str, Any]:
    return {"branches": ["toy/fidelity", *spatial], "planner": planner, "num_inference_steps": 2, "device": "cpu"}


# -- what becomes of places ---------------------------------------------------------------------------------------------------


def request(*kinds: str, **more: Any) -> PlanRequest:
    return PlanRequest("a woman and a cat on grass", (64, 96), kinds=kinds, **more)


WOMAN, CAT = Placed("a woman", (0.0, 0.1, 0.5, 0.9), pose="waving"), Placed("a cat", (0.3, 0.5, 0.5, 0.9))


def test_one_layout_in_three_kinds() -> None:
    plan = plan_of([CAT, WOMAN], request("boxes", "keypoints", "segmentation"), backdrop="grass")
    boxes, pose, scene = plan.conditions
    assert [item.id for item in boxes.items] == ["a cat", "a woman"]  # type: ignore[attr-defined]
    assert [item.id for item in pose.items] == ["a woman"] and pose.size == (64, 96)  # type: ignore[attr-defined]
    assert plan.remarks == (), "the cat is in the boxes and on the map"
    assert [(s.id, s.label) for s in scene.items] == [("a woman", "person"), ("a cat", "animal")], "the large one is painted first"  # type: ignore[attr-defined]
    assert [s.label for s in scene.backdrop] == ["grass"] and scene.mask(scene.backdrop[0]).all()  # type: ignore[attr-defined]
    hint = np.asarray(draw_segments(scene, (64, 96)))  # type: ignore[arg-type]
    from realcompo.conditions.palette import ADE20K

    assert tuple(hint[45, 38]) == ADE20K["animal"] and tuple(hint[45, 10]) == ADE20K["person"] and tuple(hint[5, 90]) == ADE20K["grass"]


def test_a_pose_is_made_of_people() -> None:
    plan = plan_of([CAT, WOMAN], request("keypoints"))
    assert "'a cat'" in plan.remarks[0]
    with pytest.raises(PlanningError, match="names no person"):
        plan_of([CAT], request("keypoints"))
    with pytest.raises(PlanningError, match=r"no pose is called 'wafing'[\s\S]*waving"):
        plan_of([replace(WOMAN, pose="wafing")], request("keypoints"))


def test_a_phrase_without_a_class_is_named_with_the_nearest() -> None:
    with pytest.raises(PlanningError, match=r"'a small hause' names no class[\s\S]*did you mean 'house'"):
        plan_of([Placed("a small hause", CAT.box)], request("segmentation"))
    with pytest.raises(PlanningError, match="'a cat' names no class"):  # the branches' own classes, not ADE20K's
        plan_of([CAT], request("segmentation", classes=("cup", "dog")))
    assert plan_of([CAT], request("segmentation", classes=("cat",))).condition.items[0].label == "cat"  # type: ignore[attr-defined]


def test_a_block_covers_a_pixel_of_the_smallest_map() -> None:
    plan = plan_of([Placed("a cat", (0.995, 0.995, 1.0, 1.0))], PlanRequest("a cat", (8, 8), kinds=("segmentation",)))
    assert plan.condition.mask(plan.condition.items[0]).sum() == 1  # type: ignore[attr-defined]


# -- what stays, and what a wish moves ---------------------------------------------------------------------------------------


def test_what_stays_keeps_its_points_and_pixels() -> None:
    pose = rc.Keypoints([{"phrase": "a man", "points": {"nose": (0.61, 0.3), "neck": (0.62, 0.42)}, "id": "boss"}])
    found: Any = rc.plan("a woman and a man", keep=pose, recipe=recipe("plan/pose"))
    assert {one.id for one in found.items} == {"a woman", "boss"}
    assert next(one for one in found.items if one.id == "boss").points == pose.items[0].points
    free: Any = rc.plan("a woman and a man", recipe=recipe("plan/pose"))
    assert all(len(one.points) == 18 for one in free.items), "the control: without it the man is planned"
    scene = rc.Segmentation([{"phrase": "a cat", "polygons": [[1, 1, 6, 1, 3, 6]]}], size=(8, 8))
    kept: Any = rc.plan("a dog and a cat", keep=scene, recipe=recipe("plan/map"))
    assert kept.size == (8, 8) and next(one for one in kept.items if one.phrase == "a cat") == scene.items[0]


def test_a_wish_moves_points_and_pixels_with_their_box() -> None:
    before: Any = rc.plan("a woman and a man", recipe=recipe("plan/pose"))
    layout = rc.Keypoints([{**before.items[1].model_dump(), "id": "boss"}], size=before.size)
    after: Any = rc.revise("a man", layout, "left", recipe=recipe("plan/pose"))
    (old,), (new,) = layout.items, after.items
    assert new.id == "boss"
    for name, (x, y) in old.points.items():
        assert new.points[name] == pytest.approx((x - 0.1, y), abs=1e-6)
    mask = np.zeros((20, 20), bool)
    mask[4:12, 10:16] = mask[4:6, 4:6] = True
    from realcompo.conditions.runs import encode

    scene = rc.Segmentation([{"phrase": "a cat", "rle": encode(mask)}], size=(20, 20))
    moved: Any = rc.revise("a cat", scene, "left", recipe=recipe("plan/map"))
    assert (moved.mask(moved.items[0]) == np.roll(mask, -2, axis=1)).all(), "a tenth of 20 pixels"
    corners = rc.Segmentation([{"phrase": "a cat", "polygons": [[4, 2, 10, 2, 10, 12]]}], size=(20, 20))
    moved = rc.revise("a cat", corners, "left", recipe=recipe("plan/map"))
    assert moved.items[0].polygons[0] == pytest.approx((2, 2, 8, 2, 8, 12), abs=0.01)


def test_a_new_pose_can_be_wished_and_a_person_in_a_kept_box_stands() -> None:
    before = plan_of([WOMAN], request("keypoints")).condition
    layout = (Region("a woman", "a woman", box=before.items[0].box),)  # type: ignore[attr-defined]
    asked = request("keypoints", layout=layout, wish="let her sit", before=before)
    same = plan_of([Placed("a woman", layout[0].box)], asked)  # type: ignore[arg-type]
    assert same.condition.items[0].points == before.items[0].points  # type: ignore[attr-defined]
    sits = plan_of([Placed("a woman", layout[0].box, pose="sitting")], asked)  # type: ignore[arg-type]
    assert sits.condition.items[0].points != before.items[0].points  # type: ignore[attr-defined]
    boxed = request("keypoints", keep=layout, before=rc.Boxes({"a woman": (0.1, 0.1, 0.5, 0.9)}))
    assert len(plan_of([Placed("a woman", layout[0].box, id="a woman")], boxed).condition.items) == 1  # type: ignore[arg-type,attr-defined]


# -- end to end ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spatial", "kinds"),
    [(("plan/pose",), ["keypoints"]), (("plan/map",), ["segmentation"]), (("toy/spatial", "plan/pose"), ["boxes", "keypoints"])],
)
def test_a_recipe_draws_a_prompt_alone(spatial: tuple[str, ...], kinds: list[str], tmp_path: Path) -> None:
    made = rc.generate("a woman and a man on grass", seed=3, recipe=recipe(*spatial))
    picture = made.recipe.pictures[0]
    assert list(picture.conditions) == kinds
    assert [region.id for region in made.batch_regions.pictures[0]] == ["a woman", "a man"], "each id once, also of two kinds"
    made.image.save(tmp_path / "a.png")
    kept._kept = None
    again = rc.reproduce(tmp_path / "a.png")
    assert again.same and again.result.recipe.pictures == made.recipe.pictures
    for suffix, writer in ((".toml", to_toml), (".yaml", to_yaml), (".json", to_json)):
        assert parse_text(writer(made.recipe), suffix).pictures == made.recipe.pictures


def test_without_a_plan_there_is_a_clear_error() -> None:
    with pytest.raises(rc.errors.RealCompoError, match="has no keypoints"):
        rc.generate("a woman", recipe={**recipe("plan/pose"), "planner": None})
    with pytest.raises(PlanningError, match="planned boxes, but no keypoints"):
        rc.generate("a woman", recipe=recipe("plan/pose", planner="plan/boxes"))
    with pytest.raises(PlanningError, match="names no person"):
        rc.generate("a cat", recipe=recipe("plan/pose"))


def test_a_branch_with_its_own_classes_says_them_to_the_planner() -> None:
    found: Any = rc.plan("a woman on grass", recipe=recipe("plan/own-map"))
    assert [s.label for s in found.items] == ["woman"], "not ADE20K's person"
    with pytest.raises(PlanningError, match="'a cat' names no class"):
        rc.plan("a cat on grass", recipe=recipe("plan/own-map"))


def test_the_verbs(tmp_path: Path) -> None:
    from realcompo.cli import app

    cli: Callable[..., Result] = lambda *words: CliRunner().invoke(app, [str(word) for word in words])  # noqa: E731
    Path("base.toml").write_text(
        'branches = ["toy/fidelity", "plan/pose"]\nplanner = "plan/columns"\nnum_inference_steps = 2\ndevice = "cpu"\n'
    )
    done = cli("plan", "a woman and a man", "--recipe", "base.toml", "-o", "scene.toml", "--sheet", "sheet.png")
    assert done.exit_code == 0, done.output
    text = Path("scene.toml").read_text()
    assert "right and left are the person's own" in text and "nose = [" in text and Path("sheet.png").exists()
    assert cli("run", "scene.toml", "-o", "out", "--quiet").exit_code == 0 and list(Path("out").glob("*.png"))
    moved = cli("plan", "--revise", "scene.toml", "left", "-o", "moved.toml")
    assert moved.exit_code == 0, moved.output
    for form in ("json", "coco", "lmd"):
        told = cli("export", "scene.toml", "--to", form)
        assert told.exit_code == 2 and "it holds keypoints; layout files hold boxes" in told.output
    dry = cli("plan", "a woman", "--recipe", "base.toml", "--dry-run")
    assert dry.exit_code == 0 and '"keypoints"' in dry.output
