"""Names of the points of a body, in the orders of the formats."""

from __future__ import annotations

Point = tuple[float, float]
"""(x, y) as shares of the picture's width and height, origin at the top left."""

OPENPOSE_18 = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)
"""Names in OpenPose's order. Right and left are the person's own."""

COCO_17 = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
"""Names in COCO's order."""

BODY_25 = (*OPENPOSE_18[:8], "", *OPENPOSE_18[8:], *("",) * 6)
"""OpenPose's larger set: a middle hip after the arms, and feet at the end, which no skeleton here has."""

OPENPOSE_ORDERS = {18: OPENPOSE_18, 25: BODY_25, 133: COCO_17, 134: OPENPOSE_18}
"""Points of a person → names of the first of them: 134 are DWPose's whole body with a neck, 133 without; hands, feet and faces follow."""

COCO_ORDERS = {17: COCO_17, 23: COCO_17, 26: COCO_17, 133: COCO_17, 136: COCO_17}
"""Points of a person → names of the first of them: with feet (23), Halpe's sets (26, 136), the whole body (133)."""
