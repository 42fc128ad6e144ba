"""The tables of `realcompo bench`, from its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .common import escape

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_measured(out: Console, told: Mapping[str, Any]) -> None:
    """Each recipe by part, and the ratio of two."""
    out.print(escape(_device(told)))
    for one in told["measured"]:
        out.print(_parts(one))
        out.print(_line(one), soft_wrap=True)
    if "against" in told:
        ratio, (a, b) = told["against"]["seconds"], told["measured"]
        cost = told["against"]["sampling_f"]
        out.print(
            f"\n[bold]{escape(a['label'])} by {escape(b['label'])}[/]: {ratio['median']:.3f} × the seconds "
            f"({ratio['low']:.3f} to {ratio['high']:.3f}, {ratio['confidence']:.0%} of {len(ratio['figures'])} pairs)"
            + ("" if cost is None else f", {cost:.3f} × the F"),
            soft_wrap=True,
        )


def print_limits(out: Console, told: Mapping[str, Any]) -> None:
    """Each limit with what was found."""
    subject = told["subject"]
    size = f"{subject['size'][1]}×{subject['size'][0]}, {subject['dtype']}" + (", small networks" if subject["small"] else "")
    table = _table(f"{subject['label']} ({size}) on {_device(told)}", ("", "limit", "found", "", ""))
    colours = {"met": "green", "not met": "red", "within noise": "yellow", "not measured": "dim"}
    for one in told["limits"]:
        table.add_row(
            escape(one["what"]),
            f"{'≥' if one['at_least'] else '≤'} {figure(one['limit'], one)}",
            "–" if one["found"] is None else figure(one["found"], one) + spread_of(one),
            f"[{colours[one['state']]}]{one['state']}[/]",
            escape(one["note"]),
        )
    out.print(table)


def figure(value: float, verdict: Mapping[str, Any]) -> str:
    """A figure of a limit, in its unit."""
    return f"{value:.2f} ×" if verdict["unit"] == "×" else f"{value:.2%}"


def spread_of(verdict: Mapping[str, Any]) -> str:
    """The interval of a figure that differs from run to run."""
    found = verdict["spread"]
    return "" if found is None else f" ({found['low']:.2f} to {found['high']:.2f}, {found['confidence']:.0%})"


def _device(told: Mapping[str, Any]) -> str:
    device = told["device"]
    return f"{device['name']}, {device['threads']} threads" if "threads" in device else str(device["name"])


def _parts(one: Mapping[str, Any]) -> Table:
    title = f"\n{one['label']}: {one['pictures']} picture{'s' * (one['pictures'] > 1)}, {one['steps']} steps"
    table = _table(title, ("part", "F", "calls", "seconds", "share", "a call", "the first"))
    costs = dict(one["cost_f"])
    for part, row in one["parts"].items():
        cost = costs.pop(part.removesuffix(" forward"), None)
        table.add_row(
            escape(part),
            "" if cost is None else f"{cost:.2f}",
            str(row["calls"]),
            seconds(row["seconds"]),
            f"{row['share']:.1%}",
            seconds(row["call"]),
            seconds(row["first_call"]),
        )
    table.add_row("our own", "", "", seconds(max(one["own"]["seconds"], 0.0)), f"{one['own']['share']:.1%}", "", "")
    longer, share = longer_first_calls(one)
    table.add_row("[dim]longer first calls[/]", "", "", f"[dim]{seconds(longer)}[/]", f"[dim]{share:.1%}[/]", "", "")
    return table


def longer_first_calls(one: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds of a draw by which the first calls of its parts are longer than the median, and their share of it: in them operations are
    counted. They are in the parts, and not in what is our own."""
    rows = [row for row in one["parts"].values() if row["calls"] > 1]
    found = sum(max(row["first_call"] - row["call"], 0.0) for row in rows)
    whole = one["own"]["seconds"] + sum(row["seconds"] for row in one["parts"].values())
    return found, found / whole


def _line(one: Mapping[str, Any]) -> str:
    time, memory = one["seconds"], one["memory"]
    cost = f"{one['sampling_f']:.1f} F of sampling a picture (F = {one['flop_of_one_f'] / 1e9:,.2f} GFLOP)"
    said = f"{cost}; {seconds(time['picture'])} a picture, {seconds(time['step'])} a step"
    return said if memory is None else f"{said}; {size(memory['peak_bytes'])} held at most, {size(memory['weights_bytes'])} of weights"


def size(value: float) -> str:
    """Bytes as people say them."""
    return f"{value / 1e9:.2f} GB" if value >= 1e8 else f"{value / 1e6:.2f} MB"


def seconds(value: float) -> str:
    """Seconds as people say them."""
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1e3:.2f} ms"


def _table(title: str, columns: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or not column else "right")
    return table
