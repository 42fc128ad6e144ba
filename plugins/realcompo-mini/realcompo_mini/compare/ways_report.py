"""docs/pairs.md: every pair drawn in every way, from the records alone.

``python -m realcompo_mini.compare.ways_report --out docs/results/ways --page docs/pairs.md`` writes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from realcompo.evaluation.measure import Figure
from realcompo_mini.compare.draw import read
from realcompo_mini.compare.measure import Record, aligned, distance, picks_of, share
from realcompo_mini.compare.pair import LOOKS, Pair
from realcompo_mini.compare.report import ruled
from realcompo_mini.compare.ways import BACKWARD, CHOSEN, DEFAULT, HELD, LONGER, MEAN, NOW, PAIRS, file_of, rendered_features, ways_of

Rows = Mapping[str, Mapping[str, Figure]]
"""Way → column → figure."""

SHARES = {
    "in_box": ("in box", "in_box", "objects"),
    "placed": ("placed", "placed", "objects"),
    "joints": ("joint error", "joint_error", None),
    "iou": ("mean IoU", "iou", None),
    "present": ("present", "present", "objects"),
    "exact": ("exact count", "exact", None),
    "look": ("look", "look_right", None),
    "f": ("F", "f", None),
}
"""Column → heading, numerator and denominator, summed over pictures; None counts pictures."""
MOVE = 1.23
"""F of a move of the mini family."""
LESS = {"joints", "distance"}
"""Columns in which less is better."""


def metric(pair: Pair) -> str:
    """The column that says whether a pair's condition is followed. An outline has no colour, so there only names and places count."""
    if pair.spatial == "mini/pose":
        return "joints"
    if pair.spatial == "mini/segmentation":
        return "iou"
    return "placed" if LOOKS.get(pair.fidelity) == "outline" else "in_box"


def figure(records: Sequence[Record], column: str, count: int = 400) -> Figure:
    """A column of a row with its 95% bootstrap interval over scenes."""
    _, top, bottom = SHARES[column]
    over = np.array([r[top] for r in records], float)
    under = np.array([1 if bottom is None else r[bottom] for r in records], float)
    draws = [over[pick].sum() / under[pick].sum() for pick in picks_of(records, count)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Figure(float(over.sum() / under.sum()), float(low), float(high))


def rows_of(records: Mapping[str, list[Record]], rendered: torch.Tensor) -> dict[str, dict[str, Figure]]:
    """Way → its figures, on the scenes that all ways have."""
    found: dict[str, dict[str, Figure]] = {}
    for name, part in aligned(dict(records)).items():
        found[name] = {column: figure(part, column) for column in SHARES}
        far = distance(part, rendered)
        draws = np.array([distance(part, rendered, pick) for pick in picks_of(part, 20)])
        low, high = np.quantile(draws - draws.mean() + far, [0.025, 0.975])  # a resample repeats pictures, which adds to the distance
        found[name]["distance"] = Figure(far, float(low), float(high))
    return found


@dataclass(frozen=True)
class Verdict:
    """What a pair says of the default.

    Attributes:
        above: ways that are better than the default in the pair's column and in distance, both.
        cheap: of them those that cost no more F.
        moves_help, control_fails: whether the column is better than without moves at as many F, and than with moves backwards; None where
            the default makes no moves.
    """

    above: tuple[str, ...]
    cheap: tuple[str, ...]
    moves_help: bool | None
    control_fails: bool | None


def better(a: Figure, b: Figure, column: str) -> bool:
    """Whether a is better than b."""
    return a.value < b.value if column in LESS else a.value > b.value


def default_of(rows: Rows) -> Mapping[str, Figure]:
    """What the default draws without options today, where that was drawn."""
    return rows.get(NOW.name, rows[DEFAULT.name])


def verdict(rows: Rows, column: str) -> Verdict:
    """Of the figures themselves, without their intervals. What the moves do is told at the guidance that all rows with and without them
    were drawn at."""
    ours, before = default_of(rows), rows[DEFAULT.name]
    own = {way.name for way in (DEFAULT, BACKWARD, NOW, CHOSEN)}
    rivals = {name: row for name, row in rows.items() if name not in own}
    above = tuple(
        name
        for name, row in rivals.items()
        if better(row[column], ours[column], column) and better(row["distance"], ours["distance"], "distance")
    )
    cheap = tuple(name for name in above if rivals[name]["f"].value <= ours["f"].value)
    helped, failed = (better(before[column], rows[way.name][column], column) if way.name in rows else None for way in (LONGER, BACKWARD))
    return Verdict(above, cheap, helped, failed)


def table(rows: Rows, column: str) -> str:
    """Markdown, a line a way; the pair's column and the distance with their intervals."""
    columns = [column, "distance", *(c for c in ("present", "exact", "look", "f") if c != column)]
    heads = [SHARES[c][0] if c in SHARES else c for c in columns]
    lines = ruled("way", heads)
    for name, row in rows.items():
        cells = [f"{row[c].value:.3f} ({row[c].low:.3f}–{row[c].high:.3f})" for c in columns[:2]]
        cells += [f"{row[c].value:.1f}" if c == "f" else f"{row[c].value:.2f}" for c in columns[2:]]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def overview(tables: Mapping[Pair, Rows]) -> str:
    """Markdown, a line a pair: the default beside its rivals, and what the figures say."""
    heads = ["column", "default", "mean", "best hand-over", "paper", "no moves, same F", "backwards", "its distance", "the mean's", "its F"]
    lines = ruled("pair", [*heads, "better in both"])
    for pair, rows in tables.items():
        column = metric(pair)
        overs = [row[column].value for name, row in rows.items() if name.startswith("hand-over")]
        best = (min if column in LESS else max)(overs) if overs else float("nan")

        def cell(name: str, of: str, rows: Rows = rows) -> str:
            return f"{rows[name][of].value:.3f}" if name in rows else "–"

        cells = [
            SHARES[column][0], f"**{default_of(rows)[column].value:.3f}**", cell(MEAN.name, column), f"{best:.3f}",
            cell("the paper's balance", column), cell(LONGER.name, column), cell(BACKWARD.name, column),
            f"{default_of(rows)['distance'].value:.3f}", cell(MEAN.name, "distance"), f"{default_of(rows)['f'].value:.1f}",
            ", ".join(verdict(rows, column).above) or "none",
        ]  # fmt: skip
        lines.append(f"| {pair.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(tables: Mapping[Pair, Rows]) -> str:
    """How many pairs bear out what."""
    said = {pair: verdict(rows, metric(pair)) for pair, rows in tables.items()}
    lines = ruled("claim", ["pairs", "not"])
    tests: tuple[tuple[str, Callable[[Verdict], bool | None]], ...] = (
        ("no way is better in the column and in distance at once, whatever it costs", lambda v: not v.above),
        ("none is at no more F", lambda v: not v.cheap),
        ("the mean is not better in both", lambda v: MEAN.name not in v.above),
        ("the moves help: the column is better than without them at as many F", lambda v: v.moves_help),
        ("the control fails: with moves backwards the column is worse", lambda v: v.control_fails),
    )
    for text, holds in tests:
        found = {pair.name: holds(v) for pair, v in said.items() if holds(v) is not None}
        against = [name for name, right in found.items() if not right]
        lines.append(f"| {text} | {len(found) - len(against)} of {len(found)} | {', '.join(against) or '–'} |")
    return "\n".join(lines)


def tables_of(out: Path, split: str, sprites: Path | None) -> dict[Pair, dict[str, dict[str, Figure]]]:
    """Pair → its figures, of those that were drawn by default and by the mean at least."""
    found = {}
    for pair in PAIRS:
        records = {way.name: list(read(file_of(out, split, pair, way))) for way in ways_of(pair)}
        records = {name: part for name, part in records.items() if part}
        if {DEFAULT.name, MEAN.name} <= set(records):
            found[pair] = rows_of(records, rendered_features(out, pair.look, sprites))
    return found


def details(pair: Pair, rows: Rows) -> str:
    """A pair's heading and table."""
    note = " The default makes no moves here: it is the hand-over of that share." if pair.spatial in HELD else ""
    pictures = f"{SHARES[metric(pair)][0]} is its column.{note}"
    return f"### {pair.name}\n\n{pictures}\n\n{table(rows, metric(pair))}"


def sampling(records: Sequence[Record]) -> float:
    """F of sampling a picture: as the records say; of those that only count calls, by what a guided step and a move cost."""
    return float(np.mean([r.get("f", 2 * r["predictions"] + MOVE * r.get("moves", 0)) for r in records]))


def knobs(out: Path, rendered: torch.Tensor) -> str:
    """Markdown: the default with one knob turned, and in fewer and more steps, from the records in `out`/knobs."""
    lines = ruled("settings", ["pictures", "in box", "attributes", "present", "exact count", "distance", "F"])
    for path in sorted((out / "knobs").glob("*.jsonl"), key=lambda path: (len(list(read(path))), path.name)):
        records = list(read(path))
        cells = [f"{share(records, column):.3f}" for column in ("in_box", "attributes", "present", "exact")]
        cells += [f"{distance(records, rendered):.3f}", f"{sampling(records):.1f}"]
        lines.append(f"| {records[0]['row']} | {len(records)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(out: Path, sprites: Path | None = None) -> str:
    """docs/pairs.md: `out`/template.txt with the tables filled in."""
    tables = tables_of(out, "test", sprites)
    parts = {
        "summary": summary(tables),
        "overview": overview(tables),
        "knobs": knobs(out, torch.from_numpy(np.load(out.parent / "rendered.npy", allow_pickle=False).astype(np.float32))),
        "details": "\n\n".join(details(pair, rows) for pair, rows in tables.items()),
        "pictures": str(min(len(list(read(file))) for file in out.glob("test-*.jsonl"))),
        "pairs": str(len(tables)),
    }
    text = (out / "template.txt").read_text("utf-8")
    for name, part in parts.items():
        text = text.replace("{" + name + "}", part)
    return text


def main() -> None:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.compare.ways_report", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records")
    parser.add_argument("--page", type=Path, help="where the report goes, a page of docs")
    parser.add_argument("--sprites", type=Path, help="sprites.npz of the training folder: needed once, for the distance")
    args = parser.parse_args()
    text = page(args.out, args.sprites)
    if args.page:
        args.page.write_text(text, "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
