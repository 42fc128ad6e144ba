"""The cheaper forms, each beside its exact form, and the default at 8, 20 and 50 steps: on scenes of the tuning split, one noise each.

``python -m realcompo_mini.compare.forms draw --out DIR`` draws and judges what is missing (resumable); ``table`` prints what is there, and
``page --page docs/algorithm.md`` writes it between the page's marks. So few scenes tell a form that breaks from one that does not; they
choose nothing.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from realcompo.files import made_between
from realcompo_mini.compare.draw import cost_of, draw_row, read
from realcompo_mini.compare.measure import Record, aligned, picks_of, share
from realcompo_mini.compare.report import ruled
from realcompo_mini.compare.tuning import parse

SCENES = 24
MARKS = ("<!-- drawn forms: made by python -m realcompo_mini.compare.forms page -->", "<!-- end of drawn forms -->")
COLUMNS = {"in_box": "in box", "placed": "placed", "attributes": "attributes", "present": "present", "exact": "exact count"}

STEPS = {
    f"{branch}{steps}": [f"{form}{other} steps={steps}" for form in ("guided", "guided moves=0", "guided length=-0.03")]
    for branch, other in (("", ""), ("layguide ", " other=layguide/sd"))
    for steps in (8, 20, 50)
}
"""The default, without its moves, and the control with moves up the slope, at three numbers of steps, on two pairs."""

_TUNED = "balance warmup=0.0 finish=0.8 inside=0.9,0.2 outside=0.3,0.0 rate=0.4"
FORMS = {
    "core/guided": [
        "guided",
        "guided lagged=true",
        "guided lagged=true every=2",
        "guided stop=true",
        "guided interval=0.3,5",
        "guided deep=2",
        "guided lagged=true deep=2 interval=0.3,5",
        "guided lagged=true length=-0.03",
    ],
    "core/balance": [
        _TUNED,
        f"{_TUNED} probe=lagged",
        f"{_TUNED} unconditional=shared",
        f"{_TUNED} probe=lagged unconditional=shared",
        f"{_TUNED.replace('rate=0.4', 'rate=-0.4')} probe=lagged",
    ],
    "few steps": [f"guided steps={steps} scheduler={scheduler}" for steps in (8, 12) for scheduler in ("ddim", "dpm++-2m", "unipc")],
}
"""Group → rows; the first of a group is the exact form that the others are held against."""


def path_of(out: Path, name: str) -> Path:
    """Where the records of a row are."""
    return out / (re.sub(r"[^a-z0-9.]+", "-", name.replace("=-", "=minus ").lower()).strip("-") + ".jsonl")


def draw(out: Path, groups: Mapping[str, Sequence[str]], scenes: int, batch: int) -> None:
    """Append what is missing, and count each row's F once."""
    costs_path = out / "costs.json"
    costs = json.loads(costs_path.read_text("utf-8")) if costs_path.exists() else {}
    for name in (row for rows in groups.values() for row in rows):
        draw_row(parse(name), "tune", scenes, 1, path_of(out, name), batch)
        if name not in costs:
            costs[name] = round(cost_of(parse(name)), 2)
            costs_path.write_text(json.dumps(costs, indent=1, ensure_ascii=False) + "\n", "utf-8")


def table(out: Path, groups: Mapping[str, Sequence[str]]) -> str:
    """Markdown: figures of each row, and the paired difference in box from the first of its group, with its 95% interval."""
    costs = json.loads((out / "costs.json").read_text("utf-8"))
    lines = ruled("", [*COLUMNS.values(), "in box − the first's", "F"])
    for rows in groups.values():
        records = {name: found for name in rows if (found := list(read(path_of(out, name)))) and name in costs}
        records = aligned(records) if records else {}
        for name, found in records.items():
            first = next(iter(records.values()))
            cells = [f"{share(found, column):.3f}" for column in COLUMNS]
            cells += ["" if found is first else paired(found, first), f"{costs[name]:.1f}"]
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def paired(a: Sequence[Record], b: Sequence[Record]) -> str:
    """a − b in box, with its 95% interval over scenes."""
    gaps = [share(a, "in_box", pick) - share(b, "in_box", pick) for pick in picks_of(a, 1000)]
    low, high = sorted(gaps)[24], sorted(gaps)[974]
    return f"{share(a, 'in_box') - share(b, 'in_box'):+.3f} ({low:+.3f} … {high:+.3f})"


def main() -> None:
    """Draw, or tell what was drawn."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.compare.forms", description=__doc__)
    parser.add_argument("verb", choices=["draw", "table", "page"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the records")
    parser.add_argument("--groups", nargs="*", help="of rows; all by default")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--page", type=Path, help="where the table stands between marks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    everything = {**STEPS, **FORMS}
    groups = {name: everything[name] for name in args.groups or everything}
    args.out.mkdir(parents=True, exist_ok=True)
    if args.verb == "draw":
        draw(args.out, groups, args.scenes, args.batch)
    elif args.verb == "table" or args.page is None:
        print(table(args.out, groups))
    else:
        args.page.write_text(made_between(args.page.read_text("utf-8"), *MARKS, table(args.out, groups)), "utf-8")


if __name__ == "__main__":
    main()
