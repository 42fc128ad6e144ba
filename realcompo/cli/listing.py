"""``realcompo list``."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import console, escape, verb

NAME = "list"


@verb
def command(
    plain: Annotated[bool, typer.Option("--plain", help="One id a line, for scripts.")] = False,
) -> int | None:
    """List every component of every plugin, and the plugins that have a problem."""
    from ..registry import installed
    from ..specs import BranchSpec

    registry = installed()
    tables = registry.tables
    if plain:
        for specs in tables.values():
            for id in sorted(specs):
                typer.echo(id)
        return None
    from rich.table import Table

    out = console()
    for noun, specs in tables.items():
        table = Table(title=noun, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
        columns = ["id", *(["role", "condition"] if noun == "branches" else []), "distribution", "summary"]
        for column in columns:
            table.add_column(column, overflow="fold", no_wrap=column == "id")
        for id in sorted(specs):
            spec = specs[id]
            if isinstance(spec, BranchSpec):
                try:
                    spec = registry.find(BranchSpec, id)  # what it inherits from its base
                except Exception as error:  # a base that is not there must not hide the rest
                    table.add_row(id, "", "", registry.distribution(id), f"[red]{escape(str(error).splitlines()[0])}[/]")
                    continue
                table.add_row(id, spec.role or "either", spec.condition or "", registry.distribution(id), escape(spec.summary))
            else:
                table.add_row(id, registry.distribution(id), escape(spec.summary))
        if not specs:
            table.add_row("[dim]none[/]")
        out.print(table)
        out.print()
    for problem in registry.problems:
        out.print(f"[yellow]problem:[/] {escape(problem)}", soft_wrap=True)
    return None
