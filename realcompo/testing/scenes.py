"""A suite and scorers for the toys, small enough to judge by hand: the toys paint red, green and blue into the regions, in turn."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from ..conditions import Boxes
from ..interfaces import Case, Record, Scorer, Shot, Suite
from ..specs import Options

NOUNS = ("cat", "dog", "car", "tree", "house", "boat", "apple", "bird")


class ToySceneOptions(Options):
    """Of the suite."""

    count: int = Field(6, ge=1, description="scenes")
    noises: int = Field(2, ge=1, description="noises a scene")
    placed: bool = Field(True, description="whether the layouts are known, or to be planned")


class ToyScenes(Suite):
    """Scenes of one thing or two."""

    options: ToySceneOptions

    def cases(self, seed: int | None = None) -> list[Case]:
        return [self._case(number, noise, seed or 0) for number in range(self.options.count) for noise in range(self.options.noises)]

    def _case(self, number: int, noise: int, seed: int) -> Case:
        draw = random.Random(f"toy scene {number}")
        phrases = [f"a {noun}" for noun in draw.sample(NOUNS, 1 + number % 2)]
        split = draw.uniform(0.3, 0.7)
        boxes = [(0.0, draw.uniform(0, 0.4), split, 1.0), (split, 0.0, 1.0, draw.uniform(0.6, 1))]
        return Case(
            id=f"{number}-{noise}",
            prompt=" and ".join(phrases),
            seed=1000 * seed + 100 * noise + number,
            scene=f"scene {number}",
            kind="pair" if len(phrases) > 1 else "single",
            conditions={"boxes": Boxes(list(zip(phrases, boxes, strict=False)))} if self.options.placed else {},
            truth={"things": len(phrases)},
        )


class ToyLight(Scorer):
    """Whether each region's own colour is brighter in its box than outside."""

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        return [self._one(shot) for shot in shots]

    def _one(self, shot: Shot) -> dict[str, Any]:
        pixels = np.asarray(shot.image, dtype=float)
        boxes = shot.case.conditions["boxes"]
        items = boxes.items if isinstance(boxes, Boxes) else ()
        height, width = pixels.shape[:2]
        gains = []
        for index, item in enumerate(items):
            x0, y0, x1, y1 = (round(share * side) for share, side in zip(item.box, (width, height, width, height), strict=True))
            inside = np.zeros((height, width), dtype=bool)
            inside[y0:y1, x0:x1] = True
            channel = pixels[:, :, index % 3]
            gains.append(float(channel[inside].mean() - channel[~inside].mean()) if inside.any() and not inside.all() else 0.0)
        return {"lit": sum(gain > 0 for gain in gains), "boxes": len(items), "gain": round(sum(gains), 3)}


class ToySpread(Scorer):
    """How far a set of pictures lies from grey, by the mean of their colours: a figure of many pictures."""

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        return [{"colour": np.asarray(shot.image, dtype=float).mean(axis=(0, 1)).round(3).tolist()} for shot in shots]

    def whole(self, column: str, records: Sequence[Record]) -> float:
        colours = np.array([record["colour"] for record in records])
        return float(np.abs(colours.mean(axis=0) - 127.5).sum())
