"""Draw and judge every row × scene × seed; one JSON line a picture, so that it resumes where it stopped."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from realcompo_mini.compare.judge import judge, wanted
from realcompo_mini.compare.rows import Row
from realcompo_mini.scorer import detect, features
from realcompo_mini.train.scenes import Scene, sample_scene

OBJECTS = (2, 3, 4)


def scenes(split: str, count: int, seed: int = 0) -> list[Scene]:
    """The first scenes of a split, 2 to 4 objects each; `seed` draws other scenes."""
    return [sample_scene(split, index, seed, counts=OBJECTS) for index in range(count)]


def boxes(objects: Sequence[Any]) -> Any:
    """A scene's or a plan's objects (phrase, box, span) as a condition."""
    import realcompo as rc

    return rc.Boxes([{"phrase": o.phrase, "box": o.box, "span": o.span} for o in objects])


def draw_row(
    row: Row, split: str, count: int, seeds: Sequence[int], path: Path, batch: int = 12, scene_seed: int = 0, device: str = "cpu"
) -> None:
    """Append the missing records of one row to `path` (JSON lines)."""
    done = {(r["split"], r["scene"], r["seed"], r["scene_seed"]) for r in read(path)}
    jobs = [(i, seed) for seed in seeds for i in range(count) if (split, i, seed, scene_seed) not in done]
    if not jobs:
        return
    all_scenes, composer = scenes(split, count, scene_seed), row.composer(device=device)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file, tqdm(total=len(jobs), desc=row.name, unit="picture") as bar:
        for start in range(0, len(jobs), batch):
            part = jobs[start : start + batch]
            picked = [all_scenes[i] for i, _ in part]
            result = composer(
                [s.caption for s in picked], [boxes(s.objects) for s in picked], seed=[picture_seed(i, seed) for i, seed in part]
            )
            looks = features(result.images)
            for (i, seed), scene, found, look in zip(part, picked, detect(result.images), looks, strict=True):
                record = {
                    "row": row.name, "split": split, "scene": i, "seed": seed, "scene_seed": scene_seed,
                    **judge(wanted(scene), found), "found": len(found), "predictions": result.trace.predict_calls,
                    "probes": result.trace.probe_calls, "moves": result.trace.move_calls, "features": pack(look),
                }  # fmt: skip
                file.write(json.dumps(record) + "\n")
            file.flush()
            bar.update(len(part))


def cost_of(row: Row) -> float:
    """F of sampling a picture of a row, counted on the first scene of the test split."""
    (scene,) = scenes("test", 1)
    result = row.composer()(scene.caption, boxes(scene.objects), seed=picture_seed(0, 0), output_type="latent")
    return float(result.cost.sampling)


def picture_seed(scene: int, seed: int) -> int:
    """One noise a scene and seed, the same for every row: differences between rows are paired."""
    return 1_000_003 * seed + scene


def pack(feature: torch.Tensor) -> str:
    """(D,) as base64 of float16."""
    return base64.b64encode(feature.numpy().astype("<f2").tobytes()).decode()


def unpack(text: str) -> np.ndarray[Any, Any]:
    """(D,) float32."""
    return np.frombuffer(base64.b64decode(text), dtype="<f2").astype(np.float32)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a file; a line cut off by an interruption is left out."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue
