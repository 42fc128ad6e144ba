"""Ways to balance a pair, the default among them: each is drawn with every pair, untuned, on scenes that every condition can be told of.

``python -m realcompo_mini.compare.ways --out DIR --sprites sprites.npz`` appends the missing records (one JSON line a picture);
ways_report.py makes the page of them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from realcompo.interfaces.suite import pack
from realcompo.recipes.recipe import DEFAULT_BALANCER
from realcompo_mini.compare.draw import read
from realcompo_mini.compare.pair import BASE, FIDELITIES, SPATIALS, Pair
from realcompo_mini.compare.pairs_draw import OBJECTS, condition, judged, scenes
from realcompo_mini.plugin import GUIDANCE
from realcompo_mini.scorer import features
from realcompo_mini.suite import picture_seed
from realcompo_mini.train.sprites import load

RENDERED = 1000


@dataclass(frozen=True)
class Way:
    """A balancer with its settings; the fidelity branch alone without one.

    Attributes:
        boxes: guidance scale of the boxes model.
        run: more of the composer's settings.
    """

    name: str
    balancer: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 20
    boxes: float = 4.0
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """As files are called."""
        return re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-")


ALONE = Way("fidelity alone")
SPATIAL = Way("spatial alone", "core/fixed", {"spatial": 1.0})
MEAN = Way("mean", "core/mean")
HAND_OVERS = tuple(Way(f"hand-over at {share}", "core/hand-over", {"share": share}) for share in (0.3, 0.5, 0.6, 0.7))
PAPER = Way("the paper's balance", "core/paper")
DEFAULT = Way("the default", DEFAULT_BALANCER)
STILL = Way("the default without moves", DEFAULT_BALANCER, {"moves": 0})
LONGER = Way("the default without moves, 27 steps", DEFAULT_BALANCER, {"moves": 0}, steps=27)
"""As many F as the default with its moves."""
BACKWARD = Way("control: moves backwards", DEFAULT_BALANCER, {"length": -0.03})
NOW = Way("the default, boxes guidance 3", DEFAULT_BALANCER, boxes=GUIDANCE["mini/boxes"])
"""As `mini/boxes` recommends now, which it did not when the other records were made."""
CHOSEN = Way("the same, 16 steps, the best placed of 2 noises", DEFAULT_BALANCER, steps=16, boxes=NOW.boxes, run={"candidates": 2})
WAYS = (SPATIAL, MEAN, *HAND_OVERS, PAPER, DEFAULT, STILL, LONGER, BACKWARD, NOW, CHOSEN)

PAIRS = (
    *(Pair(fidelity, spatial) for fidelity in FIDELITIES for spatial in SPATIALS),
    *(Pair(fidelity, spatial) for fidelity in (BASE, "mini/cute") for spatial in ("mini/boxes-coloured", "mini/boxes-half")),
    *(Pair("mini/flow", spatial) for spatial in ("mini/boxes", "mini/pose", "mini/segmentation")),
)


HELD = ("mini/pose", "mini/segmentation")
"""Spatial branches that the default holds on to in place of moving z (its option `hold`): there it is a plain hand-over."""
HOLD = 0.6
HELD_AS = next(way for way in HAND_OVERS if way.options["share"] == HOLD)


def ways_of(pair: Pair) -> tuple[Way, ...]:
    """What a pair is drawn by: where the default makes no moves, there is nothing to leave out or to turn round; `mini/boxes` alone
    recommends another guidance."""
    without = (STILL, LONGER, BACKWARD) if pair.spatial in HELD else ()
    without += () if pair.spatial == "mini/boxes" else (NOW, CHOSEN)
    return tuple(way for way in (ALONE, *WAYS) if way not in without)


def drawn_as(pair: Pair, way: Way) -> Way:
    """The way whose pictures are this way's, to the pixel, and are not drawn twice."""
    return HELD_AS if way is DEFAULT and pair.spatial in HELD else way


def file_of(out: Path, split: str, pair: Pair, way: Way) -> Path:
    """Where the records are; those of the fidelity branch alone serve all its pairs."""
    way = drawn_as(pair, way)
    name = Pair(pair.fidelity).slug if way is ALONE else f"{pair.slug}--{way.slug}"
    return out / f"{split}-{name}.jsonl"


def draw_way(pair: Pair, way: Way, split: str, count: int, sprites: Path, out: Path, batch: int = 10, device: str = "cpu") -> None:
    """Append the missing records of a pair drawn in a way to its file (JSON lines)."""
    path, library = file_of(out, split, pair, way), load(sprites)
    done = {record["scene"] for record in read(path)}
    jobs = [k for k in range(count) if k not in done]
    if not jobs:
        return
    drawn, way = Pair(pair.fidelity) if way is ALONE else pair, drawn_as(pair, way)
    composer = drawn.composer(way.balancer, way.options, way.boxes, device=device, num_inference_steps=way.steps, **way.run)
    everything = scenes(split, count)
    out.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file, tqdm(total=len(jobs), desc=f"{drawn.name}, {way.name}", unit="picture") as bar:
        for start in range(0, len(jobs), batch):
            part = jobs[start : start + batch]
            picked = [everything[k] for k in part]
            told = [condition(drawn.spatial, s, s, library) for s in picked] if drawn.spatial else None
            result = composer([s.caption for s in picked], told, seed=[picture_seed(k, 0) for k in part])
            rows = judged(drawn, picked, result.images, library)
            for k, row, look in zip(part, rows, features(result.images), strict=True):
                cost = round(result.cost.sampling, 3)
                record = {"pair": drawn.name, "way": way.name, "split": split, "scene": k, "seed": 0, **row, "f": cost}
                file.write(json.dumps({**record, "features": pack(look)}) + "\n")
            file.flush()
            bar.update(len(part))


def rendered_features(out: Path, look: str, sprites: Path | None) -> torch.Tensor:
    """Features (N, D) of rendered, held-out scenes of a look, kept beside the records: the other side of the distance."""
    path = out / f"rendered-{look}.npy"
    if not path.exists():
        if sprites is None:
            raise SystemExit(f"{path} is not there yet: --sprites names the sprites.npz of the training folder, to render it")
        from realcompo_mini.train.render import render
        from realcompo_mini.train.scenes import sample_scene

        library, parts = load(sprites), []
        for start in range(0, RENDERED, 50):
            held_out = [sample_scene("check", 200_000 + i, counts=OBJECTS, kind="person") for i in range(start, start + 50)]
            parts.append(features(np.stack([render(scene, look, library).pixels for scene in held_out])).numpy())
        out.mkdir(parents=True, exist_ok=True)
        np.save(path, np.concatenate(parts).astype(np.float16))
    return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))


def picked(names: Sequence[str] | None, of: Sequence[Any]) -> list[Any]:
    """Pairs or ways by slug; all if None.

    Raises:
        SystemExit: an unknown one, with the list.
    """
    table = {one.slug: one for one in of}
    for name in names or ():
        if name not in table:
            raise SystemExit(f"nothing is called {name!r} here; there are: {', '.join(table)}")
    return [table[name] for name in names] if names else list(of)


def main() -> None:
    """Draw what is missing."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.compare.ways", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records")
    parser.add_argument("--sprites", type=Path, required=True, help="sprites.npz of the training folder: conditions come from renderings")
    parser.add_argument("--split", choices=["tune", "test"], default="test")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--pairs", nargs="*", help="slugs; all by default")
    parser.add_argument("--ways", nargs="*", help="slugs; all by default")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for pair in picked(args.pairs, PAIRS):
        for way in picked(args.ways, ways_of(pair)):
            draw_way(pair, way, args.split, args.scenes, args.sprites, args.out, args.batch, args.device)


if __name__ == "__main__":
    main()
