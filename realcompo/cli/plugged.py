"""Verbs that other distributions bring: entry points of the group ``realcompo.commands``, verb → ``package.module:function``.

The function is a command as Typer takes it, and its module is imported for `realcompo --help`, so it imports nothing heavy. A verb that
cannot be loaded, that the core has itself, or that two distributions claim, costs nobody else a verb: it says why when it is called.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import PluginProblem
from .common import verb

GROUP = "realcompo.commands"
OFFERED = {"studio": "realcompo[studio]"}
"""Verbs that this documentation speaks of → what brings them."""


@cache
def plugged() -> dict[str, tuple[importlib.metadata.EntryPoint, ...]]:
    """Verb → the entry points that claim it, read once a process; one, unless distributions quarrel."""
    found: dict[str, dict[str, importlib.metadata.EntryPoint]] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        found.setdefault(point.name, {})[_distribution(point)] = point
    return {name: tuple(claims.values()) for name, claims in sorted(found.items())}


class Verbs(TyperGroup):
    """The core's verbs, then those of other distributions; a name of the core's stays the core's."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, the core's in their own order."""
        own = list(super().list_commands(ctx))
        return [*own, *(name for name in plugged() if name not in own)]

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; an option of other programs' is told by its name here."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            from .elsewhere import put_right

            put_right(error)
            raise

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name; None where there is none."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in {*plugged(), *OFFERED}:
            return own
        return command_of(cmd_name, plugged().get(cmd_name, ()))


def command_of(name: str, points: Iterable[importlib.metadata.EntryPoint]) -> Any:
    """The command behind entry points, or one that tells what is wrong with them."""
    claims, where = tuple(points), f"realcompo {name}"
    rivals = ", ".join(sorted(map(_distribution, claims)))
    problem = PluginProblem(f"the verb is claimed by {rivals}", where=where, mend="uninstall all but one of them")
    if not claims:
        problem = PluginProblem("the verb is not installed", where=where, mend=f"pip install {OFFERED[name]!r}")
    elif len(claims) == 1:
        try:
            return _made(name, claims[0].load())
        except Exception as error:  # a stranger's module may raise anything while it is imported
            problem = PluginProblem(
                f"the verb of {rivals} cannot be loaded: {type(error).__name__}: {error}",
                where=where,
                mend=f"install {rivals} again with what it needs, or uninstall it",
            )

    def tell(words: list[str] | None = typer.Argument(None, help="Not read.")) -> int | None:
        raise problem

    tell.__doc__ = f"Cannot be used: {problem.what}."
    return _made(name, verb(tell))


def _made(name: str, function: Callable[..., Any]) -> Any:
    """A function as Typer's command of this name."""
    holder = typer.Typer(add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
    holder.command(name)(function)
    return typer.main.get_command(holder)


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
