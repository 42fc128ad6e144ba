"""The section "Another architecture" of docs/results.md: `mini/flow` with each kind of spatial branch, beside `mini/fidelity`'s rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from realcompo.evaluation.measure import interval, resamples
from realcompo_mini.compare.draw import read
from realcompo_mini.compare.measure import Record, aligned
from realcompo_mini.compare.page import BOXES_ALONE, FIDELITY_ALONE, MEAN
from realcompo_mini.compare.pair import BASE, Pair
from realcompo_mini.compare.report import differences, ruled, summary, table
from realcompo_mini.compare.rows import (
    BACKWARD,
    BEFORE,
    FLOW,
    FLOW_ALONE,
    FLOW_BACKWARD,
    FLOW_DEFAULT,
    FLOW_MEAN,
    FLOW_ROWS,
    FLOW_SHUFFLED,
    FLOW_STILL,
)
from realcompo_mini.compare.ways import ALONE, HELD, file_of
from realcompo_mini.compare.ways import DEFAULT as HELD_BY_DEFAULT
from realcompo_mini.compare.ways import MEAN as MEAN_WAY

BESIDE = (FIDELITY_ALONE, BOXES_ALONE, MEAN, "hand-over at 0.3", BEFORE, BACKWARD)
"""Rows of the first table that the flow's stand beside, on the scenes and noises of both; the flow's, too, have boxes guidance 4."""
GAPS = (
    (FLOW_DEFAULT, FLOW_ALONE),
    (FLOW_DEFAULT, BOXES_ALONE),
    (FLOW_DEFAULT, FLOW_MEAN),
    (FLOW_DEFAULT, FLOW_STILL),
    (FLOW_BACKWARD, FLOW_DEFAULT),
    (FLOW_SHUFFLED, FLOW_DEFAULT),
    (FLOW_DEFAULT, BEFORE),
)
LEAST = 1.15
"""Times the better parent's share in box that was asked of the default."""
HINTS = (("joint_error", "joint error"), ("iou", "mean IoU"), ("present", "present"), ("exact", "exact count"), ("look_right", "look"))


def flow_records(out: Path) -> dict[str, list[Record]]:
    """Row → its records in the folder `out`/flow, in the order of `FLOW_ROWS`."""
    found = {records[0]["row"]: records for path in (out / "flow").glob("test-0-*.jsonl") if (records := list(read(path)))}
    return {row.name: found[row.name] for row in FLOW_ROWS if row.name in found}


def architecture(
    flow: Mapping[str, list[Record]], test: Mapping[str, list[Record]], rendered: torch.Tensor, costs: Mapping[str, float], ways: Path
) -> Mapping[str, str]:
    """The parts of the section, by the names that the template has for them.

    Args:
        flow, test: row → records, of `mini/flow` and of the first table.
        ways: folder of the records of poses and maps.
    """
    rows = aligned({**flow, **{name: test[name] for name in BESIDE}})
    figures = summary(rows, rendered)
    ours, parents = figures[FLOW_DEFAULT]["in_box"].value, (FLOW_ALONE, BOXES_ALONE)
    better = max(parents, key=lambda name: figures[name]["in_box"].value)
    times = ours / max(figures[better]["in_box"].value, 1e-9)
    asked = f"in box {ours:.3f}, {times:.2f} times the better parent's ({better}): at least {LEAST} was asked, which "
    return {
        "flow_table": table(figures, costs),
        "flow_differences": differences(rows, [gap for gap in GAPS if gap[0] in rows and gap[1] in rows], rendered),
        "flow_verdict": asked + ("holds" if times >= LEAST else "does **not** hold"),
        "flow_hints": hinted(ways),
        "flow_pictures": str(len(rows[FLOW_DEFAULT])),
    }


def hinted(ways: Path) -> str:
    """Markdown: poses and maps with both fidelity branches, from the records of docs/pairs.md."""
    lines = ruled("pair", ["pictures", *(title for _, title in HINTS)])
    for fidelity in (BASE, FLOW):
        alone = Pair(fidelity)
        lines.append(_line(alone.name, list(read(file_of(ways, "test", alone, ALONE)))))
        for spatial in HELD:
            pair = Pair(fidelity, spatial)
            for way in (MEAN_WAY, HELD_BY_DEFAULT):
                lines.append(_line(f"{pair.name}, {way.name}", list(read(file_of(ways, "test", pair, way)))))
    return "\n".join(lines)


def _line(name: str, records: Sequence[Record]) -> str:
    """One row, with intervals by bootstrap over scenes."""
    picks = resamples([record["scene"] for record in records], 400)
    cells = []
    for column, _ in HINTS:
        over = torch.tensor([float(record[column]) for record in records], dtype=torch.float64)
        under = torch.tensor([float(record["objects"]) if column == "present" else 1.0 for record in records], dtype=torch.float64)
        figure = interval(float(over.sum() / under.sum()), [float(over[p].sum() / under[p].sum()) for p in picks])
        cells.append(f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})")
    return f"| {name} | {len(records)} | " + " | ".join(cells) + " |"
