"""python -m realcompo_mini.compare draw|report|tune: see the package."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from realcompo_mini.compare.draw import draw_row, read
from realcompo_mini.compare.report import differences, frontier, summary, table
from realcompo_mini.compare.rows import ROWS, chosen


def rendered_features(out: Path, split: str, count: int, sprites: Path) -> torch.Tensor:
    """Features (N, D) of rendered, held-out 3D scenes, kept beside the records: the other side of the distance."""
    path = out / f"rendered-{split}.npy"
    if not path.exists():
        from realcompo_mini.scorer import features
        from realcompo_mini.train.render import render
        from realcompo_mini.train.scenes import sample_scene
        from realcompo_mini.train.sprites import load

        library, parts = load(sprites), []
        for start in range(0, count, 50):
            held_out = [sample_scene("check", 100_000 + i, counts=(2, 3, 4)) for i in range(start, min(start + 50, count))]
            pictures = [render(scene, "3d", library).pixels for scene in held_out]
            parts.append(features(np.stack(pictures)).numpy())
        np.save(path, np.concatenate(parts).astype(np.float16))
    return torch.from_numpy(np.load(path).astype(np.float32))


def main() -> None:
    """Draw rows (resumable), or print their table and write the report."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.compare", description=__doc__)
    parser.add_argument("verb", choices=["draw", "report"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the raw records, one file a row")
    parser.add_argument("--split", choices=["tune", "test"], default="tune")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1, help="noises a scene")
    parser.add_argument("--scene-seed", type=int, default=0, help="another number draws other scenes")
    parser.add_argument("--rows", nargs="*", help="names; all by default")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sprites", type=Path, help="sprites.npz of the training folder: needed once, for the distance")
    parser.add_argument("--pairs", nargs="*", default=[], help="a=b: paired differences to report")
    parser.add_argument("--figure", type=Path, help="where to draw the frontier")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)

    def file(name: str) -> Path:
        return args.out / f"{args.split}-{args.scene_seed}-{ROWS.index(next(r for r in ROWS if r.name == name)):02d}.jsonl"

    if args.verb == "draw":
        for row in chosen(args.rows):
            draw_row(row, args.split, args.scenes, range(args.seeds), file(row.name), args.batch, args.scene_seed)
        return
    records = {row.name: list(read(file(row.name))) for row in chosen(args.rows) if file(row.name).exists()}
    rendered = rendered_features(args.out, args.split, 1000, args.sprites)
    rows = summary(records, rendered)
    pictures = min(len(r) for r in records.values())
    print(f"{pictures} pictures a row, split {args.split}, scene seed {args.scene_seed}\n\n{table(rows)}")
    if args.pairs:
        from realcompo_mini.compare.measure import aligned

        print("\n" + differences(aligned(records), [tuple(p.split("=", 1)) for p in args.pairs], rendered))  # type: ignore[misc]
    if args.figure:
        frontier(rows, args.figure)


if __name__ == "__main__":
    main()
