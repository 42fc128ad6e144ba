"""T2I-CompBench (Huang et al. 2023): prompts by category, pictures where its scorers look for them, and what these wrote.

Its scorers read ``DIR/samples/PROMPT_ID.png`` and take the prompt from the name before the first underscore, so each category has a folder
of its own: ``--out_dir`` of BLIP_vqa.py and ``--outpath`` of the others is RECIPE/pictures/CATEGORY. They write lists of {"question_id",
"answer"} into that folder. UniDet's number a picture by the ID in its name, BLIP's and CLIP's by its place among the pictures, which is
another where one could not be drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from realcompo.errors import BadOption
from realcompo.interfaces import Case, Record, Scorer, Shot, Suite
from realcompo_suites.files import json_of, named, text_of
from realcompo_suites.options import CompBenchOptions, FileOptions

FIRST_SEED = 42
RESULTS: Mapping[str, tuple[str, bool]] = {
    "blip": ("annotation_blip/vqa_result.json", False),
    "spatial": ("labels/annotation_obj_detection_2d/vqa_result.json", True),
    "3d": ("labels/annotation_obj_detection_3d/vqa_result.json", True),
    "numeracy": ("annotation_num/vqa_result.json", True),
    "clip": ("annotation_clip/vqa_result.json", False),
    "3-in-1": ("annotation_3_in_1/vqa_result.json", False),
}
"""Scorer → its file below the category's folder, and whether it numbers pictures by the ID in their names."""
USUAL: Mapping[str, str] = {
    "color": "blip",
    "shape": "blip",
    "texture": "blip",
    "spatial": "spatial",
    "3d_spatial": "3d",
    "numeracy": "numeracy",
    "non_spatial": "clip",
    "complex": "3-in-1",
}
"""Category → the scorer whose figure is published."""


class CompBench(Suite):
    """Every prompt of the chosen categories, so many pictures each."""

    options: CompBenchOptions

    def cases(self, seed: int | None = None) -> list[Case]:
        folder = named(self.options.folder, "folder", "folder of prompt files")
        return [case for category in self.options.categories for case in self._category(folder, category, seed)]

    def _category(self, folder: Path, category: str, seed: int | None) -> list[Case]:
        path = folder / f"{category}_{self.options.split}.txt"
        if not path.is_file():
            raise BadOption("there are no such prompts", where=str(path), mend="check --with folder=PATH, split and categories")
        prompts = [line.split("\t")[0].strip() for line in text_of(path).splitlines()]
        first, images = FIRST_SEED if seed is None else seed, self.options.images
        return [
            Case(
                id=f"{category}-{number * images + noise:06d}",
                prompt=prompt,
                seed=first + noise,
                scene=f"{category}-{number}",
                kind=category,
                truth={"category": category},
                file=f"{category}/samples/{prompt.replace('/', ' ')}_{number * images + noise:06d}",
            )
            for number, prompt in enumerate(prompt for prompt in prompts if prompt)
            for noise in range(images)
        ]


class CompBenchFiles(Scorer):
    """Reads what T2I-CompBench's scorers wrote."""

    options: FileOptions

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        answers: dict[Path, dict[str, float]] = {}
        return [self._record(shot, answers) for shot in shots]

    def _record(self, shot: Shot, answers: dict[Path, dict[str, float]]) -> dict[str, Any]:
        if shot.path is None or shot.path.parent.name != "samples":
            raise BadOption(
                "it stands in no folder of T2I-CompBench",
                where=str(shot.path),
                mend="draw suites/t2i-compbench by realcompo eval",
            )
        folder = shot.path.parent.parent
        source = USUAL.get(folder.name, "blip") if self.options.source == "usual" else self.options.source
        if folder not in answers:
            answers[folder] = _answers(folder, source)
        if shot.path.name not in answers[folder]:
            where = str(folder / RESULTS[source][0])
            raise BadOption(f"it has no answer for {shot.path.name!r}", where=where, mend="run its scorer again on this folder")
        return {"score": answers[folder][shot.path.name]}


def _id(path: Path) -> int:
    """The ID in a picture's name."""
    number = path.stem.rpartition("_")[2]
    if not number.isdigit():
        raise BadOption("its name ends in no number", where=str(path), mend="leave only the suite's pictures in samples/")
    return int(number)


def _answers(folder: Path, source: str) -> dict[str, float]:
    """Name of a picture → what a scorer says of it."""
    place, by_id = RESULTS[source]
    path = folder / place
    if not path.is_file():
        raise BadOption(
            f"T2I-CompBench's scorer ({source}) has not written it yet", where=str(path), mend=f"run it on {folder}, then --score-only"
        )
    data = json_of(text_of(path), str(path))
    try:
        found = {int(one["question_id"]): float(one["answer"]) for one in data}
    except (TypeError, KeyError, ValueError):
        raise BadOption("it is no list of question_id and answer", where=str(path), mend="run its scorer again on this folder") from None
    pictures = sorted((folder / "samples").glob("*.png"), key=_id)
    numbers = [_id(picture) if by_id else place for place, picture in enumerate(pictures)]
    return {picture.name: found[number] for number, picture in zip(numbers, pictures, strict=True) if number in found}
