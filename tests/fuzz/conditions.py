"""Conditions: as plain data of a recipe, and in the files that one names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from realcompo.conditions.named import READERS, read_named_file
from realcompo.recipes.configuration import parse_text
from realcompo.recipes.recipe import PictureEntry, Recipe, read_condition
from realcompo.recipes.writing import to_json
from realcompo.testing import toy_registry

from .mutations import Mutator, encoded, json_text
from .samples import HOSTILE, coco, openpose, sample_recipe


class Conditions:
    """Conditions in plain data, and files that a recipe names: every kind and every format that there is a reader for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "conditions"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.readers = {kind: list(forms) for kind, forms in READERS.items()}
        pixels = np.zeros((16, 16, 3), dtype=np.uint8)
        pixels[4:12, 2:9] = (150, 5, 61)  # ADE20K's person
        self.maps = [self._png(Image.fromarray(pixels)), self._png(Image.fromarray((pixels[..., 0] > 0).astype(np.uint8) * 13))]
        one = {"pose_keypoints_2d": openpose()["people"][0]["pose_keypoints_2d"]}
        self.tables = [openpose(), coco(), coco()["annotations"], {"people": [one, one], "canvas_width": 9, "canvas_height": 9}]
        self.told = {
            "keypoints": {"phrases": ["a dancer"], "size": [64, 64], "people": [0], "image_id": 1},
            "segmentation": {"phrases": {"person": "a dancer"}, "names": {"1": "wall", "13": "person"}, "image_id": 1},
        }
        self.plain = [
            (key, one) for picture in sample_recipe()["pictures"] for key, one in picture["conditions"].items() if key != "toy/spatial"
        ]

    @staticmethod
    def _png(image: Image.Image) -> bytes:
        import io

        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()

    def make(self, mutator: Mutator) -> tuple[str, Any, bytes | None, str]:
        if mutator.random.random() < 0.35:
            key, data = mutator.random.choice(self.plain)
            return key, mutator.data(data, self.plain), None, ""
        kind = mutator.random.choice(list(self.readers))
        told = dict(self.told.get(kind, {"phrases": ["a cat"]}))
        for name in [name for name in told if name != "phrases" and mutator.random.random() < 0.6]:
            del told[name]
        if mutator.random.random() < 0.5:
            told["format"] = mutator.random.choice(self.readers[kind])
        if mutator.random.random() < 0.4:
            told = mutator.data(told)
            told = told if isinstance(told, dict) else {"phrases": told}
        if kind == "segmentation" and mutator.random.random() < 0.4:
            body = mutator.random.choice(self.maps)
            return kind, told, mutator.bytes(body, self.maps[0]) if mutator.random.random() < 0.7 else body, ".png"
        table = mutator.random.choice(self.tables)
        text = json_text(mutator.data(table, self.tables), mutator)
        text = mutator.words(text, HOSTILE[".json"]) if mutator.random.random() < 0.2 else text
        return kind, told, encoded(text, mutator), ".json"

    def feed(self, sample: tuple[str, Any, bytes | None, str]) -> None:
        kind, told, body, suffix = sample
        if body is None:
            condition = read_condition(kind, told)
        else:
            path = self.folder / f"condition{suffix}"
            path.write_bytes(body)
            condition = read_named_file(kind, path, told, "scene.toml:1")
        recipe = Recipe(pictures=(PictureEntry(prompt="a dancer", conditions={condition.kind: condition}),))
        if parse_text(to_json(recipe), ".json").plain() != recipe.plain():
            raise AssertionError("the condition is another one after .json")
        toy_registry().transfer(condition.kind)(condition, (64, 64))
