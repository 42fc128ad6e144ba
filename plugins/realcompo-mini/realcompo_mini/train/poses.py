"""Where the joints of a rendered person are, and the pose that tells a ControlNet so."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from realcompo.conditions import Keypoints
from realcompo.conditions.keypoints import Person
from realcompo_mini.train.people import JOINTS, POSES, SIDE, draw_person
from realcompo_mini.train.render import cast
from realcompo_mini.train.scenes import Scene
from realcompo_mini.train.sprites import in_look, outer
from realcompo_mini.world import load_world

Points = dict[str, tuple[float, float]]


@lru_cache(maxsize=256)
def joints(variant: int, look: str) -> tuple[tuple[float, float], ...]:
    """18 points (x, y) of a pose, in shares of its sprite's box: the sprite is cut to its silhouette, which each look draws its own way."""
    flat, _ = draw_person(POSES[variant], 0.0, False)
    shaded, _ = draw_person(POSES[variant], 0.0, True)
    x0, y0, x1, y1 = outer(in_look(flat, shaded)[look])
    return tuple(((x * SIDE - x0) / (x1 - x0), (y * SIDE - y0) / (y1 - y0)) for x, y in POSES[variant])


def people(scene: Scene, look: str) -> dict[int, Points]:
    """Object → joint → (x, y) in shares of the picture, of each person of a scene. Right and left are the person's own, who looks at us: a
    mirrored person's right arm is what was drawn as the left one."""
    side, (variants, flips) = load_world().side, cast(scene)
    found: dict[int, Points] = {}
    for k, o in enumerate(scene.objects):
        if o.kind != "person":
            continue
        x0, y0, x1, y1 = (round(v * side) / side for v in o.box)
        points: Points = {}
        for name, (u, v) in zip(JOINTS, joints(variants[k], look), strict=True):
            if flips[k]:
                u, name = 1 - u, _other_side(name)
            points[name] = (float(np.clip(x0 + u * (x1 - x0), 0, 1)), float(np.clip(y0 + v * (y1 - y0), 0, 1)))
        found[k] = points
    return found


def pose(scene: Scene, look: str = "3d") -> Keypoints | None:
    """The people of a scene as a condition; None where there are none."""
    side = load_world().side
    items = [
        Person(
            phrase=scene.objects[k].phrase, span=scene.objects[k].span, points={n: (round(x, 4), round(y, 4)) for n, (x, y) in p.items()}
        )
        for k, p in people(scene, look).items()
    ]
    return Keypoints(items, size=(side, side)) if items else None


def _other_side(name: str) -> str:
    if name.startswith("right_"):
        return name.replace("right_", "left_")
    return name.replace("left_", "right_")
