"""Poses as other programs write them: each guards a kind of file that was misread or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from realcompo.conditions import Keypoints
from realcompo.conditions.drawing import draw_skeleton
from realcompo.conditions.joints import OPENPOSE_18
from realcompo.errors import BadCondition, Mended, RealCompoError

PIXELS = [[100 + 5 * n, 50 + 20 * n] for n in range(18)]
SHARES = [[0.2 + 0.02 * n, 0.1 + 0.04 * n] for n in range(18)]
CANVAS = {"canvas_width": 512, "canvas_height": 512}


def flat(points: Any, sure: Any = 1.0) -> list[Any]:
    return [number for x, y in points for number in (x, y, sure)]


def file(*people: Any, **more: Any) -> dict[str, Any]:
    return {**CANVAS, "people": [{"pose_keypoints_2d": one} for one in people], **more}


def read(data: Any, *phrases: str, **more: Any) -> Keypoints:
    return Keypoints.from_openpose(data, phrases or ["a dancer"], **more)


WANTED = read(file(flat(PIXELS))).items[0].points


def test_shares_beside_a_canvas_are_no_figure_in_the_corner() -> None:
    for points in (SHARES, [*SHARES[:17], [1.4, 1.05]], [*SHARES[:17], [37.2, 4.0]]):
        with np.testing.suppress_warnings() as quiet:
            quiet.filter(Mended)
            found = read(file(flat(points))).items[0].points
        assert found["nose"] == pytest.approx((0.2, 0.1)) and found["right_ankle"] == pytest.approx((0.4, 0.5))
    centred = [[2 * x - 1, 2 * y - 1] for x, y in SHARES]
    with pytest.warns(Mended, match="-1 to 1"):
        assert read(file(flat(centred))).items[0].points["nose"] == pytest.approx((0.2, 0.1))
    assert read(file(flat(SHARES), canvas_width=1, canvas_height=1)).size is None, "a canvas of one pixel says that they are shares"


@pytest.mark.parametrize(
    "data",
    [
        [file(flat(PIXELS))],
        [[file(flat(PIXELS))]],
        {"frames": [file(flat(PIXELS))]},
        {"width": 512, "height": 512, "keypoints": [PIXELS]},
        {"width": "512", "height": "512", "keypoints": PIXELS},
        {"width": 512, "height": 512, "keypoints": [[{"x": x, "y": y} for x, y in PIXELS]]},
        file([str(one) for one in flat(PIXELS)]),
        file(flat(PIXELS, None)),
        file(PIXELS),
        {**CANVAS, "people": [{"pose_keypoints": flat(PIXELS), "face_keypoints_2d": None, "hand_left_keypoints_2d": []}]},
        {**CANVAS, "bodies": {"candidate": PIXELS, "subset": [[*range(18), 9.5, 18]]}, "hands": [], "faces": []},
        file(flat(PIXELS + [[1, 2]] * 116)),
    ],
)
def test_other_forms_are_the_same_pose(data: Any) -> None:
    assert read(data).items[0].points == WANTED


@pytest.mark.parametrize("nothing", [None, [], [0.0] * 54, [None] * 18, flat(PIXELS, 0)])
def test_people_without_points_are_left_out(nothing: Any) -> None:
    with pytest.warns(Mended, match="left out: 0"):
        assert read(file(nothing, flat(PIXELS))).items[0].points == WANTED
    with pytest.raises(BadCondition, match="nobody"):
        read(file(nothing))
    with pytest.raises(BadCondition, match="no visible keypoint"):
        read(file(nothing, flat(PIXELS)), people=[0])


@pytest.mark.parametrize(
    "hidden", [[None, None, 1], [0, 0, 1], [float("nan"), 5, 1], [5, float("inf"), 1], [5, 5, 0], [5, 5, float("nan")]]
)
def test_points_that_are_none_are_hidden(hidden: Any) -> None:
    assert set(read(file([*hidden, *flat(PIXELS[1:])])).items[0].points) == set(OPENPOSE_18[1:])


def test_points_outside_are_hidden_and_most_of_them_refused() -> None:
    outside = [*PIXELS[:10], [220, 530], *PIXELS[11:13], [260, 541], *PIXELS[14:17], [100, 512.4]]
    with pytest.warns(Mended, match="2 of 18 points lie outside the picture and are hidden .*right_ankle, left_ankle"):
        found = read(file(flat(outside))).items[0].points
    assert len(found) == 16 and found["left_ear"][1] == 1.0, "half a pixel is rounding"
    with pytest.raises(BadCondition, match="of its 18 points lie outside of a picture of 64×64"):
        read(file(flat(PIXELS), canvas_width=64, canvas_height=64))


def test_frames_are_asked_for() -> None:
    two = [file(flat(SHARES)), file(flat(PIXELS))]
    assert read(two, frame=1).items[0].points == WANTED
    for more, said in (({}, "2 frames\n.*frame = 0 to 1"), ({"frame": 2}, "no frame 2")):
        with pytest.raises(BadCondition, match=said):
            read(two, **more)
    with pytest.raises(BadCondition, match="no frame 3"):
        read(two[0], frame=3)
    with pytest.raises(BadCondition, match="no frame"):
        read([])


def test_whole_bodies_and_predictions_of_mmpose() -> None:
    body = [[100 + n, 50 + 2 * n] for n in range(133)]
    images = [{"id": "7", "width": "512", "height": 512.0}]
    coco = {"images": images, "annotations": [{"image_id": 7, "keypoints": flat(body, 2)}]}
    wanted = Keypoints.from_coco(coco, ["a dancer"], image_id=7).items[0].points
    assert wanted["left_ankle"] == (115 / 512, 80 / 512) and "neck" in wanted and len(wanted) == 18
    for count in (17, 23, 26, 136):
        more = {**coco, "annotations": [{"image_id": "7", "keypoints": flat((body + body)[:count], 2)}]}
        assert Keypoints.from_coco(more, ["a dancer"]).items[0].points == wanted
    person = {"keypoints": body, "keypoint_scores": [0.9] * 15 + [0.1] * 118}
    for data in ([person], [[person]], {"instance_info": [{"frame_id": 0, "instances": [person]}]}):
        found = Keypoints.from_coco(data, ["a dancer"], size=(512, 512), confidence=0.3).items[0].points
        assert "left_ankle" not in found and found["nose"] == wanted["nose"]


@pytest.mark.parametrize(
    "data",
    [
        None,
        3,
        "x.json",
        {},
        [],
        [3],
        {"people": 3},
        {"people": [[1]]},
        file([[1, [2]]] * 18),
        file({"x": 1}),
        file([1, 2]),
        file([True] * 7),
        file(["x", 1, 1] * 18),
        {"bodies": {"candidate": [], "subset": [[5]]}},
        {"keypoints": [[[[]]]]},
        file([10**400] * 54),
    ],
)
def test_bad_files_are_errors_of_ours(data: Any) -> None:
    for reader in (Keypoints.from_openpose, Keypoints.from_coco):
        with pytest.raises(RealCompoError):
            reader(data, ["a dancer"])


def test_the_width_of_the_skeleton() -> None:
    pose = Keypoints({"a dancer": {"nose": (0.5, 0.2), "neck": (0.5, 0.5)}})
    wide = [int((np.asarray(draw_skeleton(pose, (512, 512), width))[180].max(axis=1) > 0).sum()) for width in (4, 12)]
    assert wide[0] == pytest.approx(8, abs=2) and wide[1] == pytest.approx(24, abs=3)
    for width in (0, -1, 1e9, float("nan")):
        with pytest.raises(BadCondition, match="stick width"):
            draw_skeleton(pose, (64, 64), width)
