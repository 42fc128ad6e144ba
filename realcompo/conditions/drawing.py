"""The hint pictures that ControlNets were trained on: OpenPose's coloured skeleton, and a map of class colours. PIL and numpy."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import BadCondition
from .base import Size, check_aspect
from .keypoints import OPENPOSE_18, Keypoints
from .palette import ADE20K, NOTHING, Colour, Palette, class_of
from .segmentation import Segmentation

if TYPE_CHECKING:
    from PIL import Image

LIMBS = (
    *(("neck", "right_shoulder"), ("neck", "left_shoulder"), ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist")),
    *(("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"), ("neck", "right_hip"), ("right_hip", "right_knee")),
    *(("right_knee", "right_ankle"), ("neck", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle")),
    *(("neck", "nose"), ("nose", "right_eye"), ("right_eye", "right_ear"), ("nose", "left_eye"), ("left_eye", "left_ear")),
)
"""The 17 limbs in the order in which they are drawn: the n-th takes the n-th colour."""

HUES: tuple[Colour, ...] = tuple(
    tuple(round(255 * part) for part in colorsys.hsv_to_rgb(index / 18, 1, 1))  # type: ignore[misc]
    for index in range(18)
)
"""18 colours around the wheel, 20° apart, red first: one a limb, one a point."""

LIMB_SHADE = 0.6
"""Limbs are darker than points."""
STICK_WIDTH = 4.0
"""Half the width of a limb, and the radius of a point, in pixels of a picture whose shorter side is 512: OpenPose's ``stickwidth``."""
MAX_STICK_WIDTH = 64.0


def draw_skeleton(pose: Keypoints | None, size: Size, stick_width: float = STICK_WIDTH) -> Image.Image:
    """The people of a pose on black, (height, width) pixels; widths grow with the picture.

    Args:
        stick_width: half the width of a limb, and the radius of a point, in pixels of a picture whose shorter side is 512. What a network
            was trained on: 4 for most; some of SDXL's saw 6.

    Raises:
        BadCondition: the pose was measured on a picture of another shape, or a width that is none.
    """
    from PIL import Image, ImageDraw

    if not 0 < stick_width <= MAX_STICK_WIDTH:
        raise BadCondition(
            f"a stick width of {stick_width}", where="the drawn pose", mend=f"give more than 0 and at most {MAX_STICK_WIDTH:g}"
        )

    picture = Image.new("RGB", (size[1], size[0]))
    if pose is None:
        return picture
    check_aspect(pose.size, size, "the pose's picture")
    draw = ImageDraw.Draw(picture)
    reach = max(1.0, stick_width / 512 * min(size))
    people = [{name: (x * size[1], y * size[0]) for name, (x, y) in person.points.items()} for person in pose.items]
    for (start, end), hue in zip(LIMBS, HUES, strict=False):
        shade = tuple(int(part * LIMB_SHADE) for part in hue)
        for points in people:
            if start in points and end in points:
                draw.polygon(_spindle(points[start], points[end], reach), fill=shade)
    for name, hue in zip(OPENPOSE_18, HUES, strict=True):
        for points in people:
            if name in points:
                x, y = points[name]
                draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=hue)
    return picture


def _spindle(start: Sequence[float], end: Sequence[float], reach: float) -> list[tuple[float, float]]:
    """Corners of the ellipse whose long axis runs from start to end."""
    (ax, ay), (bx, by) = start, end
    half, angle = math.hypot(bx - ax, by - ay) / 2, math.atan2(by - ay, bx - ax)
    middle = ((ax + bx) / 2, (ay + by) / 2)
    corners = []
    for step in range(48):
        turn = math.tau * step / 48
        along, across = half * math.cos(turn), reach * math.sin(turn)
        x = middle[0] + along * math.cos(angle) - across * math.sin(angle)
        corners.append((x, middle[1] + along * math.sin(angle) + across * math.cos(angle)))
    return corners


def draw_segments(segmentation: Segmentation | None, size: Size, palette: Palette | None = None) -> Image.Image:
    """Each segment in its class's colour on black, (height, width) pixels: the backdrop first, then the items in their order.

    Args:
        palette: class → colour; ADE20K's by default.

    Raises:
        BadCondition: a segment of no class of the palette, or a map of another shape than the picture.
    """
    import numpy as np
    from PIL import Image

    if segmentation is None:
        return Image.new("RGB", (size[1], size[0]))
    check_aspect(segmentation.size, size, "the map")
    palette = ADE20K if palette is None else palette
    pixels = np.full((*segmentation.size, 3), NOTHING, dtype=np.uint8)
    for segment in (*segmentation.backdrop, *segmentation.items):
        pixels[segmentation.mask(segment)] = palette[class_of(segment.name, palette, f"segment {segment.id or segment.name!r}")]
    return Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.NEAREST)
