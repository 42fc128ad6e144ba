"""A broken plugin is a passing one with one line changed, and fails one named check only: the check that is meant for it."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from realcompo.registry import GROUP, Registry
from realcompo.testing import (
    BalancerContract,
    BranchContract,
    PlannerContract,
    ScorerContract,
    SuiteContract,
    TransferContract,
    UpscalerContract,
    run,
)
from realcompo.testing.common import imported_by
from tests import sliced

from .broken.changes import CHANGES, Change

PASSING = Path(__file__).parent / "broken" / "passing"
KEPT_FAST = {"test_declaring_imports_no_torch"}
"""The one check that starts an interpreter: it looks again only where the declaring modules change."""


class Outcomes:
    """A pytest plugin that writes down how each check ended."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.passed: set[str] = set()
        self.skipped: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.split("::")[-1]
        if report.failed:
            self.failed[name] = report.longreprtext
        elif report.when == "call":
            (self.passed if report.passed else self.skipped).add(name)
        elif report.skipped:
            self.skipped.add(name)


def outcomes(folder: Path, component: str, change: Change | None = None) -> Outcomes:
    """Run the contract of a component of the (changed) plugin, imported under an entry point of its own."""
    shutil.copytree(PASSING, folder / "passing", ignore=shutil.ignore_patterns("__pycache__"))
    if change is not None:
        file = folder / "passing" / change.file
        text = file.read_text(encoding="utf-8")
        assert text.count(change.old) >= 1, f"{change.old!r} is not in {change.file}"
        file.write_text(text.replace(change.old, change.new, 1), encoding="utf-8")
    seen = Outcomes()
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        registry = Registry([EntryPoint("passing", "passing", GROUP)])
        assert not registry.problems, registry.problems
        run(component, registry, ["--tb=short", "-p", "no:faulthandler", "-p", "no:unraisableexception"], [seen])
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "passing"]:
            del sys.modules[name]
    return seen


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> Iterator[None]:
    change = request.node.callspec.params.get("change")
    if change is not None and change.check in KEPT_FAST:
        imported_by.cache_clear()
    yield
    if change is not None and change.check in KEPT_FAST:
        imported_by.cache_clear()


@pytest.mark.parametrize("component", sorted({change.component for change in CHANGES}))
def test_the_unchanged_plugin_passes(component: str, tmp_path: Path) -> None:
    seen = outcomes(tmp_path, component)
    assert not seen.failed, "\n".join(seen.failed.values())
    assert len(seen.passed) >= 9


@pytest.mark.parametrize("change", sliced([(change,) for change in CHANGES], 2), ids=lambda change: change.name.replace(" ", "-"))
def test_one_line_fails_one_check(change: Change, tmp_path: Path) -> None:
    seen = outcomes(tmp_path, change.component, change)
    assert sorted(seen.failed) == [change.check], "\n".join(f"{name}: {text}" for name, text in seen.failed.items())


@pytest.mark.parametrize(
    "contract",
    [BranchContract, TransferContract, BalancerContract, PlannerContract, UpscalerContract, SuiteContract, ScorerContract],
)
def test_every_check_has_a_plugin_that_it_fails(contract: type) -> None:
    checks = {name for name in dir(contract) if name.startswith("test_")}
    assert checks <= {change.check for change in CHANGES}, "a check that nothing fails shows nothing"
