"""Inputs that are right but for their size: as much as a reader's limit lets in, of what could take time or memory that grows faster."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from realcompo.plans.layouts import read_layouts
from realcompo.recipes.configuration import resolve
from realcompo.testing import toy_registry
from realcompo.toolkit import UNetOptions, open_checkpoint

from .mutations import Mutator

ONE = '{"phrase": "a cat", "box": [0, 0, 1, 1]}'
PLAIN = f'{{"prompt": "a cat", "objects": [{ONE}]}}'


def _many(before: str, one: str, count: int, after: str) -> str:
    return before + ", ".join([one] * count) + after


def _boxes(count: int) -> str:
    return _many(
        '{"branches": ["toy/fidelity", "toy/spatial"], "pictures": [{"prompt": "a cat", "conditions": {"boxes": [', ONE, count, "]}}]}"
    )


def _coco(images: int, annotations: int) -> str:
    row = '{"image_id": %d, "category_id": 1, "bbox": [0, 0, 4, 4]}'
    rows = ", ".join(row % (n % images) for n in range(annotations))
    heads = ", ".join(f'{{"id": {n}, "width": 8, "height": 8}}' for n in range(images))
    return f'{{"images": [{heads}], "annotations": [{rows}], "categories": [{{"id": 1, "name": "a cat"}}]}}'


def _named(count: int) -> str:
    """YAML whose pictures each name a file: each is told with its line."""
    one = "- {prompt: x, conditions: {keypoints: {file: pose.json, phrases: [a runner]}}}\n"
    return "branches: [toy/fidelity, toy/spatial]\npictures:\n" + one * count


FLOODS: Mapping[str, tuple[str, Callable[[int], str]]] = {
    "equal boxes": (".json", lambda scale: _boxes(200 * scale)),
    "set": (".toml", lambda scale: "".join(f'set."a{n}" = 1\n' for n in range(400 * scale))),
    "unset": (".toml", lambda scale: _many("unset = [", '"x"', 1000 * scale, "]")),
    "pictures": (".json", lambda scale: _many('{"pictures": [', '{"prompt": "a"}', 300 * scale, "]}")),
    "prompts": (".toml", lambda scale: 'prompts = {file = "many.txt", each = 10000}'),
    "files": (".yaml", lambda scale: _named(20 * scale)),
    "deep json": (".json", lambda scale: "[" * (5000 * scale)),
    "deep yaml": (".yaml", lambda scale: "[" * (1000 * scale)),
    "deep toml": (".toml", lambda scale: "a = " + "[" * (5000 * scale)),
    "dotted": (".toml", lambda scale: ".".join(["a"] * (200 * scale)) + " = 1"),
    "digits": (".json", lambda scale: '{"num_inference_steps": ' + "9" * (4000 * scale) + "}"),
    "digits in yaml": (".yaml", lambda scale: "num_inference_steps: " + "9" * (4000 * scale)),
    "sexagesimal": (".yaml", lambda scale: "num_inference_steps: 1" + ":30" * (400 * scale)),
    "equal keys": (".yaml", lambda scale: "".join(f"k{n}: 1\n" for n in range(200 * scale))),
    "aliases": (".yaml", lambda scale: "a: &a [x]\nb: &b [*a, *a]\n"),
    "bad names": (".json", lambda scale: '{"' + "x" * (8000 * scale) + '": 1}'),
    "annotations": ("coco", lambda scale: _coco(1, 500 * scale)),
    "images": ("coco", lambda scale: _coco(300 * scale, 300 * scale)),
    "lmd objects": ("lmd", lambda scale: _many("Objects: [", "('a cat', [0, 0, 9, 9])", 300 * scale, "]")),
    "lmd layouts": ("lmd", lambda scale: "Objects: [('a cat', [0, 0, 9, 9])]\n" * (200 * scale)),
    "lmd escapes": ("lmd", lambda scale: "Objects: [('" + "\\" * (5000 * scale)),
    "plain": ("json", lambda scale: _many('{"format": "realcompo-layout", "pictures": [', PLAIN, 200 * scale, "]}")),
    "header": (
        ".safetensors",
        lambda scale: json.dumps({f"a.{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(400 * scale)}),
    ),
}
"""Name → (suffix of a recipe, or format of a layout; size → text). At scale 50 most reach what their reader lets in."""


class Floods:
    """One of `FLOODS` at a time; every fourth at its full size, but in the slice of `make test`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registry = folder / "floods", toy_registry()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "many.txt").write_text("a cat\n" * 5000)
        people = [{"pose_keypoints_2d": [9.0, 9.0, 1.0] * 18}]
        (self.folder / "pose.json").write_text(json.dumps({"people": people, "canvas_width": 64, "canvas_height": 64}))

    def make(self, mutator: Mutator) -> tuple[str, str]:
        form, text = FLOODS[mutator.random.choice(sorted(FLOODS))]
        scales = (1, 2) if mutator.seed.startswith("slice") else (1, 2, 5, 50)
        return form, text(mutator.random.choice(scales))

    def feed(self, sample: tuple[str, str]) -> None:
        form, text = sample
        path = self.folder / f"flood{form if form.startswith('.') else '.txt'}"
        if form == ".safetensors":
            path.write_bytes(len(text).to_bytes(8, "little") + text.encode())
            open_checkpoint(path, UNetOptions()).describe()
            return
        path.write_text(text)
        if form.startswith("."):
            resolve(path, registry=self.registry, folder=self.folder, user_file=self.folder / "none.toml")
        else:
            read_layouts(path, form)
