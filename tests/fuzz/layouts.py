"""Files of layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import realcompo as rc
from realcompo.conditions import BoxItem
from realcompo.plans.layouts import FORMATS, READ, Layout, dump_layouts, picture_of, read_layouts, write_layouts
from realcompo.recipes.configuration import parse_text
from realcompo.recipes.recipe import Recipe
from realcompo.recipes.writing import to_toml, write_recipe

from .mutations import Mutator, encoded, json_text
from .samples import HOSTILE, coco

BOXES = rc.Boxes({"a cat": (0.1, 0.2, 0.5, 0.9), "a dog": (0.5, 0.2, 0.95, 0.9)})
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
