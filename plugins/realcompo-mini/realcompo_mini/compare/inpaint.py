"""One object drawn into a finished scene, its box the mask: placed, right, and nothing changed outside.

``python -m realcompo_mini.compare.inpaint --out DIR`` draws and measures (resumable, one JSON line a picture), and prints the table. Of
each scene one object is left out; the others are drawn by the default pair; then the object is drawn into its box, by the pair
(mini/fidelity × mini/boxes) and, as the control, by mini/fidelity alone: the same picture, mask, words and noise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from realcompo_mini.compare.draw import boxes, picture_seed, read
from realcompo_mini.compare.judge import Wanted, inside, named, right
from realcompo_mini.compare.measure import resamples
from realcompo_mini.compare.rows import FIRST
from realcompo_mini.language import parse
from realcompo_mini.scorer import Detection, detect, iou
from realcompo_mini.train.scenes import Scene, SceneObject, sample_scene
from realcompo_mini.world import load_world

SPATIAL = {"the pair": "mini/boxes", "spatial branch off": None}
"""Row → its spatial branch."""
COLUMNS = {
    "placed": "placed in its box",
    "in_box": "and with the right attributes",
    "kept": "others still found",
    "changed": "pixels changed outside",
}


@dataclass(frozen=True)
class Task:
    """A scene without one of its objects, and with it.

    Attributes:
        index: of the scene in its split.
        before, after: sentences; others, objects: theirs, with spans in them.
        new: the object that is drawn in.
    """

    index: int
    before: str
    after: str
    others: tuple[SceneObject, ...]
    objects: tuple[SceneObject, ...]
    new: SceneObject


def tasks(split: str, count: int) -> list[Task]:
    """The first scenes of a split of two or three things, each named once."""
    found: list[Task] = []
    index = 0
    while len(found) < count:
        scene = sample_scene(split, index, 0, counts=(2, 3))
        phrases = [o.phrase for o in scene.objects]
        if len(set(phrases)) == len(phrases) and all(phrase.startswith(("a ", "an ")) for phrase in phrases):
            found.append(task_of(scene, index))
        index += 1
    return found


def task_of(scene: Scene, index: int) -> Task:
    """The object that is left out is another from scene to scene."""
    new = scene.objects[index % len(scene.objects)]
    others = tuple(o for o in scene.objects if o is not new)
    before, after = _sentence(others, scene.background), _sentence((*others, new), scene.background)
    objects = _with_spans((*others, new), after)
    return Task(index, before, after, _with_spans(others, before), objects, objects[-1])


def _sentence(objects: Sequence[SceneObject], background: str) -> str:
    phrases = [o.phrase for o in objects]
    listed = " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)
    return f"{listed} {load_world().backgrounds[background]}" if background else listed


def _with_spans(objects: Sequence[SceneObject], sentence: str) -> tuple[SceneObject, ...]:
    """The objects as the sentence names them, in its order."""
    spans = [item.span for item in parse(sentence).items]
    return tuple(replace(o, span=span) for o, span in zip(objects, spans, strict=True))


def mask_of(box: Sequence[float], side: int) -> np.ndarray[Any, Any]:
    """(side, side) bytes: white where the box covers a pixel's centre."""
    centres = (np.arange(side) + 0.5) / side
    rows, columns = ((centres >= box[a]) & (centres < box[a + 2]) for a in (1, 0))
    return (rows[:, None] & columns).astype(np.uint8) * 255


def composer(spatial: str | None, **settings: Any) -> Any:
    """As a user draws with nothing configured, on the CPU, but for the spatial branch's guidance scale; without one where there is none."""
    import realcompo as rc

    told = [rc.BranchEntry(name=spatial, guidance_scale=FIRST[spatial])] if spatial else ()
    return rc.Composer("mini/fidelity", told, device="cpu", **settings)


def wanted(o: SceneObject) -> Wanted:
    return Wanted(o.kind, o.colour, o.pattern, o.box)


def measure(task: Task, before: Any, after: Any, seen: Sequence[Detection], found: Sequence[Detection]) -> dict[str, int]:
    """What became of one picture.

    Args:
        before, after: pictures; seen, found: what the scorer finds in them.
    """
    new = wanted(task.new)
    outside = mask_of(task.new.box, before.width) == 0
    changed = (np.asarray(before) != np.asarray(after)).any(-1) & outside
    stood = [o for o in map(wanted, task.others) if any(named(o, d) and inside(o, d) for d in seen)]
    return {
        "placed": int(any(named(new, d) and inside(new, d) for d in found)),
        "in_box": int(any(right(new, d) and inside(new, d) for d in found)),
        "others": len(stood),
        "kept": sum(any(named(o, d) and inside(o, d) for d in found) for o in stood),
        "changed": int(changed.sum()),
        "overlap": int(100 * max((iou(task.new.box, o.box) for o in task.others), default=0.0)),
    }


def draw_row(row: str, todo: Sequence[Task], path: Path, batch: int) -> None:
    """Append the missing records of a row."""
    done = {record["scene"] for record in read(path)}
    todo = [task for task in todo if task.index not in done]
    if not todo:
        return
    first, second = composer("mini/boxes"), composer(SPATIAL[row])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file, tqdm(total=len(todo), desc=row, unit="picture") as bar:
        for start in range(0, len(todo), batch):
            part = todo[start : start + batch]
            seeds = [picture_seed(task.index, 0) for task in part]
            befores = first([t.before for t in part], [boxes(t.others) for t in part], seed=seeds).images
            told = {"condition": [boxes(t.objects) for t in part]} if SPATIAL[row] else {}
            masks = [mask_of(t.new.box, befores[0].width) for t in part]
            afters = second([t.after for t in part], seed=[seed + 1 for seed in seeds], image=befores, mask_image=masks, **told).images
            pairs = zip(part, befores, afters, detect(befores), detect(afters), strict=True)
            for task, *looks in pairs:
                file.write(json.dumps({"row": row, "scene": task.index, **measure(task, *looks)}) + "\n")
            file.flush()
            bar.update(len(part))


def table(records: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: a line a row, and the paired difference, with 95% intervals over scenes."""
    common = set.intersection(*({r["scene"] for r in rows} for rows in records.values()))
    rows = {name: sorted((r for r in some if r["scene"] in common), key=lambda r: r["scene"]) for name, some in records.items()}
    lines = [f"| {len(common)} scenes | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    picks = resamples([r["scene"] for r in next(iter(rows.values()))], 1000)

    def value(name: str, column: str, pick: Any = None) -> float:
        some = rows[name] if pick is None else [rows[name][i] for i in pick]
        if column == "changed":
            return float(max(r["changed"] for r in some))
        return sum(r[column] for r in some) / max(sum(r["others"] if column == "kept" else 1 for r in some), 1)

    for name in rows:
        cells = []
        for column in COLUMNS:
            if column == "changed":
                cells.append(f"{value(name, column):.0f} at most")
                continue
            low, high = np.quantile([value(name, column, pick) for pick in picks], [0.025, 0.975])
            cells.append(f"{value(name, column):.3f} ({low:.3f}–{high:.3f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if len(rows) == 2:
        a, b = rows
        cells = []
        for column in ("placed", "in_box", "kept"):
            low, high = np.quantile([value(a, column, pick) - value(b, column, pick) for pick in picks], [0.025, 0.975])
            cells.append(f"{value(a, column) - value(b, column):+.3f} ({low:+.3f} … {high:+.3f})")
        lines.append(f"| {a} − {b} | " + " | ".join([*cells, ""]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Draw what is missing, print the table."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.compare.inpaint", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records, one file a row")
    parser.add_argument("--split", choices=["tune", "test"], default="test")
    parser.add_argument("--scenes", type=int, default=120)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="draw nothing, report what is there")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    paths = {row: args.out / f"{args.split}-{row.replace(' ', '-')}.jsonl" for row in SPATIAL}
    if not args.report:
        todo = tasks(args.split, args.scenes)
        for row, path in paths.items():
            draw_row(row, todo, path, args.batch)
    print(table({row: list(read(path)) for row, path in paths.items()}))


if __name__ == "__main__":
    main()
