"""For authors of plugins: the conformance kit, and analytic toy branches. See docs/write-a-plugin.md.

Inherit a contract in your tests, name your component, and its checks are yours::

    from realcompo.testing import BranchContract

    class TestMyBranch(BranchContract):
        component = "my-plugin/my-branch"

Everything is imported on first use: importing this package imports neither torch nor pytest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .balancers import BalancerContract as BalancerContract
    from .branches import BranchContract as BranchContract
    from .planners import PlannerContract as PlannerContract
    from .runner import contracts as contracts
    from .runner import run as run
    from .scorers import ScorerContract as ScorerContract
    from .sources import small_source as small_source
    from .suites import SuiteContract as SuiteContract
    from .toys import toy_registry as toy_registry
    from .transfers import TransferContract as TransferContract

_HOMES = {
    "BalancerContract": "balancers",
    "BranchContract": "branches",
    "PlannerContract": "planners",
    "ScorerContract": "scorers",
    "SuiteContract": "suites",
    "TransferContract": "transfers",
    "contracts": "runner",
    "run": "runner",
    "small_source": "sources",
    "toy_registry": "toys",
}
_CHECKS = ("balancers", "branches", "common", "planners", "scorers", "suites", "transfers")

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name] in _CHECKS:
        _explain_asserts()
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def _explain_asserts() -> None:
    """Let pytest rewrite the asserts of the checks, so that a failure shows both sides; harmless where they are imported already."""
    import sys
    import warnings

    import pytest

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pytest.PytestAssertRewriteWarning)
        fresh = [f"{__name__}.{home}" for home in _CHECKS if f"{__name__}.{home}" not in sys.modules]
        pytest.register_assert_rewrite(*fresh)
