"""docs/paper-tables.md: the paper's tables and figures as far as the mini family can answer them, from committed records alone.

``python -m realcompo_mini.compare.paper_tables --out docs/results --page docs/paper-tables.md`` writes the page; ``--table NAME`` prints a
table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from realcompo.evaluation.measure import interval
from realcompo_mini.compare.draw import read, scenes
from realcompo_mini.compare.gradients import VERSIONS, file_of
from realcompo_mini.compare.measure import Record, aligned, picks_of, share
from realcompo_mini.compare.pair import LOOKS, Pair
from realcompo_mini.compare.report import differences, ruled, summary, table
from realcompo_mini.compare.rivals import RIVALS, beside
from realcompo_mini.compare.rivals import records_of as rival_records
from realcompo_mini.compare.rows import DEFAULT
from realcompo_mini.compare.ways import DEFAULT as DEFAULT_WAY
from realcompo_mini.compare.ways import MEAN, PAPER, SPATIAL, Way, ways_of
from realcompo_mini.compare.ways import file_of as way_file
from realcompo_mini.compare.ways_report import SHARES, metric, rendered_features, rows_of
from realcompo_mini.language import parse

Scene = Any

KINDS: dict[str, tuple[str, Callable[[Scene], bool]]] = {
    "colour": ("present", lambda s: any(i.colour for i in s.items)),
    "texture": ("present", lambda s: any(i.pattern for i in s.items)),
    "spatial": ("in_box", lambda s: any(s.relations)),
    "numeracy": ("exact", lambda s: any(i.count > 1 for i in s.items)),
    "complex": ("in_box", lambda s: s.count > 2 and any(s.relations) and any(i.colour or i.pattern for i in s.items)),
}
"""A kind of prompt → the column that answers it, and which sentences are of it. The world has no shapes and no actions."""
ROWS = ("fidelity alone", "boxes alone", "mean of both", "hand-over at 0.3", "the paper's balance", DEFAULT)
HANDED = {0.0: "fidelity alone", **{share: f"hand-over at {share}" for share in (0.3, 0.4, 0.5, 0.7)}, 1.0: "boxes alone"}
"""Share of the run with the layout → row."""


def rows_in(out: Path, names: Sequence[str]) -> dict[str, list[Record]]:
    """The first table's rows of these names, in this order."""
    found = {records[0]["row"]: records for records in (list(read(path)) for path in sorted(out.glob("test-0-*.jsonl"))) if records}
    return {name: found[name] for name in names if name in found}


def rendered_in(out: Path) -> torch.Tensor:
    """Features (N, D) of the rendered scenes that the first table's distance is to."""
    return torch.from_numpy(np.load(out / "rendered.npy", allow_pickle=False).astype(np.float32))


def kinds(out: Path) -> str:
    """Table 1: a row's figure on the scenes of each kind, with its interval."""
    rows = rows_in(out, ROWS)
    count = 1 + max(r["scene"] for records in rows.values() for r in records)
    sentences = [parse(scene.caption) for scene in scenes("test", count)]
    of = {kind: {n for n, s in enumerate(sentences) if told(s)} for kind, (_, told) in KINDS.items()}
    lines = ruled("", [f"{kind} ({len(of[kind])} scenes)" for kind in KINDS])
    for name, records in rows.items():
        cells = []
        for kind, (column, _) in KINDS.items():
            part = [r for r in records if r["scene"] in of[kind]]
            figure = interval(share(part, column), [share(part, column, pick) for pick in picks_of(part, 400)])
            cells.append(f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def layout_first(out: Path) -> str:
    """Fig. 1: the layout model for the first t steps only, then the text alone."""
    rows = summary(rows_in(out, tuple(HANDED.values())), rendered_in(out))
    lines = ruled("layout for", ["in box", "placed", "attributes", "present", "distance"])
    for share_, name in HANDED.items():
        cells = [
            f"{rows[name][c].value:.3f} ({rows[name][c].low:.3f}–{rows[name][c].high:.3f})"
            for c in ("in_box", "placed", "attributes", "present", "distance")
        ]
        lines.append(f"| {share_:.0%} of the steps | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ways(out: Path, pairs: Mapping[str, Pair], wanted: Sequence[Way]) -> str:
    """Pairs by their names, each drawn in some ways: the pair's own column, distance, presence and look."""
    lines = ruled("pair", ["way", "column", "", "distance", "present", "look", "F"])
    for title, pair in pairs.items():
        folder, column = out / "ways", metric(pair)
        records = {way.name: list(read(way_file(folder, "test", pair, way))) for way in ways_of(pair) if way in wanted}
        for way, row in rows_of({n: r for n, r in records.items() if r}, rendered_features(folder, pair.look, None)).items():
            cells = [f"{row[c].value:.3f} ({row[c].low:.3f}–{row[c].high:.3f})" for c in (column, "distance")]
            more = [f"{row[c].value:.2f}" for c in ("present", "look")]
            lines.append(
                f"| {title} | {way} | {SHARES[column][0]} | {cells[0]} | {cells[1]} | {more[0]} | {more[1]} | {row['f'].value:.1f} |"
            )
    return "\n".join(lines)


def balancer(out: Path) -> str:
    """Fig. 8: with the balancer and without it (the mean), on v1 to v4."""
    return ways(out, {f"{version}: {pair.name}": pair for version, pair in VERSIONS.items()}, (MEAN, PAPER, DEFAULT_WAY))


def ablation(out: Path) -> str:
    """Fig. 8 on the first pair: the paper's balance, and the mean after the same warm-up, which is that without its gradient; paired."""
    plain = list(read(out / "paper" / "test-0-mean-warmup-0.4.jsonl"))
    if not plain:
        return "not drawn yet"
    with_it, without = PAPER.name, "without: the mean after the same warm-up"
    rows = aligned({with_it: rows_in(out, (with_it,))[with_it], without: plain})
    gaps = differences(rows, [(with_it, without)], rendered_in(out))
    return f"{len(plain)} pictures a row.\n\n{table(summary(rows, rendered_in(out)))}\n\n{gaps}"


def styles(out: Path) -> str:
    """Fig. 7: the styles beside the boxes model."""
    return ways(out, {(p := Pair(style, "mini/boxes")).name: p for style in LOOKS}, (SPATIAL, MEAN, PAPER, DEFAULT_WAY))


def conditions(out: Path) -> str:
    """Fig. 4: key points and segmentation."""
    pairs = {(p := Pair("mini/fidelity", spatial)).name: p for spatial in ("mini/pose", "mini/segmentation")}
    return ways(out, pairs, (SPATIAL, MEAN, PAPER, DEFAULT_WAY))


def gradients(out: Path) -> str:
    """Fig. 10: median over pictures at each balanced step, and how much it jumps: the median, over pictures and over the run's first half,
    of |ln of one step's norm over the last one's|."""
    found = {version: list(read(file_of(out / "paper", version))) for version in VERSIONS}
    found = {version: records for version, records in found.items() if records}
    steps = sorted({step for records in found.values() for r in records for step in r["steps"]})
    titles = [f"{version}, {what}" for version in found for what in ("fidelity ‖∂L/∂z‖", "spatial ‖∂L/∂z‖", "1000 · ∂L/∂ξ")]
    lines = ruled("step", titles)
    for step in steps:
        cells = []
        for records in found.values():
            at = [(r["latents"][r["steps"].index(step)], r["weights"][r["steps"].index(step)]) for r in records if step in r["steps"]]
            columns = ([latents[0] for latents, _ in at], [latents[1] for latents, _ in at], [1000 * weights for _, weights in at])
            cells += [f"{np.median(column):.4f}" if column else "–" for column in columns]
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    jumps = []
    for records in found.values():
        for take in (lambda r: [x[0] for x in r["latents"]], lambda r: [x[1] for x in r["latents"]], lambda r: r["weights"]):
            jumps.append(f"**{np.median([jump(r['steps'], take(r)) for r in records]):.3f}**")
    lines.append("| **jumps, first half** | " + " | ".join(jumps) + " |")
    return "\n".join(lines)


def jump(steps: Sequence[int], values: Sequence[float], half: int = 10) -> float:
    """Median |ln(x of a step / x of the step before)| over the steps before `half`."""
    first = np.log(np.maximum([value for step, value in zip(steps, values, strict=True) if step < half], 1e-12))
    return float(np.median(np.abs(np.diff(first)))) if len(first) > 1 else 0.0


def published(out: Path) -> str:
    """The published code's rule on the first pair, beside the paper's and the default."""
    rivals = rival_records(out / "rivals")
    rows = summary(beside(rows_in(out, ROWS), rivals), rendered_in(out))
    lines = ruled("", ["in box", "placed", "attributes", "present", "exact count", "distance"])
    for name in (RIVALS["published"], "the paper's balance", "mean of both", DEFAULT):
        if name in rows:
            row = rows[name]
            cells = [
                f"{row[c].value:.3f} ({row[c].low:.3f}–{row[c].high:.3f})"
                for c in ("in_box", "placed", "attributes", "present", "exact", "distance")
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[Path], str]] = {
    "kinds": kinds,
    "layout-first": layout_first,
    "ablation": ablation,
    "balancer": balancer,
    "styles": styles,
    "conditions": conditions,
    "gradients": gradients,
    "published": published,
}


def page(out: Path) -> str:
    """`out`/paper/template.txt with the tables filled in."""
    text = (out / "paper" / "template.txt").read_text("utf-8")
    for name, made in TABLES.items():
        text = text.replace("{" + name + "}", made(out))
    return text


def main() -> None:
    """Print a table, or write the page."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.compare.paper_tables", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records, docs/results")
    parser.add_argument("--table", choices=list(TABLES), help="print this one")
    parser.add_argument("--page", type=Path, help="where the page goes")
    args = parser.parse_args()
    if args.table:
        print(TABLES[args.table](args.out))
    if args.page:
        args.page.write_text(page(args.out), "utf-8")


if __name__ == "__main__":
    main()
