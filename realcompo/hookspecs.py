"""The pluggy hooks. A plugin is a module (its entry point in group ``realcompo``) that states ``REALCOMPO_API = 1`` and
implements any of these; each returns specs, which are data: importing the module must not import torch."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from .specs import BalancerSpec, BranchSpec, PlannerSpec, ScorerSpec, SuiteSpec, SyntheticSpec, TransferSpec

PROJECT = "realcompo"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Mark a plugin's implementations with this: ``from realcompo import hookimpl``."""


@hookspec
def register_branches() -> Iterable[BranchSpec]:  # type: ignore[empty-body]
    """The denoisers that this plugin brings."""


@hookspec
def register_transfers() -> Iterable[TransferSpec]:  # type: ignore[empty-body]
    """The transfers f(C) that this plugin brings, one for each kind of condition."""


@hookspec
def register_balancers() -> Iterable[BalancerSpec]:  # type: ignore[empty-body]
    """The balancers that this plugin brings."""


@hookspec
def register_planners() -> Iterable[PlannerSpec]:  # type: ignore[empty-body]
    """The planners that this plugin brings."""


@hookspec
def register_suites() -> Iterable[SuiteSpec]:  # type: ignore[empty-body]
    """The suites that this plugin brings: what `realcompo eval` draws."""


@hookspec
def register_scorers() -> Iterable[ScorerSpec]:  # type: ignore[empty-body]
    """The scorers that this plugin brings: what `realcompo eval` judges by."""


@hookspec
def register_synthetics() -> Iterable[SyntheticSpec]:  # type: ignore[empty-body]
    """The networks with random weights that `realcompo bench` can make of this plugin's branches."""
