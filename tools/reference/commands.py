"""The command line: every verb with its arguments and options, as `realcompo VERB --help` has them."""

from __future__ import annotations

from typing import Any

import typer.main

from realcompo.cli import app

from .markdown import cell, code, table


def page() -> str:
    """All verbs, in the order of `realcompo --help`."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("realcompo", [], resilient_parsing=True)
    lines = [
        "# Command line",
        "",
        f"{group.help} `realcompo VERB --help` prints what stands here.",
        "",
        "Exit codes: 0 fine; 1 the pixels of a reproduced picture differ, a limit is not met, or a mistake of ours; 2 an error",
        "that you can mend, which prints its [mend](errors.md); 130 Ctrl-C.",
        "",
        "Before the verb:",
        "",
        _table(group, context),
    ]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        lines += ["", f"## realcompo {name}", "", cell(command.help or ""), "", _usage(name, command, inner), ""]
        lines.append(_table(command, inner))
    return "\n".join(lines)


def _table(command: Any, context: Any) -> str:
    rows = [_row(one, context) for one in command.get_params(context) if not getattr(one, "hidden", False)]
    return table(("argument or option", "meaning"), rows)


def _usage(name: str, command: Any, context: Any) -> str:
    words = [one.name.upper() if one.required else f"[{one.name.upper()}]" for one in command.get_params(context) if _argument(one)]
    return code(" ".join(["realcompo", name, *words, "[OPTIONS]"]))


def _argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _row(param: Any, context: Any) -> list[str]:
    names, meaning = param.get_help_record(context)
    if not getattr(param, "help", None):
        raise SystemExit(f"{context.command_path}: {param.name} has no help")
    return [code(param.name.upper() if _argument(param) else names), cell(meaning)]
