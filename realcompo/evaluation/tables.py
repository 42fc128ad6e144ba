"""From records to the table, its differences, and the picture of the frontier."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import BadOption, nearest
from ..interfaces import Case, Record
from ..specs import Column
from .layouts import Layouts
from .lines import Lines, write_own
from .measure import Figure, difference, figure, resamples
from .scoring import Scoring
from .study import DRAWN, Judge, Study

NOTHING = "–"


@dataclass(frozen=True)
class Row:
    """A recipe's line.

    Attributes:
        drawn, failed: pictures that are there, and that could not be drawn.
        cost: F of sampling a picture, in the F of the first recipe; NaN where nothing was drawn.
        figures: "scorer.column" → figure of the pictures that all recipes have.
        gaps: likewise, this recipe less the one it is held against; empty for that one.
        kinds: kind of prompt → "scorer.column" → value.
    """

    name: str
    drawn: int
    failed: int
    cost: float
    figures: Mapping[str, Figure]
    gaps: Mapping[str, Figure]
    kinds: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Table:
    """The result of an evaluation.

    Attributes:
        asked: pictures a recipe was asked for. common: those that every recipe has with all scores.
        scenes: of the common ones.
        against: the recipe that the others are held against.
        columns: "scorer.column" → column.
    """

    suite: str
    asked: int
    common: int
    scenes: int
    against: str
    columns: Mapping[str, Column]
    rows: tuple[Row, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON; NaN is null."""
        data: dict[str, Any] = _nulls({**asdict(self), "columns": {name: asdict(column) for name, column in self.columns.items()}})
        return data


def _nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _nulls(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nulls(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table_of(study: Study, layouts: Layouts, against: str | None = None) -> Table:
    """The table of what is in the folder.

    Raises:
        BadOption: `against` is none of the recipes.
    """
    names = [one.name for one in study.entrants]
    first = names[0] if against is None else against
    if first not in names:
        raise BadOption(f"no recipe is called {first!r}", where="--against", mend=nearest(first, names))
    columns = {f"{judge.spec.id}.{column.name}": column for judge in study.judges for column in judge.spec.columns}
    found = {one.name: _records(study, one.name, layouts) for one in study.entrants}
    common = [case for case in study.cases if all(case.id in records for records in found.values())]
    picks = resamples([case.group for case in common]) if common else []
    lines = {one.name: Lines(one.folder / DRAWN, "case", writing=False) for one in study.entrants}
    costs = {name: _cost(study.cases, one) for name, one in lines.items()}
    rows = []
    for name in names:
        figures: dict[str, Figure] = {}
        gaps: dict[str, Figure] = {}
        kinds: dict[str, dict[str, float]] = {}
        for judge in study.judges if common else ():
            mine = [found[name][case.id][judge.spec.id] for case in common]
            theirs = [found[first][case.id][judge.spec.id] for case in common]
            for column in judge.spec.columns:
                key = f"{judge.spec.id}.{column.name}"
                figures[key] = figure(mine, column, picks, judge.scorer.whole)
                if name != first:
                    gaps[key] = difference(mine, theirs, column, picks, judge.scorer.whole)
                for kind, value in _by_kind(common, mine, column, judge).items():
                    kinds.setdefault(kind, {})[key] = value
        states = [line for case in study.cases if (line := lines[name].get(case.id)) is not None]
        failed = sum("error" in line for line in states)
        unit = costs[names[0]][1] or 1.0
        cost = costs[name][0] / unit if costs[name][1] else math.nan
        rows.append(Row(name, len(states) - failed, failed, cost, figures, gaps, kinds))
    scenes = len({case.group for case in common})
    return Table(study.spec.id, len(study.cases), len(common), scenes, first, columns, tuple(rows))


def _records(study: Study, name: str, layouts: Layouts) -> dict[str, dict[str, Record]]:
    """Case → scorer → record, of the cases that all scorers have judged; without scorers, of those that are drawn."""
    (entrant,) = [one for one in study.entrants if one.name == name]
    drawn = Lines(entrant.folder / DRAWN, "case", writing=False)
    scorings = {judge.spec.id: Scoring(study, entrant, judge, layouts, writing=False) for judge in study.judges}
    found: dict[str, dict[str, Record]] = {}
    for case in study.cases:
        line = drawn.get(case.id)
        records = {id: one.record(case) for id, one in scorings.items()}
        if line is not None and "error" not in line and all(record is not None for record in records.values()):
            found[case.id] = {id: record for id, record in records.items() if record is not None}
    return found


def _by_kind(cases: Sequence[Case], records: Sequence[Record], column: Column, judge: Judge) -> dict[str, float]:
    """A column for each kind of prompt, where the suite has several."""
    kinds = dict.fromkeys(case.kind for case in cases)
    if len(kinds) < 2:
        return {}
    found = {}
    for kind in kinds:
        some = [record for case, record in zip(cases, records, strict=True) if case.kind == kind]
        found[kind] = figure(some, column, [], judge.scorer.whole).value
    return found


def _cost(cases: Sequence[Case], lines: Lines) -> tuple[float, float]:
    """Floating point operations of sampling a picture, of those that are drawn, and of one F; zeros where there are none."""
    told = [line["cost"] for case in cases if (line := lines.get(case.id)) is not None and "cost" in line]
    if not told:
        return 0.0, 0.0
    sampling = [one["unit"] * sum(value for part, value in one["parts"].items() if part not in ("text", "decode")) for one in told]
    return math.fsum(sampling) / len(told), float(told[0]["unit"])


# -- as text -----------------------------------------------------------------------------------------------------------------


def markdown(table: Table) -> str:
    """The whole page."""
    others = [row for row in table.rows if row.gaps]
    parts = [
        f"# {table.suite}",
        f"{table.common} of {table.asked} pictures, of {table.scenes} scenes: those that every recipe has. In brackets the middle 95% of a "
        "bootstrap over scenes. F is one conditional forward pass of the first recipe's fidelity network, for one picture; a picture's "
        "sampling is counted.",
        _ruled("recipe", [*_titles(table), "F", "drawn", "failed"], [(row.name, _cells(table, row)) for row in table.rows]),
    ]
    if others and table.columns:
        parts += [
            f"## Against {table.against}",
            "Paired: the same scenes and noises of both. Bold where the interval leaves out 0.",
            _ruled("recipe", _titles(table), [(row.name, [_gap(row.gaps[key]) for key in table.columns]) for row in others]),
        ]
    for key, column in table.columns.items() if any(row.kinds for row in table.rows) else ():
        kinds = list(dict.fromkeys(kind for row in table.rows for kind in row.kinds))
        lines = [(row.name, [_plain(row.kinds.get(kind, {}).get(key, math.nan)) for kind in kinds]) for row in table.rows]
        parts += [f"## {_titled(column)} by kind", _ruled("recipe", kinds, lines)]
    return "\n\n".join(parts) + "\n"


def _titles(table: Table) -> list[str]:
    return [_titled(column) for column in table.columns.values()]


def _titled(column: Column) -> str:
    return f"{column.title} ↓" if column.less else column.title


def _cells(table: Table, row: Row) -> list[str]:
    figures = [_figure(row.figures[key]) if key in row.figures else NOTHING for key in table.columns]
    return [*figures, _plain(row.cost, 1), str(row.drawn), str(row.failed)]


def _figure(one: Figure) -> str:
    return f"{one.value:.3f} ({one.low:.3f}–{one.high:.3f})" if math.isfinite(one.value) else NOTHING


def _gap(one: Figure) -> str:
    if not math.isfinite(one.value):
        return NOTHING
    text = f"{one.value:+.3f} ({one.low:+.3f} … {one.high:+.3f})"
    return f"**{text}**" if one.excludes_zero else text


def _plain(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else NOTHING


def _ruled(first: str, titles: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table of Markdown; a bar in a name would end its cell."""
    lines = [[first, *titles], ["---"] * (len(titles) + 1), *([name, *cells] for name, cells in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


# -- files -------------------------------------------------------------------------------------------------------------------


def write(table: Table, folder: Path, column: str | None = None) -> list[Path]:
    """table.md, table.json, and frontier.png where there is a figure to set against the cost.

    Args:
        column: of the frontier, "scorer.column" or a column's own name; the first by default.
    """
    from .chart import draw_frontier

    chosen = _chosen(table, column)
    paths = [folder / "table.md", folder / "table.json"]
    write_own(paths[0], markdown(table))
    write_own(paths[1], json.dumps(table.plain(), indent=1, ensure_ascii=False) + "\n")
    drawable = [row for row in table.rows if chosen in row.figures and math.isfinite(row.figures[chosen].value + row.cost)]
    if chosen and drawable:
        paths.append(folder / "frontier.png")
        draw_frontier(table.columns[chosen], {row.name: (row.cost, row.figures[chosen]) for row in drawable}, paths[-1])
    return paths


def _chosen(table: Table, column: str | None) -> str:
    keys = list(table.columns)
    if column is None:
        return keys[0] if keys else ""
    found = [key for key in keys if column in (key, table.columns[key].name)]
    if not found:
        raise BadOption(f"no column is called {column!r}", where="--frontier", mend=nearest(column, keys))
    return found[0]
