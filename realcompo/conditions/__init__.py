"""Conditions C: what a spatial branch is told, as validated data. Every kind is a `Condition` with a `kind`.

Each file imports from those above it only; what reads files gives plain data, and knows no kind.

    base.py           the class of all kinds, checks, remarks
    values.py         numbers and ids as files write them
    files.py          bounded reading of JSON and maps, which are not trusted
    runs.py           run-length codes of masks
    palette.py        ADE20K: 150 classes and their colours
    joints.py         names of a body's points, in the formats' orders
    coco.py           COCO's tables
    poses.py          files of poses: OpenPose and its like, COCO, whole bodies
    measuring.py      their points as shares of the picture
    mending.py        colour maps that JPEG or a resize has mixed
    mapping.py        colour maps, index maps and COCO's segments
    boxes.py          boxes with phrases
    keypoints.py      people with phrases
    segmentation.py   segments with phrases
    hint.py           a picture that is shown as it is
    skeletons.py      six poses by name
    moving.py         parts that go with their box
    drawing.py        the hint pictures that ControlNets were trained on
    named.py          files that a recipe names, by kind and format

No torch; numpy and PIL on first use.
"""

from __future__ import annotations

from .base import ASPECT_TOLERANCE, Box, Condition, Size, check_aspect
from .boxes import Boxes, BoxItem
from .hint import HINTS, Hint
from .keypoints import Keypoints, Person
from .segmentation import Segment, Segmentation

KINDS: dict[str, type[Condition]] = {cls.kind: cls for cls in (Boxes, Keypoints, Segmentation, Hint)}
"""The kinds that a recipe file can hold, by name."""

__all__ = [
    "ASPECT_TOLERANCE",
    "HINTS",
    "KINDS",
    "Box",
    "BoxItem",
    "Boxes",
    "Condition",
    "Hint",
    "Keypoints",
    "Person",
    "Segment",
    "Segmentation",
    "Size",
    "check_aspect",
]
