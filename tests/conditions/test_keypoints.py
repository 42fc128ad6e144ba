"""Keypoints: formats, bad input, the drawn skeleton, regions, recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import realcompo as rc
from realcompo.builtin.options import KeypointTransferOptions
from realcompo.builtin.transfers import KeypointTransfer
from realcompo.conditions import KINDS, Keypoints
from realcompo.conditions.drawing import HUES, LIMBS, draw_skeleton
from realcompo.conditions.keypoints import COCO_17, OPENPOSE_18
from realcompo.errors import BadCondition, RealCompoError
from realcompo.recipes.configuration import resolve
from realcompo.recipes.recipe import PictureEntry, Recipe, dump_condition, read_condition
from realcompo.recipes.writing import write_recipe

POINTS = {"nose": (0.5, 0.1), "neck": (0.5, 0.25), "right_shoulder": (0.4, 0.25), "left_shoulder": (0.6, 0.25), "left_hip": (0.55, 0.6)}


def coco(width: int = 200, height: int = 100, **points: tuple[float, float]) -> dict[str, Any]:
    """COCO's JSON of two people, the second with one visible point."""
    numbers = [part for name in COCO_17 for part in ((*points[name], 2) if name in points else (0, 0, 0))]
    one = [0.0] * 51
    one[:3] = [20, 30, 1]
    rows = [{"image_id": 7, "keypoints": numbers}, {"image_id": 7, "keypoints": one}]
    return {"images": [{"id": 7, "width": width, "height": height}], "annotations": rows, "categories": []}


def openpose(count: int = 18, **more: Any) -> dict[str, Any]:
    numbers = [0.0] * (3 * count)
    numbers[:6] = [100, 20, 0.9, 100, 40, 0.8]  # nose, neck
    hip = 8 if count == 18 else 9
    numbers[3 * hip : 3 * hip + 3] = [90, 80, 0.5]  # right hip
    return {"people": [{"pose_keypoints_2d": numbers}], **more}


# -- formats -------------------------------------------------------------------------------------------------------------------


def test_coco_gives_shares_and_a_neck(tmp_path: Path) -> None:
    data = coco(left_shoulder=(100, 30), right_shoulder=(50, 50), nose=(60, 10))
    pose = Keypoints.from_coco(data, ["a dancer", "a runner"])
    assert pose.size == (100, 200)
    assert pose.items[0].points == {"nose": (0.3, 0.1), "neck": (0.375, 0.4), "right_shoulder": (0.25, 0.5), "left_shoulder": (0.5, 0.3)}
    assert pose.items[1].points == {"nose": (0.1, 0.3)}, "a labelled point that something hides is there"
    (tmp_path / "pose.json").write_text(json.dumps(data))
    assert Keypoints.from_coco(tmp_path / "pose.json", ["a dancer", "a runner"], image_id=7) == pose
    results = data["annotations"]
    assert Keypoints.from_coco(results, ["a dancer", "a runner"], size=(100, 200)) == pose
    assert Keypoints.from_coco(data, ["a runner"], people=[1]).items[0].points == {"nose": (0.1, 0.3)}


@pytest.mark.parametrize("count", [18, 25])
def test_openpose_of_18_and_25_points(count: int) -> None:
    wanted = {"nose": (0.5, 0.2), "neck": (0.5, 0.4), "right_hip": (0.45, 0.8)}
    assert Keypoints.from_openpose(openpose(count), ["a dancer"], size=(100, 200)).items[0].points == wanted
    stated = Keypoints.from_openpose(openpose(count, canvas_width=200, canvas_height=100), ["a dancer"])
    assert stated.items[0].points == wanted and stated.size == (100, 200)


def test_plain_data_reads_back_equal() -> None:
    pose = Keypoints([("dancers", POINTS), ("dancers", {"nose": (0.9, 0.1)})], size=(100, 200))
    assert [person.id for person in pose.items] == ["dancers", "dancers#2"]
    plain = json.loads(json.dumps(dump_condition(pose)))
    assert read_condition("keypoints", plain) == pose and KINDS["keypoints"] is Keypoints is rc.Keypoints
    assert read_condition("keypoints", {"a dancer": {"nose": [0.5, 0.1]}}).items[0].phrase == "a dancer"  # type: ignore[attr-defined]
    entry = PictureEntry(prompt="dancers", conditions={"keypoints": pose})
    assert PictureEntry(**entry.model_dump_plain()) == entry


@pytest.mark.parametrize("suffix", [".toml", ".yaml", ".json"])
def test_recipes_carry_poses(tmp_path: Path, suffix: str) -> None:
    pose = Keypoints([("dancers", POINTS), ("dancers", {"nose": (0.9, 0.1)})], size=(100, 200))
    recipe = Recipe(
        branches=("sd/v1-5", "controlnet/pose-sd15"), pictures=(PictureEntry(prompt="dancers", conditions={"keypoints": pose}),)
    )
    file = tmp_path / f"scene{suffix}"
    write_recipe(recipe, file)
    assert resolve(file, folder=tmp_path, user_file=tmp_path / "none").recipe.pictures[0].conditions == {"keypoints": pose}


def test_a_recipe_may_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "pose.json").write_text(json.dumps(coco(nose=(60, 10), left_hip=(80, 90))))
    text = 'branches = ["sd/v1-5", "controlnet/pose-sd15"]\n[[pictures]]\nprompt = "a dancer"\n[pictures.conditions.keypoints]\n{}\n'
    scene = tmp_path / "scene.toml"

    def read(lines: str) -> Any:
        scene.write_text(text.format(lines))
        return resolve(scene, folder=tmp_path, user_file=tmp_path / "none").recipe.pictures[0].conditions["keypoints"]

    assert read('file = "pose.json"\nphrases = ["a dancer"]\npeople = [0]').items[0].points == {"nose": (0.3, 0.1), "left_hip": (0.4, 0.9)}
    for lines, said in (
        ('file = "../pose.json"\nphrases = ["a dancer"]', "leads outside"),
        ('file = "/etc/passwd"\nphrases = ["a dancer"]', "is not relative"),
        ('file = "gone.json"\nphrases = ["a dancer"]', "there is no such file"),
        ('file = "pose.json"\nphrases = ["a dancer"]', "person 1 has no phrase: 1 phrases for 2 people"),
        ('file = "pose.json"\nwords = ["a dancer"]', "has no 'words'"),
        ('file = "pose.json"\nformat = "bvh"', "no format of keypoints is called 'bvh'"),
        ('file = "pose.json"', "cannot be read as coco"),
        ('file = "scene.toml"\nphrases = ["a dancer"]', "it is no JSON"),
    ):
        with pytest.raises(RealCompoError, match=said):
            read(lines)


# -- bad input -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Keypoints({"a dancer": {}}), r"person 0 \('a dancer'\): a pose with no visible keypoint"),
        (lambda: Keypoints([(" ", POINTS)]), "a person without a phrase"),
        (lambda: Keypoints([{"points": POINTS}]), "a person without a phrase"),
        (lambda: Keypoints({"a dancer": {"nos": (0.1, 0.1)}}), "no keypoint is called 'nos'\n.*'nose'"),
        (lambda: Keypoints({"a dancer": {"nose": (120, 40)}}), r"nose: point \(120, 40\) lies outside the picture\n.*divide pixels"),
        (lambda: Keypoints({"a dancer": {"nose": (float("nan"), 0)}}), "not finite"),
        (lambda: Keypoints([("a", POINTS)] * 65), "65 people"),
        (lambda: Keypoints([{"phrase": "a", "points": POINTS, "id": "x"}] * 2), "'x' is used twice"),
        (lambda: Keypoints.from_coco(coco(), ["a", "b"]), "2 phrases for 1 people .1 more have no visible point: 0."),
        (lambda: Keypoints.from_coco(coco(nose=(1, 1)), ["a"]), "person 1 has no phrase"),
        (lambda: Keypoints.from_coco(coco(nose=(1, 1)), ["a", "b", "c"]), "3 phrases for 2 people"),
        (lambda: Keypoints.from_coco(coco(nose=(1, 1)), ["a", "b"], image_id=8), "it holds no picture 8"),
        (lambda: Keypoints.from_coco({"annotations": [{"image_id": 1}, {"image_id": 2}]}, ["a"]), "it holds 2 pictures"),
        (lambda: Keypoints.from_coco([{"image_id": 1, "keypoints": [5, 5, 2] * 17}], ["a"]), "in pixels, and nothing says of what size"),
        (lambda: Keypoints.from_coco(openpose(), ["a"]), "it is not COCO's data"),
        (lambda: Keypoints.from_openpose(coco(), ["a"]), "it has no list of people"),
        (lambda: Keypoints.from_openpose({"people": [{"pose_keypoints_2d": [1, 1, 1] * 17}]}, ["a"]), "17 keypoints"),
        (lambda: Keypoints.from_openpose({"people": [{"pose_keypoints_2d": ["x"] * 54}]}, ["a"]), "a list of numbers"),
        (lambda: Keypoints.from_openpose({"people": [3]}, ["a"]), "a table was expected"),
        (lambda: Keypoints.from_openpose(openpose(), "a", size=(9, 9)), "a list of texts"),
    ],
)
def test_bad_poses_are_named(make: Any, said: str) -> None:
    with pytest.raises(BadCondition, match=said):
        make()


def test_another_shape_is_refused() -> None:
    pose = Keypoints({"a dancer": POINTS}, size=(100, 200))
    for use in (lambda size: KeypointTransfer()(pose, size), lambda size: draw_skeleton(pose, size)):
        use((512, 1024))
        with pytest.raises(BadCondition, match=r"200×100 pixels \(2.000 : 1\), the picture 512×512 \(1.000 : 1\)"):
            use((512, 512))


# -- drawing and regions -------------------------------------------------------------------------------------------------------


def test_the_skeleton_has_openposes_colours() -> None:
    """Points in the n-th colour, limbs in the n-th at 0.6, where they are, and nothing else; widths grow with the picture."""
    pose = Keypoints({"a dancer": {"neck": (0.5, 0.2), "right_shoulder": (0.25, 0.2), "nose": (0.5, 0.05)}})
    for side in (256, 512, 1024):
        pixels = np.asarray(draw_skeleton(pose, (side, side)))
        at = {name: tuple(pixels[round(y * side), round(x * side)]) for name, (x, y) in pose.items[0].points.items()}
        assert at == {name: HUES[OPENPOSE_18.index(name)] for name in at}
        limb = LIMBS.index(("neck", "right_shoulder"))
        assert tuple(pixels[round(0.2 * side), round(0.375 * side)]) == tuple(int(0.6 * part) for part in HUES[limb])
        thick = int((pixels[:, round(0.375 * side)].sum(axis=1) > 0).sum())
        assert thick == pytest.approx(8 * side / 512, abs=2)
    assert HUES[:3] == ((255, 0, 0), (255, 85, 0), (255, 170, 0)) and HUES[-1] == (255, 0, 85) and len(set(HUES)) == 18
    assert not np.asarray(draw_skeleton(None, (64, 64))).any()


def test_a_person_is_the_rectangle_of_the_points() -> None:
    pose = Keypoints([("a dancer", POINTS), ("a runner", {"nose": (1.0, 0.0)})])
    dancer, runner = KeypointTransfer()(pose, (512, 512))
    assert (dancer.id, dancer.phrase, dancer.box) == ("a dancer", "a dancer", (0.4, 0.1, 0.6, 0.6))
    assert runner.box == pytest.approx((0.98, 0.0, 1.0, 0.02)), "one point has no area: it is given some, inside the picture"
    wide = KeypointTransfer(KeypointTransferOptions(margin=0.1))(pose, (512, 512))[0]
    assert wide.box == pytest.approx((0.38, 0.05, 0.62, 0.65))


def test_recipes_name_a_transfer_with_options(tmp_path: Path) -> None:
    from realcompo.compose.assembly import picture_regions
    from realcompo.recipes.members import Member
    from realcompo.recipes.recipe import BranchEntry
    from realcompo.registry import installed
    from realcompo.specs import BranchSpec

    spec = installed().find(BranchSpec, "controlnet/pose-sd15")
    picture = PictureEntry(prompt="a dancer", conditions={"keypoints": Keypoints({"a dancer": POINTS})})

    def box(transfer: Any) -> Any:
        entry = BranchEntry(name=spec.id, transfer=transfer)
        assert spec.traits is not None
        member = Member(entry, spec, spec.traits, "spatial")
        return picture_regions([member], picture, (512, 512), installed(), "picture 0")[0][0].box

    assert box(None) == box("core/keypoints") == (0.4, 0.1, 0.6, 0.6)
    assert box({"name": "core/keypoints", "options": {"margin": 0.1}}) == pytest.approx((0.38, 0.05, 0.62, 0.65))
    with pytest.raises(RealCompoError, match="takes boxes, its condition is keypoints"):
        box("core/boxes")
    with pytest.raises(RealCompoError, match="margn"):
        resolve(
            {"branches": ["sd/v1-5", {"name": spec.id, "transfer": {"name": "core/keypoints", "options": {"margn": 1}}}]}, folder=tmp_path
        )
