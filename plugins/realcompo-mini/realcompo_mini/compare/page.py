"""docs/results.md: tables, differences and verdicts, all computed from the raw records; no figure is typed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from realcompo.evaluation.measure import Figure
from realcompo_mini.compare.measure import Record, aligned, difference, key, share
from realcompo_mini.compare.report import HEAD, MEASURED, differences, ruled, shown, summary, table
from realcompo_mini.compare.rivals import section
from realcompo_mini.compare.rows import BACKWARD, BALANCE, BEFORE, CHEAP, CHOSEN, CONTROL, DEFAULT, LAGGED, NO_MOVES, PRIOR_ALONE, SHORT
from realcompo_mini.suite import OBJECTS

Rows = Mapping[str, Mapping[str, Figure]]
FIDELITY_ALONE, BOXES_ALONE, MEAN = "fidelity alone", "boxes alone", "mean of both"
SHARES = ("in_box", "placed", "present", "exact")
PAIRS = (
    (DEFAULT, FIDELITY_ALONE),
    (DEFAULT, BOXES_ALONE),
    (DEFAULT, MEAN),
    (DEFAULT, "the paper's balance"),
    (DEFAULT, BALANCE),
    (DEFAULT, "hand-over at 0.5"),
    (DEFAULT, NO_MOVES),
    (LAGGED, DEFAULT),
    (SHORT, DEFAULT),
    (SHORT, "hand-over at 0.5"),
    (CHOSEN, DEFAULT),
    (DEFAULT, BEFORE),
    (BEFORE, "hand-over at 0.3"),
    (BACKWARD, BEFORE),
    (BALANCE, PRIOR_ALONE),
    (CONTROL, BALANCE),
)


OWN = (DEFAULT, LAGGED, SHORT, CHOSEN, BEFORE, BACKWARD, CONTROL)
"""Forms of the default, and controls: not rivals of it."""
CHEAPEST = 40
"""F of a plain hand-over in 20 steps."""


@dataclass(frozen=True)
class Verdict:
    """What was asked of the default, what was measured, and whether it holds."""

    asked: str
    measured: str
    holds: bool


def verdicts(rows: Rows, gap: Callable[[str, str, str], Figure], costs: Mapping[str, float]) -> list[Verdict]:
    """Every line that the project asked of the comparison. `gap(a, b, column)` is the paired difference a − b, `costs` F a picture."""
    ours, fidelity, boxes = rows[DEFAULT], rows[FIDELITY_ALONE], rows[BOXES_ALONE]

    def ratio(column: str, of: Mapping[str, Figure]) -> float:
        return ours[column].value / max(of[column].value, 1e-9)

    better = max((fidelity, boxes), key=lambda row: row["in_box"].value)
    present = max(fidelity["present"].value, boxes["present"].value)
    placing = boxes["placed"].value / max(fidelity["placed"].value, 1e-9)
    cost = costs.get(DEFAULT, float("nan"))
    found = [
        Verdict("at most 60 F a picture", f"{cost:.1f} F", cost <= 60),
        *(
            Verdict(f"{HEAD[column]} at least {least}", f"{ours[column].value:.3f}", ours[column].value >= least)
            for column, least in (("in_box", 0.82), ("attributes", 0.93), ("exact", 0.75))
        ),
        Verdict("boxes alone places at least 4 times as often as fidelity alone", f"{placing:.2f} times", placing >= 4),
        Verdict("in box at least 1.15 times the better parent's", f"{ratio('in_box', better):.2f} times", ratio("in_box", better) >= 1.15),
        Verdict(
            "presence at least the better parent's",
            f"{ours['present'].value:.3f} against {present:.3f}",
            ours["present"].value >= present,
        ),
        Verdict("distance at most 0.4 of the boxes model's", f"{ratio('distance', boxes):.2f} of it", ratio("distance", boxes) <= 0.4),
        Verdict(
            "distance no worse than the fidelity model's",
            f"{ratio('distance', fidelity):.2f} times",
            ratio("distance", fidelity) <= 1,
        ),
    ]
    for column in ("in_box", "present", "exact", "distance"):
        figure = gap(DEFAULT, MEAN, column)
        holds = figure.high < 0 if column == "distance" else figure.low > 0
        found.append(Verdict(f"{HEAD[column]} better than the mean of both, interval without 0", shown(figure), holds))
    cheap = {name: costs[name] for name in (LAGGED, CHEAP) if name in rows and name in costs}
    if cheap:
        best = max(cheap, key=lambda name: rows[name]["in_box"].value)
        told = f"{rows[best]['in_box'].value:.3f} at {cheap[best]:.1f} F ({best})"
        good = cheap[best] <= 50 and rows[best]["in_box"].value >= 0.77
        found.append(Verdict("a cheap form: in box at least 0.77 at no more than 50 F", told, good))
    rivals = [name for name in rows if name not in OWN]
    if SHORT in rows and SHORT in costs:
        ahead = above(rows, SHORT, [name for name in rivals if costs.get(name, CHEAPEST + 1) <= CHEAPEST])
        mine = f"{rows[SHORT]['in_box'].value:.3f} and {rows[SHORT]['distance'].value:.3f} at {costs[SHORT]:.1f} F ({SHORT})"
        asked = f"at no more than {CHEAPEST} F no row better than ours both in box and in distance"
        found.append(Verdict(asked, f"{', '.join(ahead) or 'none is'}; {mine}", costs[SHORT] <= CHEAPEST and not ahead))
    ahead = above(rows, DEFAULT, rivals)
    found.append(Verdict("no rival better both in box and in distance", ", ".join(ahead) or "none is", not ahead))
    for what, row, without in (
        ("the moves add to the same hand-over", DEFAULT, NO_MOVES),
        ("the gradient adds to the same prior", BALANCE, PRIOR_ALONE),
    ):
        gaps = {column: gap(row, without, column) for column in (*SHARES, "attributes", "distance")}
        good = [HEAD[c] for c in ("placed", "present", "exact") if gaps[c].low > 0]
        bad = [HEAD[c] for c, figure in gaps.items() if (figure.low > 0 if c == "distance" else figure.high < 0)]
        found.append(
            Verdict(
                f"{what}: placed, presence or count better, no column worse",
                f"better: {', '.join(good) or 'none'}; worse: {', '.join(bad) or 'none'}",
                bool(good) and not bad,
            )
        )
    for control, row in ((BACKWARD, BEFORE), (CONTROL, BALANCE)):
        worse = [HEAD[c] for c in SHARES if gap(control, row, c).high < 0]
        found.append(Verdict(f"{control}: clearly worse", f"worse: {', '.join(worse) or 'nothing'}", bool(worse)))
    return found


def above(rows: Rows, ours: str, rivals: Sequence[str]) -> list[str]:
    """Rivals that are better both in box and in distance."""
    row = rows[ours]
    return [
        name for name in rivals if rows[name]["in_box"].value > row["in_box"].value and rows[name]["distance"].value < row["distance"].value
    ]


def presence(rows: Mapping[str, Sequence[Record]]) -> str:
    """Markdown: where presence is lost. Objects in their box with a wrong attribute, and presence by number of objects."""
    lines = ruled("", ["in its box, attribute wrong", *(f"present, {count} objects" for count in OBJECTS)])
    for name in (FIDELITY_ALONE, BOXES_ALONE, BALANCE, DEFAULT):
        records = rows[name]
        wrong = sum(r["told"] - r["attributes"] for r in records) / sum(r["objects"] for r in records)
        shares = [share([r for r in records if r["objects"] == count], "present") for count in OBJECTS]
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in (wrong, *shares)) + " |")
    return "\n".join(lines)


def as_many(first: Mapping[str, list[Record]], second: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    """The rows of `first` that `second` has, cut to the scene numbers and noises of `second`: a distance depends on how many."""
    wanted = set.intersection(*({key(r) for r in records} for records in second.values()))
    return {name: [r for r in first[name] if key(r) in wanted] for name in second}


def again(first: Rows, second: Rows) -> str:
    """Markdown: figures on other scenes, and whether each is inside the interval of as many pictures of the first, widened by its width."""
    lines = ruled("", [HEAD[c] for c in MEASURED])
    for name, row in second.items():
        cells = []
        for column in MEASURED:
            figure, width = first[name][column], first[name][column].high - first[name][column].low
            inside = figure.low - width <= row[column].value <= figure.high + width
            cells.append(f"{row[column].value:.3f}" + ("" if inside else " (outside)"))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(
    test: Mapping[str, list[Record]],
    other: Mapping[str, list[Record]],
    tune: Mapping[str, list[Record]],
    pairs: str,
    rendered: torch.Tensor,
    setting: Mapping[str, object],
    text: str,
    costs: Mapping[str, float],
    rivals: Mapping[str, list[Record]],
    more: Mapping[str, str],
) -> str:
    """The whole page: `text` with the {names} of `parts` and of `more` filled in.

    Args:
        pairs, more: Markdown already.
        rivals: rows of fewer scenes.
    """
    rows, lined = summary(test, rendered), aligned(dict(test))

    def gap(a: str, b: str, column: str) -> Figure:
        return difference(lined[a], lined[b], column, rendered)

    checked = "\n".join(
        ruled("asked", ["measured", "holds"])
        + [f"| {v.asked} | {v.measured} | {'yes' if v.holds else '**no**'} |" for v in verdicts(rows, gap, costs)]
    )
    parts = {
        "table": table(rows, costs),
        "differences": differences(lined, [pair for pair in PAIRS if pair[0] in rows and pair[1] in rows], rendered),
        "verdicts": checked,
        "presence": presence(lined),
        "rivals": section(test, rivals, rendered, costs),
        "again": again(summary(as_many(test, other), rendered), summary(other, rendered)) if other else "not drawn yet",
        "again_pictures": len(next(iter(aligned(dict(other)).values()))) if other else 0,
        "pairs": pairs,
        "tuning": tuning(tune, rendered),
        "pictures": len(next(iter(lined.values()))),
        "scenes": len({r["scene"] for r in next(iter(lined.values()))}),
        "facts": "\n".join(f"- {name}: {value}" for name, value in setting.items()),
        **more,
    }
    for name, value in parts.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def tuning(rows: Mapping[str, list[Record]], rendered: torch.Tensor) -> str:
    """Markdown: every setting tried on the tuning split, best first by in box + presence + exact count − 3 · distance."""
    found = {name: summary({name: records}, rendered)[name] for name, records in rows.items()}

    def score(name: str) -> float:
        row = found[name]
        return row["in_box"].value + row["present"].value + row["exact"].value - 3 * row["distance"].value

    return plain({name: found[name] for name in sorted(found, key=score, reverse=True)}, {n: len(r) for n, r in rows.items()})


def plain(rows: Rows, counts: Mapping[str, int]) -> str:
    """Markdown without intervals, and how many pictures each row has."""
    lines = ruled("setting", [*HEAD.values(), "pictures"])
    for name, row in rows.items():
        cells = [f"{row[c].value:.3f}" if c != "passes" else f"{row[c].value:.0f}" for c in HEAD]
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {counts[name]} |")
    return "\n".join(lines)
