"""The suite of the mini world's scenes, whose truth is known, and the scorers that judge pictures of it by the detector of scorer.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from realcompo.conditions import Boxes
from realcompo.interfaces import Case, Record, Scorer, Shot, Suite
from realcompo.interfaces.suite import pack, unpack
from realcompo_mini.compare.judge import Wanted, judge, wanted
from realcompo_mini.suite_options import SceneOptions
from realcompo_mini.train.scenes import Scene, sample_scene
from realcompo_mini.world import load_world

if TYPE_CHECKING:
    from torch import Tensor

MOMENTS = resources.files("realcompo_mini").joinpath("weights/scorer/rendered.safetensors")
"""Mean and covariance of the features of rendered scenes, written by `python -m realcompo_mini.compare moments`."""
OBJECTS = (2, 3, 4)
"""Objects a scene."""


def scenes(split: str, count: int, seed: int = 0) -> list[Scene]:
    """The first scenes of a split, 2 to 4 objects each; `seed` draws other scenes."""
    return [sample_scene(split, index, seed, counts=OBJECTS) for index in range(count)]


def boxes(objects: Sequence[Any]) -> Boxes:
    """A scene's or a plan's objects (phrase, box, span) as a condition."""
    return Boxes([{"phrase": o.phrase, "box": o.box, "span": o.span} for o in objects])


def placed(scene: Scene, shown: Scene) -> Boxes:
    """The words of a scene's objects in the boxes of another's, in turn; its own boxes where both are one scene."""
    places = [shown.objects[k % len(shown.objects)].box for k in range(len(scene.objects))]
    return Boxes([{"phrase": o.phrase, "box": box, "span": o.span} for o, box in zip(scene.objects, places, strict=True)])


def picture_seed(scene: int, noise: int) -> int:
    """One noise a scene and number, the same for every row: differences between rows are paired."""
    return 1_000_003 * noise + scene


class MiniScenes(Suite):
    """Scenes of the tuning or the test split, each with its layout; the first noise of all of them, then the second."""

    options: SceneOptions

    def cases(self, seed: int | None = None) -> list[Case]:
        told = self.options
        everything = scenes(told.split, told.count + told.shuffled, told.scene_seed)
        return [
            self._case(n, everything[n], everything[n + told.shuffled], noise, seed or 0)
            for noise in range(told.noises)
            for n in range(told.count)
        ]

    def _case(self, number: int, scene: Scene, shown: Scene, noise: int, seed: int) -> Case:
        return Case(
            id=f"{number}-{noise}",
            prompt=scene.caption,
            seed=picture_seed(number, noise + seed * self.options.noises),
            scene=f"{number}",
            kind=f"{len(scene.objects)} objects",
            conditions={"boxes": placed(scene, shown)},
            truth={"objects": [{**asdict(one), "box": list(one.box)} for one in wanted(scene)]},
            file=f"{number:04d}-{noise}",
        )


class _OfTheWorld(Scorer):
    """Its examples are pictures that the family itself draws."""

    @classmethod
    def examples(cls) -> list[Shot]:
        return list(_drawn())


class MiniJudge(_OfTheWorld):
    """What a picture holds of its scene, one detection for one object (compare/judge.py)."""

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        from realcompo_mini.scorer import detect

        return [
            {**judge([_wanted(one) for one in shot.case.truth["objects"]], found), "found": len(found)}
            for shot, found in zip(shots, detect(_sized(shots)), strict=True)
        ]


class MiniDistance(_OfTheWorld):
    """Fréchet distance of a set of pictures to rendered, held-out 3D scenes, by what the detector sees half way."""

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        from realcompo_mini.scorer import features

        return [{"features": pack(look.numpy())} for look in features(_sized(shots))]

    def whole(self, column: str, records: Sequence[Record]) -> float:
        import numpy as np
        import torch

        from realcompo_mini.scorer import frechet_to

        if len({record["features"] for record in records}) < 2:
            return math.nan  # one picture has no covariance
        return frechet_to(torch.from_numpy(np.stack([unpack(record["features"]) for record in records])), *_rendered())


def _sized(shots: Sequence[Shot]) -> list[Any]:
    """Pictures at the side that the detector reads."""
    side = load_world().side
    return [shot.image if shot.image.size == (side, side) else shot.image.resize((side, side)) for shot in shots]


def _wanted(told: Mapping[str, Any]) -> Wanted:
    x0, y0, x1, y1 = told["box"]
    return Wanted(told["kind"], told["colour"], told["pattern"], (x0, y0, x1, y1))


@lru_cache(maxsize=1)
def _rendered() -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) of the features of rendered scenes."""
    from safetensors.torch import load

    found = load(MOMENTS.read_bytes())
    return found["mean"].double(), found["covariance"].double()


@lru_cache(maxsize=1)
def _drawn() -> tuple[Shot, ...]:
    """The first scenes of the tuning split as the family draws them."""
    import realcompo as rc

    cases = MiniScenes(SceneOptions(split="tune", count=4)).cases()
    composer = rc.Composer("mini/fidelity", "mini/boxes", num_inference_steps=8, device="cpu")
    result = composer([case.prompt for case in cases], [case.conditions["boxes"] for case in cases], seed=[case.seed for case in cases])
    return tuple(Shot(case, image.convert("RGB")) for case, image in zip(cases, result.images, strict=True))
