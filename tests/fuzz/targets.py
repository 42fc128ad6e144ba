"""What is fuzzed: each target makes a mutated input from a generator, and feeds it to the code that reads strangers' input.

An input that is refused raises a RealCompoError; one that is taken is used as far as it can be without weights. What is in a table of the
product (formats of layouts, readers of conditions, parts of a checkpoint) is read from there, so that a new one is fuzzed without a change.
"""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tomli_w
import yaml
from PIL import Image

import realcompo as rc
from realcompo.compose.assembly import picture_regions
from realcompo.compose.composer import Composer
from realcompo.conditions import BoxItem
from realcompo.conditions.named import READERS, read_named_file
from realcompo.interfaces import PlanRequest, Region
from realcompo.pictures.png import read_recipe
from realcompo.plans.layouts import FORMATS, READ, Layout, dump_layouts, picture_of, read_layouts, write_layouts
from realcompo.recipes.configuration import parse_text, resolve
from realcompo.recipes.recipe import PictureEntry, Recipe, read_condition
from realcompo.recipes.writing import to_json, to_toml, to_yaml, write_recipe
from realcompo.testing import toy_registry

from .checkpoints import Configs, Headers, Keys, Loras
from .floods import Floods
from .mutations import Mutator, encoded, json_text

__all__ = ["SHARES", "TARGETS", "Mutator"]

BOXES = rc.Boxes({"a cat": (0.1, 0.2, 0.5, 0.9), "a dog": (0.5, 0.2, 0.95, 0.9)})
POINTS = {"nose": (0.5, 0.2), "neck": (0.5, 0.3), "right_shoulder": (0.4, 0.3), "left_shoulder": (0.6, 0.3), "left_hip": (0.55, 0.6)}
SQUARE = ((4.0, 4.0, 40.0, 4.0, 40.0, 40.0, 4.0, 40.0),)


class Target(Protocol):
    """One kind of input."""

    def make(self, mutator: Mutator) -> Any:
        """A mutated input."""

    def feed(self, sample: Any) -> None:
        """Read it, and use what was read."""


# -- recipes ---------------------------------------------------------------------------------------------------------------------


def sample_recipe() -> dict[str, Any]:
    """Plain data that uses every part of a recipe."""
    pictures = [
        {"prompt": "a cat and a dog", "seed": 3, "name": "pets", "conditions": {"boxes": {"a cat": [0.1, 0.2, 0.5, 0.9]}}},
        {
            "prompt": "a dancer",
            "negative_prompt": "blur",
            "conditions": {
                "boxes": [{"phrase": "a dancer", "box": [0.1, 0.1, 0.9, 0.9], "id": "one", "span": [0, 8]}],
                "keypoints": {"items": [{"phrase": "a dancer", "points": {k: list(v) for k, v in POINTS.items()}}], "size": [64, 64]},
                "segmentation": {"size": [64, 64], "items": [{"phrase": "a dancer", "label": "person", "polygons": [list(SQUARE[0])]}]},
                "toy/spatial": {"kind": "boxes", "items": [{"phrase": "a dancer", "box": [0.2, 0.1, 0.8, 0.9]}]},
            },
        },
        {
            "prompt": "a runner",
            "conditions": {"boxes": {"a runner": [0.1, 0.2, 0.5, 0.9]}, "keypoints": {"file": "pose.json", "phrases": ["a runner"]}},
        },
    ]
    return {
        "version": 1,
        "branches": [
            {"name": "toy/fidelity", "guidance_scale": 3.0, "options": {"spread": 0.5}, "prompt": "{prompt}, sharp"},
            {"name": "toy/spatial", "role": "spatial", "transfer": {"name": "core/boxes", "options": {}}},
        ],
        "balancer": {"name": "core/balance", "options": {"inside": [0.0, 0.8]}},
        "probe": {"every": 1, "detach": ["toy/spatial"], "guided": True, "timestep": "t"},
        "scheduler": "ddim",
        "num_inference_steps": 4,
        "height": 64,
        "width": 64,
        "device": "cpu",
        "dtype": "float32",
        "offload": False,
        "pictures": pictures,
        "set": {"branches.0.options.sharpness": 2.0},
        "unset": ["device"],
    }


XML = (
    "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
    "&x;",
    "<a>",
    "</size>",
    "<![CDATA[",
    "<?xml version='1.0' encoding='utf-7'?>",
    "<!--",
    "&#0;",
)
HOSTILE = {
    ".toml": (
        "[a]\n",
        "[[pictures]]\n",
        "a.b.c = 1\n",
        "x = 1979-05-27T07:32:00Z\n",
        "x = inf\n",
        "x = nan\n",
        "'''",
        '"""',
        "x = {",
        "= 1\n",
    ),
    ".yaml": (
        *("!!python/object/apply:os.system ['touch canary']", "!!python/name:os.system ", "!!binary aGk=", "!!set {a, b}", "!!timestamp "),
        *(
            "&a ",
            "*a",
            "<<: {a: 1}\n",
            "? [a, b]\n: c\n",
            "---\n",
            "...\n",
            "%YAML 9.9\n",
            "2001-01-01",
            "1:30",
            ".inf",
            ".nan",
            "0o17",
            "~",
        ),
        *(
            "!!omap [a: 1]",
            "!!pairs [a: 1]",
            "=",
            "|\n",
            ">-\n",
            "\t",
            "!x ",
            "!<tag:yaml.org,2002:python/tuple> []",
            "yes",
            "{a: b, a: c}",
        ),
    ),
    ".json": ("NaN", "-Infinity", "//", "'", "{}", "[]", '{"a": 1, "a": 2}', "1e999", "0123", "\\u0000", "\\ud800"),
}


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


# -- layouts ---------------------------------------------------------------------------------------------------------------------


_VOC = """<annotation><filename>x.png</filename><size><width>64</width><height>64</height><depth>3</depth></size>
<object><name>a cat</name><bndbox><xmin>4</xmin><ymin>5</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"""
OTHER_LAYOUTS = [
    ("voc", _VOC),
    ("yolo", "0 0.3 0.4 0.2 0.3\n1 0.7 0.5 0.3 0.4 0.9\n"),
    (
        "labelme",
        json.dumps(
            {
                "version": "5",
                "imageWidth": 64,
                "imageHeight": 64,
                "shapes": [{"label": "a cat", "shape_type": "rectangle", "points": [[4, 5], [30, 40]]}],
            }
        ),
    ),
    (
        "label-studio",
        json.dumps(
            [
                {
                    "data": {"image": "x.png"},
                    "annotations": [
                        {
                            "result": [
                                {
                                    "type": "rectanglelabels",
                                    "original_width": 64,
                                    "original_height": 64,
                                    "value": {"x": 5, "y": 6, "width": 30, "height": 40, "rectanglelabels": ["a cat"]},
                                }
                            ]
                        }
                    ],
                }
            ]
        ),
    ),
    ("lmd-cache", json.dumps({"a cat": ["Objects: [('a cat', [26, 154, 205, 307])]\nBackground prompt: a park\nNegative prompt: "]})),
]
"""One of each format that is only read. A new one is fuzzed by the samples of the others until it has its own here."""


class Layouts:
    """Files of layouts in every format that is read: a sample of each that can be written, said to be that, any other, or nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "layouts"
        self.folder.mkdir(parents=True, exist_ok=True)
        several = [
            Layout("a cat and a dog", BOXES.items, "blur", "a park", (256, 384), 7, "pets"),
            Layout("a cat", rc.Boxes([BoxItem(phrase="a cat", box=(0, 0, 1, 1), id="own", span=(0, 5))]).items),
        ]
        self.texts: list[tuple[str, str]] = []
        for form in FORMATS:
            try:
                self.texts.append((form, dump_layouts(several, form)[0]))
            except rc.RealCompoError:
                continue  # a format that is only read
        if not self.texts:
            raise AssertionError("no format of layouts can be written")
        self.texts += [("coco", json.dumps(coco()["annotations"])), *OTHER_LAYOUTS]

    def make(self, mutator: Mutator) -> tuple[bytes, str | None, Any]:
        form, text = mutator.random.choice(self.texts)
        try:
            data = json.loads(text)
        except ValueError:
            data = None
        if data is not None and mutator.random.random() < 0.7:
            text = json_text(mutator.data(data, [json.loads(self.texts[0][1])]), mutator)
        if data is None or mutator.random.random() < 0.3:
            text = mutator.words(text, XML if text.startswith("<") else HOSTILE[".json"])
        body = encoded(text, mutator)
        body = mutator.bytes(body) if mutator.random.random() < 0.05 else body
        told = mutator.random.choice((None, form, form, mutator.random.choice(list(READ))))
        return body, told, mutator.random.choice((None, None, (64, 96)))

    def feed(self, sample: tuple[bytes, str | None, Any]) -> None:
        body, form, size = sample
        path = self.folder / "layout.txt"
        path.write_bytes(body)
        layouts = read_layouts(path, form, size)
        pictures = []
        for layout in layouts:
            picture, _ = picture_of(layout, use=("background",))
            pictures.append(picture)
        recipe = Recipe(pictures=tuple(pictures))
        write_recipe(recipe, self.folder / "imported.toml")
        if parse_text(to_toml(recipe), ".toml").plain() != recipe.plain():
            raise AssertionError("the recipe is another one after .toml")
        for name in FORMATS:
            write_layouts(layouts, self.folder / f"exported.{name}", name)


# -- conditions --------------------------------------------------------------------------------------------------------------------


def openpose() -> dict[str, Any]:
    """OpenPose's JSON of one person."""
    numbers = [part for n in range(18) for part in (10.0 + 2 * n, 5.0 + 3 * n, 0.9 if n % 5 else 0.0)]
    return {"version": 1.3, "canvas_width": 64, "canvas_height": 64, "people": [{"pose_keypoints_2d": numbers}]}


def coco() -> dict[str, Any]:
    """COCO's JSON with a person, a polygon and run lengths."""
    person = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [4, 4, 36, 36],
        "keypoints": [part for n in range(17) for part in (9 + n, 8 + 2 * n, 2)],
    }
    shapes: list[Any] = [[list(SQUARE[0])], {"size": [64, 64], "counts": [100, 50, 3946]}, {"size": [64, 64], "counts": "T3R2nn0"}]
    return {
        "images": [{"id": 1, "file_name": "x.png", "width": 64, "height": 64}],
        "annotations": [{**person, "id": n, "segmentation": shape} for n, shape in enumerate(shapes)],
        "categories": [{"id": 1, "name": "person"}],
    }


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


# -- replies -----------------------------------------------------------------------------------------------------------------------


class _Said:
    """A server that says what it is told to."""

    url, requests, repeated = "http://127.0.0.1:9/v1", 0, 0

    def __init__(self) -> None:
        from realcompo_openai.keys import Scrubber

        self.scrub, self.content = Scrubber("no-key-needed"), b""

    async def ask(self, body: Mapping[str, Any]) -> Any:
        from realcompo_openai.client import _answer, _Broken
        from realcompo_openai.errors import ServerProblem

        self.requests += 1
        try:
            return _answer(self.content)
        except _Broken as error:
            raise ServerProblem(error.what, where=self.url, mend=error.mend) from None


class Replies:
    """What a language model says, in the chat completion that brings it; for every kind of condition, with wishes and kept regions."""

    def __init__(self, folder: Path) -> None:
        from realcompo_openai.cache import Cache
        from realcompo_openai.conversation import Conversation
        from realcompo_openai.ladder import Ladder
        from realcompo_openai.options import LLMOptions

        self.server = _Said()
        options = LLMOptions(base_url=self.server.url, retries=1)
        from realcompo_openai.conversation import Totals

        server, cache = self.server, Cache(None)
        self.talk = Conversation(server, options, (), Ladder(cache), cache, Totals())
        self.folder = folder / "replies"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.replies = [
            {
                "objects": [
                    {"phrase": "a cat", "x0": 0.1, "y0": 0.2, "x1": 0.4, "y1": 0.8, "pose": "none", "class": "animal"},
                    {"phrase": "a woman", "x0": 0.5, "y0": 0.1, "x1": 0.9, "y1": 0.9, "pose": "sitting", "class": "person"},
                ],
                "counts": [{"phrase": "a cat", "count": 1}],
                "relations": [{"subject": "a cat", "relation": "left of", "object": "a woman"}],
                "background": "a park",
                "negative": "blur",
                "background_class": "grass",
            },
            {"objects": [{"phrase": "a cat", "box": [51, 102, 205, 410]}, {"phrase": "a woman", "x": 256, "y": 51, "w": 205, "h": 410}]},
        ]
        self.prompts = [
            "a cat left of a woman",
            "a cat left of a woman",
            "a cat and a woman in a park",
            "two cats, a woman on the right and no dogs",
            "three red balloons above a woman between a cat and a dog",
        ]
        self.around = ("```json\n", "```", "<think>", "</think>", "{", "Here is it: ", "\ufeff", '{"objects": []}')

    def make(self, mutator: Mutator) -> tuple[bytes, PlanRequest]:
        text = json_text(mutator.data(mutator.random.choice(self.replies), self.replies), mutator)
        if mutator.random.random() < 0.4:
            text = mutator.words(text, self.around)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        whole = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 9}}
        if mutator.random.random() < 0.15:
            whole = mutator.data(whole)
        body = json.dumps(whole).encode()
        prompt = mutator.random.choice(self.prompts)
        prompt = mutator.words(prompt) if mutator.random.random() < 0.2 else prompt
        kinds = mutator.random.choice((("boxes",), ("keypoints",), ("segmentation",), ("boxes", "keypoints")))
        more: dict[str, Any] = {"kinds": kinds}
        if mutator.random.random() < 0.2:
            cat = Region("a cat", "a cat", box=(0.1, 0.2, 0.4, 0.8))
            more |= {"layout": (cat,), "wish": "move the cat"} if mutator.random.random() < 0.5 else {"keep": (cat,)}
        if mutator.random.random() < 0.2:
            more["vocabulary"] = ("a", "cat", "woman", "red")
        return body, PlanRequest(prompt[:2000], (512, 512), seed=1, **more)

    def feed(self, sample: tuple[bytes, PlanRequest]) -> None:
        self.server.content, request = sample
        plan = asyncio.run(self.talk.plan(request))
        found = plan.conditions if hasattr(plan, "conditions") else {plan.condition.kind: plan.condition}
        conditions = dict(found) if isinstance(found, Mapping) else {one.kind: one for one in found}
        recipe = Recipe(pictures=(PictureEntry(prompt=request.prompt, conditions=conditions, negative_prompt=plan.negative),))
        write_recipe(recipe, self.folder / "planned.toml", [str(one) for one in plan.remarks])
        json.dumps(list(plan.transcript)).encode()


# -- pictures ----------------------------------------------------------------------------------------------------------------------


class Pictures:
    """PNGs that carry a recipe: damaged as files, and whole ones with another recipe, another packing, another number of chunks."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registry = folder / "pictures", toy_registry()
        self.bomb = zlib.compress(bytes(64 << 20), 9)  # a small chunk that unpacks to much
        self.folder.mkdir(parents=True, exist_ok=True)
        data = {key: value for key, value in sample_recipe().items() if key not in ("set", "unset")}
        data["pictures"] = data["pictures"][:1]
        self.data = {
            "recipe": data,
            "facts": {
                "weights": {"toy/fidelity": {"toy": "x"}},
                "versions": {"torch": "2"},
                "pixels": "00",
                "batch": {"index": 0, "size": 1},
            },
        }

    def make(self, mutator: Mutator) -> bytes:
        data = mutator.data(self.data, [sample_recipe()]) if mutator.random.random() < 0.7 else self.data
        text = json_text(data, mutator)
        text = mutator.words(text, HOSTILE[".json"]) if mutator.random.random() < 0.2 else text
        body = encoded(text, mutator)
        packed = zlib.compress(body)
        kind = mutator.random.randrange(10)
        if kind == 0:
            packed = mutator.bytes(packed)
        elif kind == 1:
            packed = self.bomb
        elif kind == 2:
            packed = zlib.compress(body) + mutator.random.randbytes(9)
        flag = mutator.random.choice((b"\1\0", b"\1\0", b"\1\0", b"\0\0", b"\1\7", b"\2\0"))
        inner = b"realcompo\0" + flag + b"\0\0" + (packed if flag[:1] == b"\1" else body)
        inner = mutator.bytes(inner) if kind == 3 else inner
        chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), chunk(b"IDAT", zlib.compress(bytes(4)))]
        ours = [chunk(mutator.random.choice((b"iTXt", b"iTXt", b"iTXt", b"iTXt", b"tEXt", b"zTXt")), inner)]
        chunks[1:1] = ours * mutator.random.choice((1, 1, 1, 2, 20))
        whole = b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")
        return mutator.bytes(whole) if mutator.random.random() < 0.3 else whole

    def feed(self, sample: bytes) -> None:
        path = self.folder / "picture.png"
        path.write_bytes(sample)
        found = read_recipe(path)
        json.dumps(found.facts, allow_nan=False).encode()
        use_recipe(found.recipe, self.folder, self.registry)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# -- all -----------------------------------------------------------------------------------------------------------------------------

TARGETS: Mapping[str, Callable[[Path], Target]] = {
    "recipe-toml": lambda folder: Recipes(folder, ".toml"),
    "recipe-yaml": lambda folder: Recipes(folder, ".yaml"),
    "recipe-json": lambda folder: Recipes(folder, ".json"),
    "layouts": Layouts,
    "conditions": Conditions,
    "replies": Replies,
    "png": Pictures,
    "headers": Headers,
    "keys": Keys,
    "configs": Configs,
    "loras": Loras,
    "floods": Floods,
}
SHARES = {
    **{"recipe-toml": 10.0, "recipe-yaml": 3.0, "recipe-json": 10.0, "layouts": 22.0, "conditions": 24.0, "replies": 13.0},
    **{"png": 5.0, "headers": 8.0, "keys": 2.5, "configs": 2.35, "loras": 0.05, "floods": 0.1},
}
"""Hundredths of all inputs: more where one is quick to feed."""
