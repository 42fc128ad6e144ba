"""What `realcompo test suites` runs: the contracts on small files in the suites' formats, and on small random models saved to disk."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image, ImageDraw

from realcompo.conditions import Boxes
from realcompo.interfaces import Case, Scorer, Shot, Suite
from realcompo.plans.layouts import Layout, write_layouts
from realcompo.testing import ScorerContract, SuiteContract
from realcompo_suites.small import small_clip, small_detector, small_head, small_inception

COLOURS = ("red", "green", "blue", "purple", "orange", "black")
CLASSES = ("cat", "dog", "car")


@cache
def home() -> Path:
    """A folder for this process."""
    return Path(tempfile.mkdtemp(prefix="realcompo-suites-"))


# -- files -------------------------------------------------------------------------------------------------------------------


def write_compbench(folder: Path) -> Path:
    """Prompt files of two categories."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "color_val.txt").write_text("a green bench and a red car\na blue cat\n", "utf-8")
    (folder / "spatial_val.txt").write_text("a dog on the left of a cat\t0\n", "utf-8")
    return folder


def write_geneval(path: Path) -> Path:
    """Metadata of four tags."""
    rows: list[dict[str, Any]] = [
        {"tag": "single_object", "include": [{"class": "cat", "count": 1}], "prompt": "a photo of a cat"},
        {
            "tag": "counting",
            "include": [{"class": "dog", "count": 2}],
            "exclude": [{"class": "dog", "count": 3}],
            "prompt": "a photo of two dogs",
        },
        {"tag": "colors", "include": [{"class": "car", "count": 1, "color": "red"}], "prompt": "a photo of a red car"},
        {
            "tag": "position",
            "include": [{"class": "cat", "count": 1}, {"class": "dog", "count": 1, "position": ["left of", 0]}],
            "prompt": "a photo of a dog left of a cat",
        },
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write_coco(path: Path) -> Path:
    """Three pictures: of two objects, of one, and of one that is too small."""
    data = {
        "images": [{"id": id, "width": 200, "height": 100, "file_name": f"{id}.jpg"} for id in (7, 9, 11)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "apple"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 20, 80, 60], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [100, 10, 100, 90], "iscrowd": 0},
            {"id": 3, "image_id": 9, "category_id": 3, "bbox": [50, 25, 100, 50], "iscrowd": 0},
            {"id": 4, "image_id": 11, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 0},
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), "utf-8")
    return path


# -- suites ------------------------------------------------------------------------------------------------------------------


class CompBenchContract(SuiteContract):
    component = "suites/t2i-compbench"

    @classmethod
    def suite(cls) -> Suite:
        folder = write_compbench(home() / "compbench")
        return cls.host().suite(cls.component, {"folder": str(folder), "categories": ["color", "spatial"], "images": 3})


class GenEvalContract(SuiteContract):
    component = "suites/geneval"

    @classmethod
    def suite(cls) -> Suite:
        return cls.host().suite(cls.component, {"metadata": str(write_geneval(home() / "geneval.jsonl"))})


class CocoContract(SuiteContract):
    component = "suites/coco"

    @classmethod
    def suite(cls) -> Suite:
        return cls.host().suite(cls.component, {"instances": str(write_coco(home() / "instances.json")), "images": 2})


class LayoutsContract(SuiteContract):
    component = "suites/layouts"

    @classmethod
    def suite(cls) -> Suite:
        path = home() / "layouts.json"
        items = Boxes({"a cat": (0, 0.2, 0.4, 0.9), "a dog": (0.5, 0.2, 1, 0.9)}).items
        write_layouts(
            [Layout("a cat and a dog", items), Layout("a dog and a cat", items, name="other"), Layout("a cat", items[:1])], path, "json"
        )
        return cls.host().suite(cls.component, {"file": str(path), "images": 2})


# -- scorers -----------------------------------------------------------------------------------------------------------------


def pictures() -> list[Shot]:
    """Coloured boxes, each of a class, with the labels that all scorers read."""
    found = []
    for number in range(6):
        box = (0.05 * number, 0.1, 0.5 + 0.05 * number, 0.9 - 0.05 * number)
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).rectangle([64 * share for share in box], fill=COLOURS[number])
        name = CLASSES[number % 3]
        truth = {"tag": "single_object", "include": [{"class": name, "count": 1 + number % 2}]}
        conditions = {"boxes": Boxes([(f"a {name}", box)])}
        found.append(Shot(Case(f"{number}", f"a {name}", number, conditions=conditions, truth=truth), image))
    return found


class _Judging(ScorerContract):
    """With the models of small.py."""

    small: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def scorer(cls) -> Scorer:
        told = {name: str(make(home() / make.__name__)) for name, make in cls.small.items()}
        return cls.host().scorer(cls.component, {**told, **cls.options}, cls.device)

    @classmethod
    def shots(cls) -> list[Shot]:
        return pictures()


class BoxesContract(_Judging):
    component = "suites/boxes"
    options: ClassVar[Mapping[str, Any]] = {"threshold": 0.0, "overlap": 0.1}
    small: ClassVar[Mapping[str, Any]] = {"model": small_detector}


class GenEvalObjectsContract(_Judging):
    component = "suites/geneval-objects"
    options: ClassVar[Mapping[str, Any]] = {"threshold": 0.4}
    small: ClassVar[Mapping[str, Any]] = {"model": small_detector, "clip": small_clip}


class ClipContract(_Judging):
    component = "suites/clip"
    small: ClassVar[Mapping[str, Any]] = {"model": small_clip}


class AestheticContract(_Judging):
    component = "suites/aesthetic"
    small: ClassVar[Mapping[str, Any]] = {"model": small_clip, "head": small_head}


class InceptionContract(_Judging):
    component = "suites/fid"
    small: ClassVar[Mapping[str, Any]] = {"weights": small_inception}

    @classmethod
    def scorer(cls) -> Scorer:
        pytest.importorskip("torch_fidelity", reason="it needs the extra fid")
        folder = home() / "reference"
        folder.mkdir(exist_ok=True)
        for shot in pictures():
            shot.image.rotate(90).save(folder / f"{shot.case.id}.png")
        weights = small_inception(home() / "small_inception")
        return cls.host().scorer(cls.component, {"weights": str(weights), "reference": str(folder), "subsets": 2}, cls.device)


class CompBenchFilesContract(ScorerContract):
    component = "suites/compbench-files"
    test_other_pictures_score_otherwise = None  # it reads what others wrote of the pictures, not these

    @classmethod
    def shots(cls) -> list[Shot]:
        folder = home() / "files" / "color"
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        (folder / "annotation_blip").mkdir(exist_ok=True)
        shots = [replace(shot, path=folder / "samples" / f"{shot.case.prompt}_{shot.case.seed:06d}.png") for shot in pictures()]
        for shot in shots:
            shot.image.save(shot.path)
        answers = [{"question_id": number, "answer": f"{number / 10:.4f}"} for number in range(len(shots))]
        (folder / "annotation_blip" / "vqa_result.json").write_text(json.dumps(answers), "utf-8")
        return shots
