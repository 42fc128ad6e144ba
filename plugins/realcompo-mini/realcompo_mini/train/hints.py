"""What a rendered scene tells a ControlNet: the pose of its people, the map of its classes, drawn as the branch draws them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from realcompo.conditions import Segmentation
from realcompo.conditions.drawing import draw_skeleton
from realcompo.conditions.runs import encode
from realcompo.conditions.segmentation import Segment
from realcompo_mini.palette import palette
from realcompo_mini.train.poses import pose
from realcompo_mini.train.scenes import Scene
from realcompo_mini.world import load_world

Array = np.ndarray[Any, Any]


@cache
def classes() -> tuple[str, ...]:
    """Names of the numbers in a class map: the kinds, then the backgrounds."""
    world = load_world()
    return (*world.kinds, *world.backgrounds)


@cache
def _colours() -> Array:
    return np.array([palette()[name] for name in classes()], np.uint8)


def class_map(scene: Scene, masks: Array) -> Array:
    """(S, S) uint8 of numbers of `classes`: the objects where they are seen (N, S, S), the background elsewhere."""
    names = classes()
    numbers = np.full(masks.shape[1:], names.index(scene.background), np.uint8)
    for thing, mask in zip(scene.objects, masks, strict=True):
        numbers[mask] = names.index(thing.kind)
    return numbers


def paint(numbers: Array) -> Array:
    """A class map in its colours, (S, S, 3) uint8: what `draw_segments` makes of `segmentation`."""
    out: Array = _colours()[numbers]
    return out


def skeleton(scene: Scene, look: str = "3d") -> Array:
    """(S, S, 3) uint8: the people of a scene as the branch draws them; black where there are none."""
    side = load_world().side
    return np.asarray(draw_skeleton(pose(scene, look), (side, side)))


def segmentation(scene: Scene, masks: Array) -> Segmentation:
    """A scene's map as a condition: an object that nothing is seen of is left out."""
    side = masks.shape[1]
    items = [
        Segment(phrase=o.phrase, label=o.kind, span=o.span, rle=encode(mask))
        for o, mask in zip(scene.objects, masks, strict=True)
        if mask.any()
    ]
    rest = ~masks.any(0)
    backdrop = (Segment(label=scene.background, rle=encode(rest)),) if rest.any() else ()
    return Segmentation(items=tuple(items), backdrop=backdrop, size=(side, side))
