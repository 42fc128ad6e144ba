"""The hooks of plugins, and the data that they return."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from realcompo import hookspecs
from realcompo.specs import (
    API_VERSION,
    BalancerSpec,
    BranchSpec,
    Column,
    FlowSchedule,
    LatentSpace,
    NoiseSchedule,
    PlannerSpec,
    ScorerSpec,
    SigmaSchedule,
    SuiteSpec,
    SyntheticSpec,
    Traits,
    TransferSpec,
)

from .markdown import attributes, cell, code, summary, table

SPECS: tuple[type[Any], ...] = (
    *(BranchSpec, TransferSpec, BalancerSpec, PlannerSpec, SuiteSpec, ScorerSpec, SyntheticSpec, Column, Traits, LatentSpace),
    *(NoiseSchedule, FlowSchedule, SigmaSchedule),
)
OTHERS = {NoiseSchedule: "as in the config of a diffusers scheduler"}
"""What fields of the others' own names mean."""


def hooks() -> dict[str, Any]:
    """Name → function, of every hook, in the order of the source."""
    marker = f"{hookspecs.PROJECT}_spec"
    return {name: one for name, one in vars(hookspecs).items() if callable(one) and hasattr(one, marker)}


def page() -> str:
    """Hooks, then specs."""
    lines = [
        "# Hooks and specs",
        "",
        "What a plugin implements, and what it returns. [Write a plugin](../write-a-plugin.md) shows it at work.",
        "",
        f"A plugin is a module behind an entry point of the group `realcompo`. It states `REALCOMPO_API = {API_VERSION}` and marks",
        "its functions with `realcompo.hookimpl`. Each hook returns specs, which are data: importing the module must not import torch.",
    ]
    for name, hook in hooks().items():
        returns = str(inspect.signature(hook).return_annotation)
        lines += ["", f"## {name}", "", code(f"def {name}() -> {returns}"), "", cell(summary(hook.__doc__))]
    for cls in SPECS:
        lines += ["", f"## {cls.__name__}", "", cell(summary(cls.__doc__)), "", fields(cls)]
    return "\n".join(lines)


def fields(cls: type[Any]) -> str:
    """Fields of a dataclass with what its docstring, or its base's, says of them.

    Raises:
        SystemExit: a field that no docstring speaks of.
    """
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        said |= attributes(base.__dict__.get("__doc__"))
    rows = []
    for field in dataclasses.fields(cls):
        meaning = said.get(field.name) or OTHERS.get(cls)
        if not meaning:
            raise SystemExit(f"{cls.__name__}.{field.name} is in no docstring")
        rows.append([code(field.name), code(field.type.replace(" | ", " or ")), _default(field), cell(meaning)])
    return table(("field", "type", "default", "meaning"), rows)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return code(repr(field.default))
    if field.default_factory is not dataclasses.MISSING:
        made = field.default_factory()
        return (
            code("{}" if not made else repr(made) if not dataclasses.is_dataclass(made) else f"{type(made).__name__}()")
            if made is not None
            else ""
        )
    return "required"
