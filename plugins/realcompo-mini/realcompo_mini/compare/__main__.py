"""python -m realcompo_mini.compare draw|report|page: see the package."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch

from realcompo_mini.compare.architecture import architecture, flow_records
from realcompo_mini.compare.draw import cost_of, draw_row, read
from realcompo_mini.compare.measure import Record, aligned
from realcompo_mini.compare.page import page
from realcompo_mini.compare.pairs_report import records_of as pair_records
from realcompo_mini.compare.pairs_report import text_of
from realcompo_mini.compare.report import differences, frontier, summary, table
from realcompo_mini.compare.rivals import RIVALS
from realcompo_mini.compare.rivals import records_of as rival_records
from realcompo_mini.compare.rows import ROWS
from realcompo_mini.compare.tuning import chosen, parse

RENDERED = 1000


def rendered_features(out: Path, sprites: Path | None) -> torch.Tensor:
    """Features (N, D) of rendered, held-out 3D scenes, kept beside the records: the other side of the distance."""
    path, count = out / "rendered.npy", RENDERED
    if not path.exists():
        if sprites is None:
            raise SystemExit(f"{path} is not there yet: --sprites names the sprites.npz of the training folder, to render it")
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
    return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))


def write_moments(rendered: torch.Tensor) -> None:
    """Mean and covariance of the rendered features beside the detector's weights: what the suite's scorer `mini/distance` measures from."""
    from safetensors.torch import save_file

    from realcompo_mini.suite import MOMENTS

    looks = rendered.double()
    save_file({"mean": looks.mean(0).float(), "covariance": torch.cov(looks.T).float()}, str(MOMENTS))


def records_of(out: Path, split: str, scene_seed: int, rows: list[str] | None) -> dict[str, list[Record]]:
    """Row → its records: of the rows named, or of every file of the folder, the table's own rows first."""
    found: dict[str, list[Record]] = {}
    for path in sorted(out.glob(f"{split}-{scene_seed}-*.jsonl")):
        records = list(read(path))
        if records and (not rows or records[0]["row"] in rows):
            found[records[0]["row"]] = records
    order = {row.name: index for index, row in enumerate(ROWS)}
    return {name: found[name] for name in sorted(found, key=lambda name: (order.get(name, len(order)), name))}


def write_page(out: Path, rendered: torch.Tensor) -> None:
    """`out`.md and `out`/frontier.png, from the records in `out` and its folders pairs, flow and ways, template.txt and setting.json."""
    test, other, tune = (records_of(out, *which, None) for which in (("test", 0), ("test", 1), ("tune", 0)))
    setting = json.loads((out / "setting.json").read_text("utf-8"))
    template = (out / "template.txt").read_text("utf-8")
    costs, its = (json.loads((where / "costs.json").read_text("utf-8")) for where in (out, out / "flow"))
    more = architecture(flow_records(out), test, rendered, {**costs, **its}, out / "ways")
    rivals, pairs = rival_records(out / "rivals"), text_of(*pair_records(out / "pairs", "test"))
    out.with_suffix(".md").write_text(page(test, other, tune, pairs, rendered, setting, template, costs, rivals, more), "utf-8")
    frontier(summary(test, rendered), out / "frontier.png")


def main() -> None:
    """Draw rows (resumable), or print their table and write the report."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.compare", description=__doc__)
    parser.add_argument("verb", choices=["draw", "report", "page", "gallery", "costs", "moments"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the raw records, one file a row")
    parser.add_argument("--split", choices=["tune", "test"], default="tune")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1, help="noises a scene")
    parser.add_argument("--scene-seed", type=int, default=0, help="another number draws other scenes")
    parser.add_argument("--rows", nargs="*", help="names; all by default")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sprites", type=Path, help="sprites.npz of the training folder: needed once, for the distance")
    parser.add_argument("--pairs", nargs="*", default=[], help="a|b: paired differences to report")
    parser.add_argument("--figure", type=Path, help="where to draw the frontier")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)

    def file(name: str) -> Path:
        slug = re.sub(r"[^a-z0-9.]+", "-", name.replace("−", "minus ").lower()).strip("-")
        return args.out / f"{args.split}-{args.scene_seed}-{slug}.jsonl"

    if args.verb == "draw":
        for row in chosen(args.rows):
            draw_row(row, args.split, args.scenes, args.seeds, file(row.name), args.batch, args.scene_seed, args.device)
        return
    if args.verb == "gallery":
        from realcompo_mini.compare.gallery import gallery

        head = (args.out / "template.txt").read_text("utf-8")
        args.out.with_suffix(".md").write_text(head + gallery(args.out), "utf-8")
        return
    if args.verb == "costs":
        found = {row.name: round(cost_of(row), 3) for row in chosen(args.rows) + ([] if args.rows else list(map(parse, RIVALS)))}
        (args.out / "costs.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return
    if args.verb == "moments":
        write_moments(rendered_features(args.out, args.sprites))
        return
    if args.verb == "page":
        write_page(args.out, rendered_features(args.out, args.sprites))
        return
    records = records_of(args.out, args.split, args.scene_seed, args.rows)
    rendered = rendered_features(args.out, args.sprites)
    rows = summary(records, rendered)
    pictures = min(len(r) for r in records.values())
    print(f"{pictures} pictures a row, split {args.split}, scene seed {args.scene_seed}\n\n{table(rows)}")
    if args.pairs:
        print("\n" + differences(aligned(records), [tuple(p.split("|", 1)) for p in args.pairs], rendered))  # type: ignore[misc]
    if args.figure:
        frontier(rows, args.figure)


if __name__ == "__main__":
    main()
