"""The table of all pairs, the claims that it bears out or not, and the contact sheet; from the records alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from realcompo.evaluation.measure import Figure
from realcompo_mini.compare.draw import read
from realcompo_mini.compare.measure import Record, picks_of
from realcompo_mini.compare.pair import BASE, FIDELITIES, LOOKS, PAIRS, SPATIALS, Pair
from realcompo_mini.compare.pairs_draw import ATTENTION, SHOWN, attention_file, condition, file_of, picture_of, scenes
from realcompo_mini.compare.report import ruled
from realcompo_mini.train.sprites import load

COLUMNS = {
    "placed": ("placed", "placed", "objects"),
    "present": ("present", "present", "objects"),
    "exact": ("exact count", "exact", None),
    "look": ("look", "look_right", None),
    "joints": ("joint error", "joint_error", None),
    "iou": ("mean IoU", "iou", None),
}
"""Column → heading, numerator and denominator, summed over pictures; None counts pictures."""

RATE, HALF, CLEARLY = 0.9, 0.5, 0.8


def column(records: Sequence[Record], name: str, count: int = 400) -> Figure:
    """A column of a row, with its 95% bootstrap interval over scenes."""
    _, top, bottom = COLUMNS[name]
    over = np.array([r[top] for r in records], float)
    under = np.array([1 if bottom is None else r[bottom] for r in records], float)
    draws = [over[pick].sum() / under[pick].sum() for pick in picks_of(records, count)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Figure(float(over.sum() / under.sum()), float(low), float(high))


@dataclass(frozen=True)
class Claim:
    """A sentence, the figure that it is about, its bound, and whether it holds."""

    text: str
    value: float
    bound: float
    holds: bool


def claims(rows: Mapping[str, Mapping[str, Figure]], attention: Mapping[str, float]) -> list[Claim]:
    """What the pairs are to show, each trained condition beside its control; only what has been drawn."""
    found: list[Claim] = []

    def at_least(text: str, value: float, bound: float) -> None:
        found.append(Claim(f"{text}: at least", value, bound, value >= bound))

    def at_most(text: str, value: float, bound: float) -> None:
        found.append(Claim(f"{text}: at most", value, bound, value <= bound))

    for fidelity in FIDELITIES:
        name = Pair(fidelity, "mini/boxes").name
        if name in rows:
            at_least(f"{name}, share of pictures of its own look", rows[name]["look"].value, RATE)
    for style in LOOKS:
        right, wrong = Pair(style, "mini/boxes").name, Pair(style, "mini/boxes", "words").name
        if right in rows and wrong in rows:
            at_most(f"{wrong}, look", rows[wrong]["look"].value, CLEARLY * rows[right]["look"].value)
    alone = Pair(BASE).name
    pose, blank, other = (Pair(BASE, "mini/pose", control).name for control in ("", "blank", "shuffled"))
    for control in (alone, blank, other):
        if pose in rows and control in rows:
            at_most(f"joint error of {pose} against half of {control}", rows[pose]["joints"].value, HALF * rows[control]["joints"].value)
    seg, blank, other = (Pair(BASE, "mini/segmentation", control).name for control in ("", "blank", "shuffled"))
    for control in (alone, blank, other):
        if seg in rows and control in rows:
            at_most(f"mean IoU of {control} against half of {seg}", rows[control]["iou"].value, HALF * rows[seg]["iou"].value)
    for spatial, control in (("mini/boxes", "shuffled"), ("layguide/sd", "unguided")):
        right, wrong = Pair(BASE, spatial).name, Pair(BASE, spatial, control).name
        if right in rows and wrong in rows:
            at_most(f"placed by {wrong}", rows[wrong]["placed"].value, CLEARLY * rows[right]["placed"].value)
    if set(ATTENTION) <= set(attention):
        base, taught = (attention[name] for name in ATTENTION)
        at_least("attention of TokenCompose in its objects' masks against its base", taught, base / CLEARLY)
    return found


def table(rows: Mapping[str, Mapping[str, Figure]], counts: Mapping[str, int]) -> str:
    """Markdown, one line a row."""
    lines = ruled("pair", ["pictures", *(heading for heading, _, _ in COLUMNS.values())])
    for name, row in rows.items():
        cells = [f"{f.value:.3f} ({f.low:.3f}–{f.high:.3f})" for f in row.values()]
        lines.append(f"| {name} | {counts[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def attention_means(records: Sequence[Record]) -> tuple[dict[str, float], str]:
    """Branch → mean share inside, and a table by time; nothing of no records."""
    if not records:
        return {}, ""
    names = list(dict.fromkeys(r["branch"] for r in records))
    times = sorted({r["time"] for r in records}, reverse=True)
    means = {n: float(np.mean([r["inside"] for r in records if r["branch"] == n])) for n in names}
    lines = ruled("attention inside the mask", [*(f"t = {t:g} T" for t in times), "mean"])
    for n in names:
        cells = [f"{np.mean([r['inside'] for r in records if r['branch'] == n and r['time'] == t]):.3f}" for t in times]
        lines.append(f"| {n} | " + " | ".join([*cells, f"{means[n]:.3f}"]) + " |")
    return means, "\n".join(lines)


def judge_of() -> str:
    """How far the judge itself is off, in a sentence; nothing in a checkout without it."""
    path = resources.files("realcompo_mini").joinpath("weights/reader/accuracy.json")
    if not path.is_file():
        return ""
    facts = json.loads(path.read_text("utf-8"))
    joints, overlap = (", ".join(f"{look} {row[key]:.3f}" for look, row in facts.items()) for key in ("joint_error", "mean_iou"))
    named = ", ".join(f"{look} {row['look']:.3f}" for look, row in facts.items())
    return f"The judge of these three on rendered, held-out pictures: joint error {joints}; mean IoU {overlap}; looks named right {named}."


def text_of(records: Mapping[str, Sequence[Record]], attention: Sequence[Record]) -> str:
    """Markdown of the three tables: the rows, the attention, and the claims."""
    rows = {name: {key: column(part, key) for key in COLUMNS} for name, part in records.items()}
    means, attended = attention_means(attention)
    said = ruled("claim", ["bound", "found", "holds"])
    said += [f"| {c.text} | {c.bound:.3f} | {c.value:.3f} | {'yes' if c.holds else '**no**'} |" for c in claims(rows, means)]
    parts = [table(rows, {name: len(part) for name, part in records.items()}), judge_of(), attended, "\n".join(said)]
    return "\n\n".join(part for part in parts if part) + "\n"


def records_of(out: Path, split: str) -> tuple[dict[str, list[Record]], list[Record]]:
    """Row → its records, in the order of `PAIRS`, of those that were drawn; and those of the attention."""
    found = {pair.name: list(read(file_of(out, split, pair))) for pair in PAIRS}
    return {name: part for name, part in found.items() if part}, list(read(attention_file(out, split)))


def report(out: Path, split: str, sprites: Path) -> str:
    """Write `out`/pairs.md and `out`/pairs.png; returns the text."""
    text = text_of(*records_of(out, split))
    (out / "pairs.md").write_text(text, "utf-8")
    contact_sheet(out, split, sprites)
    return text


def contact_sheet(out: Path, split: str, sprites: Path, side: int = 128) -> None:
    """`out`/pairs.png: what is asked for on top, then a line for each fidelity branch, alone and with each spatial branch."""
    margin, label, font = 150, 26, ImageFont.load_default(15)
    cell = SHOWN * (side + 2) + 10
    image = Image.new("RGB", (margin + (1 + len(SPATIALS)) * cell, label + (1 + len(FIDELITIES)) * (side + 10)), "white")
    pen = ImageDraw.Draw(image)
    for column_, spatial in enumerate((None, *SPATIALS)):
        left = margin + column_ * cell
        pen.text((left + 4, 5), Pair(BASE, spatial).name.split(" × ")[-1] if spatial else "alone", fill="#222", font=font)
        for k, asked in enumerate(asked_for(spatial, split, sprites, side)):
            image.paste(asked, (left + k * (side + 2), label))
        for line, fidelity in enumerate(FIDELITIES):
            top = label + (1 + line) * (side + 10)
            for k in range(SHOWN):
                path = picture_of(out, split, Pair(fidelity, spatial), k)
                if path.exists():
                    with Image.open(path) as picture:
                        image.paste(picture.convert("RGB").resize((side, side)), (left + k * (side + 2), top))
    pen.text((6, label + side / 2), "asked for", fill="#222", font=font)
    for line, fidelity in enumerate(FIDELITIES):
        pen.text((6, label + (1 + line) * (side + 10) + side / 2), fidelity, fill="#222", font=font)
    image.save(out / "pairs.png", optimize=True)


def asked_for(spatial: str | None, split: str, sprites: Path, side: int) -> list[Image.Image]:
    """The conditions of the first scenes as pictures; nothing for a branch alone."""
    from realcompo.conditions import Boxes, Keypoints
    from realcompo.conditions.drawing import draw_segments, draw_skeleton
    from realcompo_mini.palette import palette

    if spatial is None:
        return []
    pictures: list[Image.Image] = []
    for scene in scenes(split, SHOWN):
        told: Any = condition(spatial, scene, scene, load(sprites))
        if isinstance(told, Keypoints):
            pictures.append(draw_skeleton(told, (side, side)))
        elif isinstance(told, Boxes):
            plain = Image.new("RGB", (side, side), "white")
            for item in told.items:
                ImageDraw.Draw(plain).rectangle([v * side for v in item.box], outline="#c33", width=2)
            pictures.append(plain)
        else:
            pictures.append(draw_segments(told, (side, side), palette()))
    return pictures
