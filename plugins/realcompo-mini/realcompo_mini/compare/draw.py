"""Draw and judge rows: each is a recipe on the suite `mini/scenes`, evaluated as `realcompo eval` does it, resumable at every moment. Its
records are then written as the page reads them: one file a row, one JSON line a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from realcompo.evaluation.lines import Lines
from realcompo.evaluation.run import evaluate
from realcompo.files import file_name, write_whole
from realcompo_mini.compare.rows import Row
from realcompo_mini.suite import boxes, picture_seed, scenes

SCORERS = ("mini-judge.jsonl", "mini-distance.jsonl")


def draw_row(row: Row, split: str, count: int, noises: int, path: Path, batch: int = 12, scene_seed: int = 0, device: str = "cpu") -> None:
    """Write the missing records of one row to `path` (JSON lines); pictures and raw records go to a folder beside it."""
    there = {(r["scene"], r["seed"]): r for r in read(path)}
    if all((scene, noise) in there for noise in range(noises) for scene in range(count)):
        return
    folder = path.parent / "drawn" / f"{split}-{scene_seed}-{count}x{noises}{'-shuffled' if row.shuffled else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / f"{path.stem}.json"
    write_whole(recipe, json.dumps(row.recipe(device=device).plain(), indent=1, ensure_ascii=False))
    options = [f"split={split}", f"count={count}", f"noises={noises}", f"scene_seed={scene_seed}"]
    options += ["shuffled=true"] if row.shuffled else []
    evaluate("mini/scenes", [recipe], folder / "out", options=options, batch_size=batch)
    lines_of = folder / "out" / file_name(path.stem)  # as an evaluation calls what a recipe draws
    drawn, *judged = (Lines(lines_of / name, "case", writing=False) for name in ("drawn.jsonl", *SCORERS))
    for noise in range(noises):
        for scene in range(count):
            lines = [one.get(f"{scene}-{noise}") for one in (drawn, *judged)]
            if all(line is not None and "error" not in line for line in lines):
                head = {"row": row.name, "split": split, "scene": scene, "seed": noise, "scene_seed": scene_seed}
                there.setdefault((scene, noise), {**head, **_told(*(line or {} for line in lines))})
    order = sorted(there, key=lambda key: (key[1], key[0]))
    write_whole(path, "".join(json.dumps(there[key]) + "\n" for key in order))


def _told(drawn: dict[str, Any], *judged: dict[str, Any]) -> dict[str, Any]:
    """What a picture's lines say, under the page's names: calls of its batch, and `f`, F of sampling a picture of it."""
    calls = drawn["cost"]["calls"]
    counted = {"predictions": calls["predict"], "probes": calls["probe"], "moves": calls["move"]}
    counted["f"] = round(sum(f for part, f in drawn["cost"]["parts"].items() if part not in ("text", "decode")), 3)
    return {**counted, **{name: value for line in judged for name, value in line["score"].items()}}


def cost_of(row: Row) -> float:
    """F of sampling a picture of a row, counted on the first scene of the test split."""
    (scene,) = scenes("test", 1)
    result = row.composer()(scene.caption, boxes(scene.objects), seed=picture_seed(0, 0), output_type="latent")
    return float(result.cost.sampling)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a file; a line cut off by an interruption is left out."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue
