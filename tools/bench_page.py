"""The figures of docs/bench.md, from the records in docs/bench: `python -m tools.reference` writes them into the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realcompo.cli.bench_tables import figure, longer_first_calls, seconds, size, spread_of
from realcompo.files import made_between

from .reference.markdown import cell, code, table

START, END = "<!-- records: made by python -m tools.reference -->", "<!-- end of records -->"


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """File name → record, in the order of the names."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def section(name: str, told: Mapping[str, Any]) -> str:
    """One record as Markdown."""
    subject, device, versions = told["subject"], told["device"], told["versions"]
    where = f"{device['name']}, {device['threads']} threads" if "threads" in device else str(device["name"])
    small = ", small networks" if subject["small"] else ""
    lines = [
        f"### {subject['label']}, {subject['size'][1]}×{subject['size'][0]}, {subject['dtype']}{small}",
        "",
        f"On {where}; torch {versions['torch']}, diffusers {versions['diffusers']}. [The record](bench/{name}).",
        "",
        table(("what", "limit", "found", "", ""), [_limit(one) for one in told["limits"]]),
    ]
    for one in told["measured"]:
        lines += ["", _heading(one), "", table(("part", "F", "calls", "seconds", "share of the draw"), _parts(one))]
    return "\n".join(lines)


def _limit(one: Mapping[str, Any]) -> list[str]:
    found = "–" if one["found"] is None else figure(one["found"], one) + spread_of(one)
    return [cell(one["what"]), f"{'≥' if one['at_least'] else '≤'} {figure(one['limit'], one)}", found, one["state"], cell(one["note"])]


def _heading(one: Mapping[str, Any]) -> str:
    time = one["seconds"]
    held = "" if one["memory"] is None else f"; {size(one['memory']['peak_bytes'])} held at most"
    return (
        f"The draw by {code(one['recipe']['balancer']['name'])} in {one['steps']} steps: {one['sampling_f']:.1f} F of sampling, one F "
        f"being {one['flop_of_one_f'] / 1e9:,.1f} GFLOP; {seconds(time['picture'])} a picture, {seconds(time['step'])} a step{held}."
    )


def _parts(one: Mapping[str, Any]) -> list[list[str]]:
    costs = dict(one["cost_f"])
    rows = []
    for part, row in one["parts"].items():
        cost = costs.pop(part.removesuffix(" forward"), None)
        rows.append([cell(part), "" if cost is None else f"{cost:.2f}", str(row["calls"]), seconds(row["seconds"]), f"{row['share']:.1%}"])
    rows.append(["our own", "", "", seconds(max(one["own"]["seconds"], 0.0)), f"{one['own']['share']:.2%}"])
    longer, share = longer_first_calls(one)
    return [*rows, ["in the parts: longer first calls", "", "", seconds(longer), f"{share:.2%}"]]


def drawn_into(page: str, folder: Path) -> str:
    """The text of docs/bench.md with the records as they are now."""
    return made_between(page, START, END, "\n\n".join(section(name, told) for name, told in records(folder).items()))
