"""What a ControlNet sees of a condition: a picture, drawn in the way that its checkpoint was trained on."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from ..conditions import Condition, Hint, Keypoints, Segmentation
from ..conditions.drawing import draw_segments, draw_skeleton
from ..errors import BadCondition
from ..specs import BranchSpec


def draw_hint(
    condition: Condition | None,
    spec: BranchSpec,
    size: tuple[int, int],
    stick_width: float,
    palette: Mapping[str, tuple[int, int, int]] | None = None,
) -> Image.Image:
    """RGB, (height, width) pixels; black where there is no condition.

    Args:
        spec: whose condition it is.
        stick_width: of skeletons (option `stick_width`).
        palette: of segments; ADE20K's if None.

    Raises:
        BadCondition: another kind of condition than the branch takes, a class without a colour, or one of another shape than the picture.
    """
    if condition is None:
        return Image.new("RGB", (size[1], size[0]))
    if condition.kind == spec.condition:
        if isinstance(condition, Keypoints):
            return draw_skeleton(condition, size, stick_width)
        if isinstance(condition, Segmentation):
            return draw_segments(condition, size, palette)
        if isinstance(condition, Hint):
            return condition.image(size)
    raise BadCondition(f"{spec.id} takes {spec.condition}, not {condition.kind}", mend="give the branch its own kind of condition")
