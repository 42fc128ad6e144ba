"""Six poses by name, for people who are planned rather than measured: a pose is angles, a build is lengths, a box says where.

The 18 points (COCO's 17 and the neck) follow from both by turning each limb about the joint that it hangs from:
p_end = p_start + length · (sin a, cos a), a from straight down and growing towards the picture's right. So one pose fits any body: `ADULT`,
or the build of the people that a model was trained on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import BadCondition, UnknownName, nearest
from .base import Box, Size
from .keypoints import OPENPOSE_18, Point

Angles = tuple[float, float]
"""Degrees of a limb's upper and lower half, from straight down; positive towards the picture's right."""


@dataclass(frozen=True)
class Pose:
    """How a body stands. Right and left are the person's own: one who faces us has the right arm at the picture's left.

    Attributes:
        right_arm, left_arm, right_leg, left_leg: angles in the picture.
        lean: degrees of the trunk and head from upright, positive towards the picture's right.
        turn: degrees by which the body is turned away from us towards the picture's right: it narrows shoulders and hips by its cosine.
        thighs: how long they look, a share: those of a person who sits facing us point at us.
    """

    right_arm: Angles
    left_arm: Angles
    right_leg: Angles
    left_leg: Angles
    lean: float = 0.0
    turn: float = 0.0
    thighs: float = 1.0


@dataclass(frozen=True)
class Build:
    """Lengths of a body as shares of the height that it stands at (any one unit will do).

    Attributes:
        head: from the neck to the nose. eyes: (aside, above) of each from the nose. ears: how far each is aside.
        shoulders, hips: half their width. drop: how far the shoulders lie below the neck.
        trunk, upper_arm, forearm, thigh, shin: from joint to joint.
        crown: from the nose to the top of the head. sole: from the ankle to the ground. flesh: around all other joints.
    """

    head: float = 0.12
    eyes: tuple[float, float] = (0.02, 0.02)
    ears: float = 0.045
    shoulders: float = 0.12
    drop: float = 0.01
    hips: float = 0.075
    trunk: float = 0.35
    upper_arm: float = 0.17
    forearm: float = 0.155
    thigh: float = 0.22
    shin: float = 0.22
    crown: float = 0.06
    sole: float = 0.03
    flesh: float = 0.03


ADULT = Build()
"""A grown person, about seven and a half heads tall."""

_LEGS: tuple[Angles, Angles] = ((-4, -3), (4, 3))

POSES: dict[str, Pose] = {
    "standing": Pose((-28, -15), (28, 15), *_LEGS),
    "waving": Pose((-28, -15), (120, 160), *_LEGS),
    "arms raised": Pose((-150, -172), (150, 172), *_LEGS),
    "sitting": Pose((-24, 12), (24, -12), (-62, -4), (62, 4), thighs=0.6),
    "walking": Pose((24, 42), (-24, -6), (-16, -32), (24, 12), lean=2, turn=45),
    "running": Pose((38, 118), (-52, 32), (-20, -76), (62, -10), lean=10, turn=55),
}
"""Name → pose. Those that go somewhere go to the picture's right."""


def pose_named(name: str) -> str:
    """The built-in pose that a name means, whatever its case and however its words are joined ("Arms_Raised").

    Raises:
        UnknownName: none; lists them, the nearest first.
    """
    plain = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    if plain not in POSES:
        raise UnknownName(f"no pose is called {name!r}", mend=nearest(plain, POSES))
    return plain


def skeleton(name: str, box: Box, size: Size = (1, 1), build: Build = ADULT) -> dict[str, Point]:
    """The 18 points of a pose in a box: name → (x, y) as shares of the picture, to four decimals.

    The body keeps its proportions: it is as large as the box allows, stands on the box's lower edge and in the middle of its width. Head,
    hands and soles stay inside, so that no point lies on the box's edge.

    Args:
        box: (x0, y0, x1, y1) in [0, 1].
        size: (height, width) of the picture, which says how shares across and down compare.

    Raises:
        UnknownName: no such pose. BadCondition: a box without area, in which all points would lie upon each other.
    """
    if box[2] <= box[0] or box[3] <= box[1]:
        raise BadCondition(
            f"{tuple(box)} has no area", where=f"the box of {name!r}", mend="write (x0, y0, x1, y1) with x0 < x1 and y0 < y1"
        )
    body = _body(POSES[pose_named(name)], build)
    xs, ys = zip(*body.values(), strict=True)
    left, right = min(xs) - build.flesh, max(xs) + build.flesh
    top = min(body["nose"][1] - build.crown, min(ys) - build.flesh)
    bottom = max(ys) + build.sole
    height, width = size
    wide, high = (box[2] - box[0]) * width, (box[3] - box[1]) * height
    scale = min(wide / (right - left), high / (bottom - top))
    middle = (box[0] + box[2]) / 2

    def placed(point: Point) -> Point:
        x = middle + (point[0] - (left + right) / 2) * scale / width
        y = box[3] - (bottom - point[1]) * scale / height
        return min(max(round(x, 4), box[0]), box[2]), min(max(round(y, 4), box[1]), box[3])  # rounding may not leave the box

    return {joint: placed(body[joint]) for joint in OPENPOSE_18}


def _body(pose: Pose, build: Build) -> dict[str, Point]:
    """Joints in the build's unit, y downward, the middle of the hips at the origin."""
    narrow, turned = math.cos(math.radians(pose.turn)), math.sin(math.radians(pose.turn))
    neck = _along((0.0, 0.0), 180 - pose.lean, build.trunk)
    head = _along(neck, 180 - pose.lean, build.head)
    face = head[0] + 0.7 * build.ears * turned  # the nose shows where a person looks
    joints: dict[str, Point] = {"neck": neck, "nose": (face, head[1])}
    for side, sign, arm, leg in (("right", -1, pose.right_arm, pose.right_leg), ("left", 1, pose.left_arm, pose.left_leg)):
        shoulder = (neck[0] + sign * build.shoulders * narrow, neck[1] + build.drop)
        elbow = _along(shoulder, arm[0], build.upper_arm)
        hip = (sign * build.hips * narrow, 0.0)
        knee = _along(hip, leg[0], build.thigh * pose.thighs)
        joints |= {f"{side}_shoulder": shoulder, f"{side}_elbow": elbow, f"{side}_wrist": _along(elbow, arm[1], build.forearm)}
        joints |= {f"{side}_hip": hip, f"{side}_knee": knee, f"{side}_ankle": _along(knee, leg[1], build.shin)}
        joints[f"{side}_eye"] = (face + sign * build.eyes[0] * narrow, head[1] - build.eyes[1])
        joints[f"{side}_ear"] = (head[0] + sign * build.ears * narrow, head[1])
    return joints


def _along(start: Point, degrees: float, length: float) -> Point:
    angle = math.radians(degrees)
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)
