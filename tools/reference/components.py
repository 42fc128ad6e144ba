"""Branches, transfers, balancers, planners, suites, scorers: what each is, and its options."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from realcompo.cli.show import facts, sample_recipe
from realcompo.errors import UnknownName
from realcompo.registry import Registry
from realcompo.specs import BalancerSpec, BranchSpec, NoOptions, PlannerSpec, ScorerSpec, Spec, SuiteSpec, TransferSpec

from .markdown import cell, code, field_rows, table

KINDS: dict[str, tuple[type[Any], str]] = {
    "branches": (BranchSpec, "The denoisers: fidelity branches draw and decode, spatial branches place."),
    "transfers": (TransferSpec, "f(C): how a condition becomes the regions of the balance (Eq. 8)."),
    "balancers": (BalancerSpec, "Rules for the weights ξ of the branches (Eq. 2 to 7)."),
    "planners": (PlannerSpec, "From a sentence to a layout."),
    "suites": (SuiteSpec, "What `realcompo eval` draws: prompts, and what is known of each."),
    "scorers": (ScorerSpec, "What `realcompo eval` judges by."),
}


def page(registry: Registry, kind: str, own: Collection[str] | None) -> str:
    """All components of a kind.

    Args:
        own: distributions whose components are listed; all, if None.
    """
    cls, about = KINDS[kind]
    found: dict[str, Spec] = getattr(registry, kind)
    ids = sorted(id for id in found if own is None or registry.distribution(id) in own)
    head = [
        f"# {kind.capitalize()}",
        "",
        about,
        "",
        "`realcompo list` names those that are installed, `realcompo show ID` prints what stands here.",
        "",
    ]
    rows = [[code(id), cell(registry.distribution(id)), cell(found[id].summary)] for id in ids]
    return "\n".join([*head, table(("id", "distribution", "what it is"), rows), *(component(registry, cls, id) for id in ids)])


def component(registry: Registry, cls: type[Any], id: str) -> str:
    """One component's section."""
    try:
        spec = registry.find(cls, id)
    except UnknownName as error:  # its base is a plugin that is not here
        return f"\n## {id}\n\n{cell(error)}\n"
    lines = [
        "",
        f"## {id}",
        "",
        cell(spec.summary),
        "",
        table(("", ""), [[name, cell(value)] for name, value in facts(registry, spec).items()]),
        "",
    ]
    options = spec.options or NoOptions
    guarded = frozenset(getattr(options, "guarded", ()))
    rows = field_rows(options, dict(spec.defaults), guarded)
    lines.append(table(("option", "type", "default", "meaning"), rows) if rows else "No options.")
    sample = sample_recipe(registry, spec)
    if sample:
        lines += ["", "```toml", sample.rstrip("\n"), "```"]
    return "\n".join([*lines, ""])
