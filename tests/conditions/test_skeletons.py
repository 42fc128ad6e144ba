"""The six built-in poses: what anyone would say of each, for every build and box; and who is a person."""

from __future__ import annotations

from math import hypot

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realcompo.conditions import Keypoints
from realcompo.conditions.drawing import draw_skeleton
from realcompo.conditions.keypoints import COCO_17, OPENPOSE_18
from realcompo.conditions.palette import is_person
from realcompo.conditions.skeletons import ADULT, POSES, Build, pose_named, skeleton
from realcompo.errors import UnknownName
from tests import examples

CHILD = Build(head=0.125, ears=0.075, shoulders=0.085, trunk=0.26, upper_arm=0.115, forearm=0.105, thigh=0.17, shin=0.17, crown=0.167)
SIZES = ((512, 512), (512, 768), (96, 40))
NAMES = ("standing", "waving", "sitting", "walking", "running", "arms raised")

FACTS: dict[str, tuple[list[str] | None, list[bool], bool | None]] = {
    "standing": ([], [False, False], False),
    "waving": (["left"], [False, False], False),
    "arms raised": (["left", "right"], [False, False], False),
    "sitting": ([], [True, True], None),
    "walking": ([], [False, False], True),
    "running": (None, [True, False], True),
}
"""Labelled by hand, of each pose: the hands above the shoulders; whether the left and the right knee is about as high as its hip; whether
the feet are wider apart than the shoulders. None: it may be so or not."""


Box = tuple[float, float, float, float]


def pixels(name: str, size: tuple[int, int], build: Build, box: Box = (0, 0, 1, 1)) -> dict[str, tuple[float, float]]:
    return {joint: (x * size[1], y * size[0]) for joint, (x, y) in skeleton(name, box, size, build).items()}


def test_there_are_these_six() -> None:
    assert set(POSES) == set(NAMES)


@pytest.mark.parametrize("build", [ADULT, CHILD], ids=["adult", "child"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_what_a_pose_is(name: str, size: tuple[int, int], build: Build) -> None:
    at = pixels(name, size, build)
    raised, seated, stride = FACTS[name]
    assert set(at) == set(OPENPOSE_18) and set(COCO_17) <= set(at)
    hands = [side for side in ("left", "right") if at[f"{side}_wrist"][1] < at[f"{side}_shoulder"][1]]
    assert raised is None or hands == raised
    trunk = at["left_hip"][1] - at["neck"][1]
    assert [(at[f"{side}_knee"][1] - at[f"{side}_hip"][1]) / trunk < 0.4 for side in ("left", "right")] == seated
    for side in ("left", "right"):
        assert at[f"{side}_ankle"][1] > at[f"{side}_knee"][1] > at[f"{side}_hip"][1] > at[f"{side}_shoulder"][1]
        assert at["nose"][1] < at[f"{side}_shoulder"][1] and at[f"{side}_eye"][1] < at["nose"][1]
    apart = abs(at["left_ankle"][0] - at["right_ankle"][0])
    assert stride is None or (apart > 1.2 * 2 * build.shoulders / build.trunk * trunk) == stride
    if name == "arms raised":
        assert max(at["left_wrist"][1], at["right_wrist"][1]) < at["nose"][1], "over the head"
    if name in ("standing", "waving", "arms raised", "sitting"):
        assert at["right_shoulder"][0] < at["neck"][0] < at["left_shoulder"][0], "who faces us has the right arm at our left"


@pytest.mark.parametrize("name", NAMES)
def test_a_body_keeps_its_proportions_in_any_box(name: str) -> None:
    """The thigh is as long beside the trunk in a flat box as in a tall one: nobody is stretched."""
    ratios = set()
    for size, box in (((512, 512), (0.0, 0.0, 1.0, 1.0)), ((512, 512), (0.1, 0.1, 0.9, 0.4)), ((300, 900), (0.5, 0.0, 0.6, 1.0))):
        at = pixels(name, size, ADULT, box)
        trunk = hypot(at["neck"][0] - sum(at[f"{s}_hip"][0] for s in ("left", "right")) / 2, at["neck"][1] - at["left_hip"][1])
        thigh = hypot(at["left_knee"][0] - at["left_hip"][0], at["left_knee"][1] - at["left_hip"][1])
        ratios.add(round(thigh / trunk, 2))
    assert max(ratios) - min(ratios) < 0.03, ratios


SHARES = st.floats(0, 1, allow_nan=False)


@settings(max_examples=examples(200))
@given(
    name=st.sampled_from(NAMES),
    corners=st.tuples(SHARES, SHARES, SHARES, SHARES).filter(lambda c: abs(c[0] - c[2]) > 1e-3 and abs(c[1] - c[3]) > 1e-3),
    size=st.tuples(st.integers(8, 2048), st.integers(8, 2048)),
    build=st.sampled_from([ADULT, CHILD]),
)
def test_every_joint_lies_in_its_box(name: str, corners: tuple[float, ...], size: tuple[int, int], build: Build) -> None:
    x0, x1 = sorted((corners[0], corners[2]))
    y0, y1 = sorted((corners[1], corners[3]))
    points = skeleton(name, (x0, y0, x1, y1), size, build)
    assert all(x0 <= x <= x1 and y0 <= y <= y1 for x, y in points.values())
    pose = Keypoints([("someone", points)], size=size)  # a condition takes it
    xs, ys = zip(*points.values(), strict=True)
    filled = max((max(xs) - min(xs)) / (x1 - x0), (max(ys) - min(ys)) / (y1 - y0))
    assert filled > 0.6 or min(x1 - x0, y1 - y0) < 0.01, "as large as the box allows"
    if max(size) < 128:
        assert draw_skeleton(pose, size).getbbox() is not None


def test_names_are_read_kindly_and_a_wrong_one_is_told() -> None:
    assert pose_named(" Arms_Raised ") == pose_named("arms-raised") == "arms raised"
    with pytest.raises(UnknownName, match=r"no pose is called 'wavin'[\s\S]*did you mean 'waving'\?[\s\S]*arms raised, running, sitting"):
        skeleton("wavin", (0, 0, 1, 1))


def test_who_is_a_person() -> None:
    assert all(is_person(words) for words in ("a woman", "two young men", "people", "a red person", "a dancer"))
    assert not any(is_person(words) for words in ("an apple", "a cat", "a red car", "three trees"))
    assert is_person("an apple") is False and is_person("a plumber") is None, "what is not known is not denied"
