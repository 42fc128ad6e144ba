"""Whether objects are in their boxes, as COCO-MIG asks (Zhou et al. 2024), and the average precision of COCO.

Detections serve one object each: of a class, the assignment with the largest sum of overlaps. An object is in its box if its detection's
intersection over union reaches the option `overlap`; objects whose phrase ends in no class of the detector are not judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from realcompo.conditions import Boxes
from realcompo.interfaces import Record, Scorer, Shot
from realcompo_suites.detector import Box, Detector, Found, iou, label_of
from realcompo_suites.options import DetectorOptions

OVERLAPS = tuple(0.5 + 0.05 * step for step in range(10))
RECALLS = np.linspace(0, 1, 101)
Wanted = tuple[str, Box]


class BoxScorer(Scorer):
    """In-box rate, mean IoU and average precision."""

    options: DetectorOptions
    _detector: Detector | None = None

    @property
    def detector(self) -> Detector:
        """Loaded when first asked for."""
        if self._detector is None:
            told = self.options
            self._detector = Detector(told.model, self.device, told.threshold, told.download)
        return self._detector

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        labels = list(self.detector.labels.values())
        wanted = [_wanted(shot, labels) for shot in shots]
        found = self.detector([shot.image for shot in shots])
        return [record(some, seen, self.options.overlap) for some, seen in zip(wanted, found, strict=True)]

    def whole(self, column: str, records: Sequence[Record]) -> float:
        return average_precision(records, OVERLAPS if column == "ap" else OVERLAPS[:1])


def _wanted(shot: Shot, labels: Sequence[str]) -> list[Wanted]:
    boxes = next((one for one in shot.case.conditions.values() if isinstance(one, Boxes)), None)
    named = [(label_of(item.phrase, labels), item.box) for item in boxes.items] if boxes is not None else []
    return [(label, box) for label, box in named if label is not None]


def record(wanted: Sequence[Wanted], found: Sequence[Found], overlap: float) -> dict[str, Any]:
    """What a picture holds of its boxes, and its detections for the average precision."""
    overlaps = [0.0] * len(wanted)
    for label in {one for one, _ in wanted}:
        rows = [k for k, (one, _) in enumerate(wanted) if one == label]
        seen = [one for one in found if one.label == label]
        table = np.array([[iou(wanted[k][1], one.box) for one in seen] for k in rows]).reshape(len(rows), len(seen))
        for row, column in zip(*linear_sum_assignment(-table), strict=True):
            overlaps[rows[row]] = float(table[row, column])
    inside = sum(value >= overlap for value in overlaps)
    return {
        "objects": len(wanted),
        "in_box": inside,
        "iou": round(sum(overlaps), 6),
        "all": int(bool(wanted) and inside == len(wanted)),
        "judged": int(bool(wanted)),
        "wanted": [[label, *(round(share, 5) for share in box)] for label, box in wanted],
        "found": [[one.label, round(one.score, 5), *(round(share, 5) for share in one.box)] for one in found],
    }


def average_precision(records: Sequence[Record], overlaps: Sequence[float]) -> float:
    """COCO's AP: precision at 101 recalls, mean over overlaps and over the classes that are asked for; in [0, 1]."""
    labels = sorted({one[0] for record in records for one in record["wanted"]})
    values = [_precision(records, label, overlap) for label in labels for overlap in overlaps]
    return float(np.mean(values)) if values else math.nan


def _precision(records: Sequence[Record], label: str, overlap: float) -> float:
    """Of one class at one overlap: detections by falling score, each right if it finds a box that none before it has found."""
    total, rows = 0, []
    for record in records:
        boxes = [tuple(one[1:]) for one in record["wanted"] if one[0] == label]
        total += len(boxes)
        free = set(range(len(boxes)))
        for one in sorted((one for one in record["found"] if one[0] == label), key=lambda one: -one[1]):
            best = max(free, key=lambda k: iou(boxes[k], tuple(one[2:])), default=None)  # type: ignore[arg-type]
            right = best is not None and iou(boxes[best], tuple(one[2:])) >= overlap  # type: ignore[arg-type]
            if right and best is not None:
                free.remove(best)
            rows.append((one[1], right))
    if not rows:
        return 0.0
    rights = np.array([right for _, right in sorted(rows, key=lambda row: -row[0])])
    hits = np.cumsum(rights)
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    places = np.searchsorted(hits / total, RECALLS, side="left")
    return float(np.mean([precision[place] if place < len(precision) else 0.0 for place in places]))
