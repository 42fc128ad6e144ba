"""What ControlNets of the mini world are told: joints where the limbs are drawn, maps in the colours that the branch paints."""

from __future__ import annotations

import numpy as np
import pytest
from realcompo_mini.language import phrase_of
from realcompo_mini.palette import palette
from realcompo_mini.world import load_world

from realcompo.conditions.palette import class_of

render = pytest.importorskip("realcompo_mini.train.render")
from realcompo_mini.train.hints import class_map, paint, segmentation, skeleton  # noqa: E402
from realcompo_mini.train.people import JOINTS, POSES, SIDE  # noqa: E402
from realcompo_mini.train.poses import joints, people, pose  # noqa: E402
from realcompo_mini.train.scenes import sample_scene  # noqa: E402

from realcompo.conditions.drawing import draw_segments  # noqa: E402

WORLD = load_world()
SKIN, TROUSERS = np.array([247, 200, 160]), np.array([70, 74, 96])


def test_every_phrase_has_the_colour_of_its_kind() -> None:
    colours = palette()
    for kind in WORLD.kinds.values():
        for count in WORLD.numbers.values():
            phrase = phrase_of(kind, count, next(iter(WORLD.colours)) if kind.colourable else None, None, WORLD)
            assert colours[class_of(phrase, colours, "test")] == colours[kind.name], phrase


def test_colours_are_told_apart() -> None:
    plain = [np.array(palette()[name], float) for name in (*WORLD.kinds, *WORLD.backgrounds)]
    gaps = [np.linalg.norm(a - b) for k, a in enumerate(plain) for b in plain[k + 1 :]]
    assert min(gaps) > 50 and min(c.max() for c in plain) > 90, "and from black, which is nothing"


def test_joints_lie_on_the_limbs_that_were_drawn(sprites: dict[str, np.ndarray]) -> None:
    """By the colours of the flat sprite: noses and raised hands are skin, knees are trousers."""
    hands = 0
    for variant in range(len(POSES)):
        image = sprites[f"flat/person///{variant}"]
        h, w = image.shape[:2]
        at = dict(zip(JOINTS, joints(variant, "flat"), strict=True))
        wanted = {"nose": SKIN, "right_knee": TROUSERS, "left_knee": TROUSERS}
        wanted |= {f"{side}_wrist": SKIN for side in ("right", "left") if at[f"{side}_wrist"][1] < at[f"{side}_shoulder"][1]}
        hands += len(wanted) - 3
        for name, colour in wanted.items():
            u, v = at[name]
            seen = image[min(int(v * h), h - 1), min(int(u * w), w - 1)]
            assert seen[3] > 200 and np.abs(seen[:3].astype(int) - colour).max() < 40, (variant, name, seen)
    assert hands > 8


@pytest.mark.parametrize("look", ["3d", "outline", "cute"])
def test_each_look_cuts_its_own_silhouette(look: str) -> None:
    """A rim or a line moves the box, by its width and no more: the distance of two joints stays, in pixels of the drawing."""
    one, other = (np.array(joints(3, name)) for name in ("flat", look))
    assert np.abs(one - other).max() < 20 / (0.25 * SIDE)
    assert (other > -0.05).all() and (other < 1.05).all()


def test_a_mirrored_person_keeps_right_and_left() -> None:
    """OpenPose's right shoulder is on the picture's left of someone who faces us, mirrored or not."""
    mirrored = 0
    for k in range(40):
        scene = sample_scene("check", k, kind="person")
        for index, points in people(scene, "3d").items():
            mirrored += render.cast(scene)[1][index]
            x0, y0, x1, y1 = scene.objects[index].box
            assert points["right_shoulder"][0] < points["neck"][0] < points["left_shoulder"][0]
            assert points["right_ankle"][0] < points["left_ankle"][0]
            assert all(x0 - 0.01 <= x <= x1 + 0.01 and y0 - 0.01 <= y <= y1 + 0.01 for x, y in points.values())
    assert mirrored > 10


def test_mirroring_follows_the_picture(sprites: dict[str, np.ndarray]) -> None:
    """Each wrist lies on the person's mask in the rendered picture."""
    for k in range(30):
        scene = sample_scene("check", k, kind="person", counts=(1,))
        picture = render.render(scene, "flat", sprites)
        (points,) = people(scene, "flat").values()
        for name in ("right_wrist", "left_wrist", "right_knee", "left_knee", "neck"):
            x, y = points[name]
            assert picture.masks[0, min(int(y * 128), 127), min(int(x * 128), 127)], (k, name)


def test_scenes_of_a_kind_hold_it_and_others_are_as_they_were() -> None:
    assert all(any(o.kind == "person" for o in sample_scene("train", k, kind="person").objects) for k in range(60))
    assert sample_scene("train", 11).caption == sample_scene("train", 11, kind=None).caption
    assert {sample_scene("train", k, kind="person").objects[0].kind == "person" for k in range(60)} == {True, False}


def test_masks_alone_are_those_of_the_picture(sprites: dict[str, np.ndarray]) -> None:
    for k in range(10):
        scene = sample_scene("check", k)
        for look in ("3d", "outline"):
            assert (render.render_masks(scene, look, sprites) == render.render(scene, look, sprites).masks).all()


def test_the_map_that_trains_is_the_map_that_the_branch_draws(sprites: dict[str, np.ndarray]) -> None:
    for k in range(12):
        scene = sample_scene("check", k)
        masks = render.render_masks(scene, "3d", sprites)
        drawn = np.asarray(draw_segments(segmentation(scene, masks), (128, 128), palette()))
        assert (paint(class_map(scene, masks)) == drawn).all()


def test_no_person_is_a_black_hint() -> None:
    drawn = (sample_scene("check", k) for k in range(50))
    scene = next(scene for scene in drawn if not any(o.kind == "person" for o in scene.objects))
    assert pose(scene) is None and not skeleton(scene).any()
