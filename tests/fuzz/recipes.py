"""Recipe files, and all that is done with a recipe short of drawing."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
import yaml

from realcompo.compose.assembly import picture_regions
from realcompo.compose.composer import Composer
from realcompo.recipes.configuration import parse_text, resolve
from realcompo.recipes.recipe import Recipe
from realcompo.recipes.writing import to_json, to_toml, to_yaml, write_recipe
from realcompo.testing import toy_registry

from .mutations import Mutator, encoded, json_text
from .samples import HOSTILE, openpose, sample_recipe


class Recipes:
    """Recipe files in one format, with what they name beside them."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder, self.suffix = folder / f"recipes{suffix}", suffix
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "pose.json").write_text(json.dumps(openpose()))
        (self.folder / "base.toml").write_text("num_inference_steps = 5\n")
        (self.folder / "prompts.txt").write_text("a cat\na dog\n")
        self.registry, self.data = toy_registry(), sample_recipe()
        self.more = [{"extends": "base.toml", "prompts": {"file": "prompts.txt", "seed": 1, "each": 2}}, {"prompts": "prompts.txt"}]

    def make(self, mutator: Mutator) -> bytes:
        data = {**self.data, "pictures": mutator.random.sample(self.data["pictures"], 1)}
        if mutator.random.random() < 0.2:
            data = {**data, **mutator.random.choice(self.more)}
        if mutator.random.random() < 0.75:
            data = mutator.data(data, self.more)
        text = self.text(data, mutator)
        if mutator.random.random() < 0.4:
            text = mutator.words(text, HOSTILE[self.suffix])
        whole = encoded(text, mutator)
        return mutator.bytes(whole) if mutator.random.random() < 0.05 else whole

    def text(self, data: Any, mutator: Mutator) -> str:
        if self.suffix == ".json":
            return json_text(data, mutator)
        if self.suffix == ".yaml":
            try:
                return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=mutator.random.random() < 0.5))
            except (yaml.YAMLError, ValueError, RecursionError):
                return json_text(data, mutator)
        try:
            return tomli_w.dumps(without_none(data))
        except (TypeError, ValueError, AttributeError, RecursionError):  # what TOML cannot say
            return tomli_w.dumps(without_none(self.data))

    def feed(self, sample: bytes) -> None:
        path = self.folder / f"scene{self.suffix}"
        path.write_bytes(sample)
        found = resolve(path, registry=self.registry, folder=self.folder, user_file=self.folder / "none.toml")
        found.explain()
        use_recipe(found.recipe, self.folder, self.registry)


def use_recipe(recipe: Recipe, folder: Path, registry: Any) -> None:
    """All that is done with a recipe short of drawing: written in each format and read back equal, composed, its regions made."""
    texts = [(suffix, write(recipe)) for suffix, write in ((".toml", to_toml), (".json", to_json), (".yaml", to_yaml))]
    suffix, text = texts[zlib.crc32(texts[0][1].encode()) % 3]  # reading YAML is slow
    if parse_text(text, suffix).plain() != recipe.plain():
        raise AssertionError(f"the recipe is another one after {suffix}")
    write_recipe(recipe, folder / "written.toml", [f"Notes of {picture.prompt}" for picture in recipe.pictures])
    composer = Composer.from_recipe(recipe, registry)
    composer.remarks()
    for number, picture in enumerate(recipe.pictures[:4]):
        for m in composer.members:
            m.own_prompt(picture.prompt)
        picture_regions(composer.members, picture, composer.size, registry, f"picture {number}")


def without_none(value: Any) -> Any:
    """For TOML."""
    if isinstance(value, Mapping):
        return {str(key): without_none(one) for key, one in value.items() if one is not None}
    return [without_none(one) for one in value if one is not None] if isinstance(value, list) else value
