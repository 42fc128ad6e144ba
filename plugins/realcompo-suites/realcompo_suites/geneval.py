"""GenEval (Ghosh et al. 2023): its prompts with what each must hold, pictures where its program looks for them, and its questions put to
any detector.

The pictures are RECIPE/pictures/NNNNN/samples/NNNNN.png with metadata.jsonl beside `samples`, as its evaluate_images.py reads them. Its own
script seeds once a prompt and draws four pictures on from there; here each has a seed of its own, 42, 43 …
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realcompo.errors import BadOption
from realcompo.interfaces import Case, Record, Scorer, Shot, Suite
from realcompo_suites.detector import Detector, Found
from realcompo_suites.files import json_of, named, text_of
from realcompo_suites.options import GenEvalOptions, GenEvalScorerOptions

if TYPE_CHECKING:
    from PIL.Image import Image

    from realcompo_suites.clip import Clip

FIRST_SEED = 42
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
SENTENCES = ("a photo of a {colour} {name}", "a photo of a {colour}-colored {name}", "a photo of a {colour} object")


class GenEval(Suite):
    """Each line of the metadata, so many pictures."""

    options: GenEvalOptions

    def cases(self, seed: int | None = None) -> list[Case]:
        path = named(self.options.metadata, "metadata", "file of metadata")
        rows = [json_of(line, f"{path}:{number}") for number, line in enumerate(text_of(path).splitlines(), 1) if line.strip()]
        if not rows or not all(isinstance(row, dict) and isinstance(row.get("prompt"), str) and "tag" in row for row in rows):
            raise BadOption("its lines have no prompt and tag", where=str(path), mend="give evaluation_metadata.jsonl of GenEval")
        first = FIRST_SEED if seed is None else seed
        return [
            Case(
                id=f"{number:05d}-{noise}",
                prompt=row["prompt"],
                seed=first + noise,
                scene=f"{number:05d}",
                kind=str(row["tag"]),
                truth=row,
                file=f"{number:05d}/samples/{noise:05d}",
            )
            for number, row in enumerate(rows)
            for noise in range(self.options.images)
        ]

    def files(self, cases: Sequence[Case]) -> dict[str, str]:
        return {f"{case.group}/metadata.jsonl": json.dumps(dict(case.truth)) for case in cases}


class GenEvalObjects(Scorer):
    """GenEval's questions: are the objects there, as often, of that colour, on that side of another?"""

    options: GenEvalScorerOptions
    _detector: Detector | None = None
    _clip: Clip | None = None

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        told = self.options
        if self._detector is None:
            self._detector = Detector(told.model, self.device, min(told.threshold, told.counting_threshold), told.download)
        return [self._record(shot, found) for shot, found in zip(shots, self._detector([s.image for s in shots]), strict=True)]

    def whole(self, column: str, records: Sequence[Record]) -> float:
        """GenEval's overall score: the mean over tags of the share of right pictures."""
        tags: dict[str, list[int]] = {}
        for record in records:
            if "correct" in record:
                tags.setdefault(record["tag"], []).append(record["correct"])
        return sum(sum(some) / len(some) for some in tags.values()) / len(tags) if tags else math.nan

    def _record(self, shot: Shot, found: Sequence[Found]) -> dict[str, Any]:
        asked, told = shot.case.truth, self.options
        record: dict[str, Any] = {"tag": str(asked.get("tag", ""))}
        coloured = any("color" in one for one in asked.get("include", ()))
        if coloured and told.clip is None:
            return record  # not judged: nobody can tell colours
        least = told.counting_threshold if asked.get("tag") == "counting" else told.threshold
        seen: dict[str, list[Found]] = {}
        for one in found:
            if one.score > least and len(seen.setdefault(one.label, [])) < told.most:
                seen[one.label].append(one)
        wrong = self._wrong(shot.image, asked, seen)
        return {**record, "correct": int(not wrong), "wrong": wrong}

    def _wrong(self, image: Image, asked: Mapping[str, Any], seen: Mapping[str, Sequence[Found]]) -> list[str]:
        """What is asked for and not so, in words. A clause counts the surest detections of its class, as many as it asks for."""
        wrong: list[str] = []
        groups: list[Sequence[Found] | None] = []
        for one in asked.get("include", ()):
            name, count = one["class"], one["count"]
            some = list(seen.get(name, ()))[:count]
            before = len(wrong)
            if len(some) < count:
                wrong.append(f"{len(some)} of {count} {name}")
            elif "color" in one and (right := self._colours(image, some, name).count(one["color"])) < count:
                wrong.append(f"{right} of {count} {name} {one['color']}")
            if "position" in one and len(wrong) == before:
                relation, target = one["position"]
                others = groups[target] if target < len(groups) else None
                if others is None:
                    wrong.append(f"nothing for {name} to be {relation}")
                elif not all(relation in relations(a, b, image.size, self.options.position) for a in some for b in others):
                    wrong.append(f"{name} not {relation}")
            groups.append(some if len(wrong) == before else None)
        for one in asked.get("exclude", ()):
            if len(seen.get(one["class"], ())) >= one["count"]:
                wrong.append(f"{len(seen[one['class']])} {one['class']}, fewer than {one['count']} asked")
        return wrong

    def _colours(self, image: Image, some: Sequence[Found], name: str) -> list[str]:
        """The colour of each detection by its crop: the nearest of the colours' sentences, each colour the mean of several."""
        from realcompo_suites.clip import Clip

        if self._clip is None:
            self._clip = Clip(self.options.clip, self.device, self.options.download)
        texts = [sentence.format(colour=colour, name=name) for colour in COLOURS for sentence in SENTENCES]
        means = self._clip.texts(texts).reshape(len(COLOURS), len(SENTENCES), -1).mean(dim=1)
        crops = [image.crop(pixels(one, image.size)) for one in some]
        nearest = (self._clip.images(crops) @ (means / means.norm(dim=-1, keepdim=True)).T).argmax(dim=1)
        return [COLOURS[int(place)] for place in nearest]


def pixels(found: Found, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A detection's box in pixels, one wide and high at least, inside the picture."""
    x0, y0 = (min(max(int(found.box[k] * size[k]), 0), size[k] - 1) for k in (0, 1))
    x1, y1 = (min(max(math.ceil(found.box[2 + k] * size[k]), low + 1), size[k]) for k, low in ((0, x0), (1, y0)))
    return x0, y0, x1, y1


def relations(a: Found, b: Found, size: tuple[int, int], apart: float) -> set[str]:
    """Where a stands to b: along an axis the distance of their middles, less a share of both sizes, must be half of the whole distance."""
    steps, far = [], []
    for axis in (0, 1):
        low, high = axis, axis + 2
        gap = (a.box[low] + a.box[high] - b.box[low] - b.box[high]) / 2 * size[axis]
        sizes = (a.box[high] - a.box[low] + b.box[high] - b.box[low]) * size[axis]
        far.append(gap)
        steps.append(math.copysign(max(abs(gap) - apart * sizes, 0.0), gap))
    length = math.hypot(*far)
    if length == 0 or all(abs(step) < 1e-3 for step in steps):
        return set()
    x, y = (step / length for step in steps)
    found = {("left of", x < -0.5), ("right of", x > 0.5), ("above", y < -0.5), ("below", y > 0.5)}
    return {name for name, holds in found if holds}
