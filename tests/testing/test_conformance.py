"""The conformance kit on the core's own components, on the toys, on every installed plugin, and `run` itself."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from realcompo.errors import PluginProblem, UnknownName
from realcompo.registry import GROUP, Registry, installed
from realcompo.specs import SyntheticSpec
from realcompo.testing import BranchContract, contracts, run, toy_registry
from tests import brings


class TestToyFidelity(BranchContract):
    """As an author writes it: inherit, name the component."""

    component = "toy/fidelity"
    registry = toy_registry()
    test_declaring_imports_no_torch = None  # a toy is one module, declaration and all
    test_maps_follow_the_order_of_regions = None  # row r of a toy reads channel r, whatever the region


class TestToySpatial(TestToyFidelity):
    component = "toy/spatial"


class TestToySpatialThatMovesLatents(TestToySpatial):
    options = {"shift": 0.3}  # noqa: RUF012


class TestToySpatialThatPredictsV(TestToySpatial):
    component = "toy/spatial-v"


def _one_a_class() -> dict[str, type[Any]]:
    """A contract for each class that an installed plugin brings; components that are only other data of a class are left to the pairs.

    In every run a package's first class of each kind; its others, which share most of their code with it, in ``make test-deep``.
    """
    registry, seen, found = installed(), set(), {}
    families: set[tuple[str, str]] = set()
    for kind, table in registry.tables.items():
        for spec in table.values():
            if spec.id.startswith("mini/") and not brings(spec.id):  # a checkout from before it was trained
                continue
            if isinstance(spec, SyntheticSpec):  # a recipe; the branches that it draws with have their contracts
                continue
            if spec.target is not None and spec.target not in seen:  # None: it builds on another branch
                seen.add(spec.target)
                (cls,) = contracts(spec.id).values()
                family = (kind, spec.target.partition(".")[0])
                first = family not in families or family[1] == "realcompo"
                found[cls.__name__] = cls if first else pytest.mark.deep(cls)
                families.add(family)
    return found


globals().update(_one_a_class())


def test_run_takes_a_plugin_a_component_or_a_short_name() -> None:
    registry = toy_registry()
    assert list(contracts("core/mean", registry)) == ["core/mean"]
    assert list(contracts("mean", registry)) == ["core/mean"]
    assert {"core/boxes", "core/balance", "core/mean"} <= set(contracts("core", registry))
    assert run("core/mean", registry, ["-k", "weights", "-p", "no:faulthandler"]) == 0


def test_run_fails_where_a_check_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("toy/fidelity", toy_registry(), ["-k", "order_of_regions", "-p", "no:faulthandler"]) == 1
    assert "test_maps_follow_the_order_of_regions" in capsys.readouterr().out


def test_unknown_names_and_broken_plugins_are_named() -> None:
    registry = Registry([EntryPoint("gone", "no_such_module_at_all", GROUP)])
    with pytest.raises(UnknownName, match="core/mean"):
        contracts("core/meen", registry)
    with pytest.raises(PluginProblem, match="no_such_module_at_all"):
        contracts("gone", registry)
