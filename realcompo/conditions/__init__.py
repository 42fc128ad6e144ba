"""Conditions C: what a spatial branch is told, as validated data. Every kind is a `Condition` with a `kind`.

    boxes.py          boxes with phrases
    keypoints.py      people with phrases: OpenPose-18, COCO-17 and their JSON files
    segmentation.py   segments with phrases: colour maps, index maps, COCO RLE and polygons
    palette.py        ADE20K: 150 classes and their colours
    runs.py           run-length codes of masks
    drawing.py        the hint pictures that ControlNets were trained on
    files.py          files of conditions, which are not trusted

No torch; numpy and PIL on first use.
"""

from __future__ import annotations

from .base import ASPECT_TOLERANCE, Box, Condition, Size, check_aspect
from .boxes import Boxes, BoxItem
from .keypoints import Keypoints, Person
from .segmentation import Segment, Segmentation

KINDS: dict[str, type[Condition]] = {cls.kind: cls for cls in (Boxes, Keypoints, Segmentation)}
"""The kinds that a recipe file can hold, by name."""

__all__ = [
    "ASPECT_TOLERANCE",
    "KINDS",
    "Box",
    "BoxItem",
    "Boxes",
    "Condition",
    "Keypoints",
    "Person",
    "Segment",
    "Segmentation",
    "Size",
    "check_aspect",
]
