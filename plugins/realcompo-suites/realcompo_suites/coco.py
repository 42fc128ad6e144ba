"""Boxes of COCO's annotations (Lin et al. 2014), with sentences that name every object, as the layout benchmarks draw them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from realcompo.conditions import Boxes
from realcompo.errors import BadOption
from realcompo.interfaces import Case, Suite
from realcompo_suites.files import json_of, named, text_of
from realcompo_suites.options import CocoOptions

FIRST_SEED = 42


class CocoBoxes(Suite):
    """One scene a picture of the annotations that has neither too few nor too many objects of some size."""

    options: CocoOptions

    def cases(self, seed: int | None = None) -> list[Case]:
        path = named(self.options.instances, "instances", "file of instances")
        data = _table(path, ("images", "annotations", "categories"))
        captions = self._captions()
        try:
            names = {one["id"]: str(one["name"]) for one in data["categories"]}
            objects: dict[int, list[tuple[str, tuple[float, ...]]]] = defaultdict(list)
            sizes = {one["id"]: (float(one["width"]), float(one["height"])) for one in data["images"]}
            for one in data["annotations"]:
                if not one.get("iscrowd") and one["image_id"] in sizes:
                    box = _share(one["bbox"], sizes[one["image_id"]])
                    if (box[2] - box[0]) * (box[3] - box[1]) >= self.options.area and box[2] > box[0] and box[3] > box[1]:
                        objects[one["image_id"]].append((names[one["category_id"]], box))
        except (KeyError, TypeError, ValueError) as error:
            raise BadOption(f"it is no file of COCO's instances ({error!r})", where=str(path), mend="give instances_val2017.json") from None
        chosen = [id for id in sorted(objects) if self.options.least <= len(objects[id]) <= self.options.most]
        first = FIRST_SEED if seed is None else seed
        found = [
            _case(id, objects[id], captions.get(id, "a photo"), first + noise, noise)
            for id in chosen[: self.options.count]
            for noise in range(self.options.images)
        ]
        if not found:
            raise BadOption("none of its pictures has such objects", where=str(path), mend="change --with least, most or area")
        return found

    def _captions(self) -> dict[int, str]:
        """Picture → its first caption."""
        if self.options.captions is None:
            return {}
        path = named(self.options.captions, "captions", "file of captions")
        found: dict[int, str] = {}
        for one in _table(path, ("annotations",))["annotations"]:
            if isinstance(one, dict) and isinstance(one.get("caption"), str):
                found.setdefault(one.get("image_id"), " ".join(one["caption"].split()).rstrip("."))
        return found


def _table(path: Path, keys: Sequence[str]) -> Mapping[str, Any]:
    data = json_of(text_of(path), str(path))
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in keys):
        raise BadOption(f"it has no {', '.join(keys)}", where=str(path), mend="give a file of COCO's annotations")
    return data


def _share(box: Sequence[float], size: tuple[float, float]) -> tuple[float, ...]:
    """x, y, width, height in pixels as shares, cut at the picture's edge."""
    x, y, w, h = (float(value) for value in box)
    edges = (x / size[0], y / size[1], (x + w) / size[0], (y + h) / size[1])
    return tuple(round(min(max(edge, 0.0), 1.0), 6) for edge in edges)


def _case(id: int, objects: Sequence[tuple[str, tuple[float, ...]]], caption: str, seed: int, noise: int) -> Case:
    """The caption, then every object by its class: each phrase is in the prompt, and says where."""
    prompt, items = f"{caption} with ", []
    for number, (name, box) in enumerate(objects):
        phrase = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
        prompt += ("" if number == 0 else " and " if number == len(objects) - 1 else ", ") + phrase
        items.append({"phrase": phrase, "box": box, "span": (len(prompt) - len(phrase), len(prompt))})
    return Case(
        id=f"{id:012d}-{noise}",
        prompt=prompt,
        seed=seed,
        scene=f"{id}",
        conditions={"boxes": Boxes(items)},
        truth={"objects": [{"class": name, "box": list(box)} for name, box in objects]},
    )
