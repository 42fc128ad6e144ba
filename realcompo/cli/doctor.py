"""``realcompo doctor``: what is on this machine, and what can be drawn with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import console, escape, verb

if TYPE_CHECKING:
    from ..doctor.files import Found
    from ..doctor.fits import Need, Space, Use
    from ..doctor.machine import Line

NAME = "doctor"
MOST = 40
"""Models that a table shows; `--all` and `--json` have the others."""


@dataclass(frozen=True)
class Report:
    """All that was found."""

    devices: list[Line]
    versions: list[Line]
    plugins: list[Line]
    settings: list[Line]
    models: list[tuple[Found, Use]]
    spaces: list[Space]
    paper: list[Need]
    offers: list[str]

    @property
    def wrong(self) -> int:
        """How many things of the installation have to be mended; a checkpoint that is missing is none of them."""
        return sum(line.wrong for line in (*self.devices, *self.versions, *self.plugins, *self.settings))


@verb
def command(
    everything: Annotated[bool, typer.Option("--all", help=f"Show every model, not only the first {MOST}.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON, for scripts.")] = False,
    usual: Annotated[bool, typer.Option(help="Look also where ComfyUI and A1111 usually keep their models.")] = True,
    hub: Annotated[bool, typer.Option(help="Look into the cache of the hub, too.")] = True,
) -> int | None:
    """Look this machine over: devices, versions, plugins, settings, the models in your folders, what fits together; fetches nothing.

    Says what the paper's v1 lacks, too. Reads headers only. Exit code 1 if something of the installation has to be mended."""
    report = examined(usual, hub)
    if as_json:
        typer.echo(json.dumps(plain(report), indent=2, ensure_ascii=False))
    else:
        _print(report, None if everything else MOST)
    return 1 if report.wrong else None


def examined(usual: bool = True, hub: bool = True) -> Report:
    """Look at everything."""
    from ..doctor.files import find_models, hub_cache, usual_folders
    from ..doctor.fits import Uses, needs, spaces
    from ..doctor.machine import devices, plugins, settings_lines, versions
    from ..registry import installed

    registry = installed()
    settings, lines = settings_lines()
    more = usual_folders(settings.models) if usual else []
    uses = Uses(registry)
    models = [(one, uses.of(one)) for one in find_models(settings.models, more, hub_cache() if hub else None)]
    offers = [f'models = ["{folder}"] in the user file, and what is in it is found by its bare name' for folder in more]
    return Report(
        devices=devices(),
        versions=versions(),
        plugins=plugins(registry),
        settings=lines,
        models=models,
        spaces=spaces([(one, use) for one, use in models if use.ids], uses.anywhere),
        paper=needs(registry, settings, models),
        offers=offers,
    )


def plain(report: Report) -> dict[str, Any]:
    """The report as data for JSON."""

    def lines(some: Iterable[Line]) -> list[dict[str, Any]]:
        return [{"name": one.name, "found": one.found, "wrong": one.wrong, "mend": one.mend} for one in some]

    return {
        "wrong": report.wrong,
        **{name: lines(getattr(report, name)) for name in ("devices", "versions", "plugins", "settings")},
        "models": [_model(one, use) for one, use in report.models],
        "spaces": [
            {
                "latent": one.latent,
                "draws": [{"source": source, "ids": list(ids)} for source, ids in one.draws],
                "places": [{"source": source, "ids": list(ids)} for source, ids in one.places],
                "anywhere": list(one.anywhere),
                "sample": [dict(entry) for entry in one.sample],
                "float16": one.float16,
            }
            for one in report.spaces
        ],
        "paper": [vars(one) for one in report.paper],
        "offers": report.offers,
    }


def _model(found: Found, use: Use) -> dict[str, Any]:
    return {
        "source": found.source,
        "path": str(found.path),
        "folder": found.folder,
        "what": found.what,
        "bytes": found.size,
        "float16": 2 * found.numbers or None,
        "ids": list(use.ids),
        "options": dict(use.options),
        "option": use.option,
        "condition": use.condition,
        "latent": use.latent.name if use.latent is not None else None,
        "wrong": found.wrong or use.wrong,
        "mend": found.mend or use.mend,
    }


# -- tables ------------------------------------------------------------------------------------------------------------------


def _print(report: Report, most: int | None) -> None:
    for title, some in (("machine", report.devices), ("versions", report.versions), ("plugins", report.plugins)):
        _lines(title, some)
    _lines("settings", [*report.settings, *_offered(report.offers)])
    _models(report.models, most)
    for space in report.spaces:
        _space(space)
    _paper(report.paper)
    if report.wrong:
        typer.secho(f"{report.wrong} thing{'' if report.wrong == 1 else 's'} to mend: see the lines with ✗", fg="red")
    else:
        typer.secho("the installation is fine", fg="green")


def _offered(offers: Sequence[str]) -> list[Line]:
    from ..doctor.machine import Line

    return [Line("offer", "models were found where another program keeps them", mend=one) for one in offers]


def _table(title: str, *columns: str) -> Any:
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim", show_header=bool(columns)
    )
    for column in columns or ("", "", "", ""):
        table.add_column(column, overflow="fold")
    return table


def _lines(title: str, some: Sequence[Line]) -> None:
    table = _table(title)
    for one in some:
        mend = f"[yellow]→ {escape(one.mend)}[/]" if one.mend else ""
        table.add_row("[red]✗[/]" if one.wrong else "[green]✓[/]" if not one.mend else " ", escape(one.name), escape(one.found), mend)
    console().print(table)
    console().print()


def _models(models: Sequence[tuple[Found, Use]], most: int | None) -> None:
    from ..doctor.machine import size_text

    shown = sorted(models, key=lambda pair: (not pair[1].ids, not pair[1].option, bool(pair[0].wrong)))
    table = _table(f"models: {len(models)}", "source", "what it is", "size", "serves", "problem")
    for one, use in shown[:most]:
        options = "".join(f" with option {name} = {value}" for name, value in use.options)
        serves = (", ".join(use.ids[:4]) + (" …" if len(use.ids) > 4 else "") + options) if use.ids else use.option
        wrong, mend = one.wrong or use.wrong, one.mend or use.mend
        problem = f"[yellow]{escape(wrong)}[/]" + (f" → {escape(mend)}" if mend else "") if wrong else ""
        table.add_row(escape(one.source), escape(one.what), size_text(one.size), escape(serves), problem)
    out = console()
    out.print(table)
    if not models:
        out.print('none: name your folders in the user file, models = ["~/ComfyUI/models"], or fetch some: hf download …', soft_wrap=True)
    elif most is not None and len(models) > most:
        out.print(f"… and {len(models) - most} more: --all shows them", soft_wrap=True)
    out.print()


def _space(space: Space) -> None:
    from ..doctor.machine import size_text

    out = console()
    out.print(f"[bold]fits together: latent space {escape(space.latent)}[/]", soft_wrap=True)
    for word, some in (("draws", space.draws), ("places", space.places)):
        names = ", ".join(f"{source} ({ids[0]})" for source, ids in some[:8]) + (" …" if len(some) > 8 else "")
        out.print(f"  {word}: {escape(names) or 'none here'}", soft_wrap=True)
    if space.anywhere:
        out.print(f"  places by any of these networks: {escape(', '.join(space.anywhere))}", soft_wrap=True)
    if space.sample:
        out.print(f"  in a recipe: branches = {escape(_toml(space.sample))}", soft_wrap=True)
    if space.float16 is not None:
        out.print(
            f"  its weights in float16: {size_text(space.float16)}, counted from headers; a picture needs more than them", soft_wrap=True
        )
    out.print()


def _toml(value: Any) -> str:
    """A list of tables, or a value of one, in one line of TOML."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _paper(paper: Sequence[Need]) -> None:
    table = _table("to draw the paper's v1 (realcompo run examples/recipes/paper-v1.toml)")
    for one in paper:
        mend = f"[yellow]→ {escape(one.mend)}[/]" if one.mend else ""
        table.add_row("[green]✓[/]" if one.here else "[red]✗[/]", one.id, escape(one.told), mend)
    console().print(table)
    console().print()
