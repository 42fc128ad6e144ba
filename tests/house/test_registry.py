"""Plugins that do not load are listed problems, and everything else works."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from realcompo.errors import AmbiguousName, BadOption, PluginProblem, UnknownName
from realcompo.registry import GROUP, Registry
from realcompo.specs import BranchSpec

GOOD = """
from realcompo import hookimpl
from realcompo.specs import BalancerSpec
REALCOMPO_API = 1
@hookimpl
def register_balancers():
    return [BalancerSpec(id="{name}/even", target="realcompo.builtin.fixed:Mean", summary="even")]
"""

Plugin = Callable[..., EntryPoint]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    """Writes a module, with a distribution of its own around it, and returns its entry point."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, text: str | None = None, module: str | None = None, distribution: str | None = None) -> EntryPoint:
        module, distribution = module or f"stranger_{name}", distribution or f"realcompo-{name}"
        (tmp_path / f"{module}.py").write_text(text if text is not None else GOOD.format(name=name))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {module}\n")
        importlib.invalidate_caches()
        (point,) = importlib.metadata.distribution(distribution).entry_points
        return point

    yield write  # type: ignore[misc]
    for name in set(sys.modules) - before:
        if name.startswith("stranger_"):
            del sys.modules[name]


def only_problem(registry: Registry) -> str:
    assert "core/balance" in registry.balancers, "the core must work whatever a plugin does"
    (problem,) = registry.problems
    return str(problem)


def test_a_good_plugin_is_in_the_list_with_its_distribution(plugin: Plugin) -> None:
    registry = Registry([plugin("good")])
    assert not registry.problems
    assert registry.distribution("good/even") == "realcompo-good"
    assert registry.modules["good"] == "stranger_good"
    assert registry.balancer("even").options.model_dump() == {}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("REALCOMPO_API = 1", "", "states no plugin API version: add REALCOMPO_API = 1"),
        ("REALCOMPO_API = 1", "REALCOMPO_API = 2", "written for plugin API 2, this host speaks 1"),
        ("REALCOMPO_API = 1", "import a_package_that_is_not_here", "ModuleNotFoundError: No module named 'a_package_that_is_not_here'"),
        ("REALCOMPO_API = 1", "REALCOMPO_API = 1 / 0", "ZeroDivisionError"),
        ("REALCOMPO_API = 1", "REALCOMPO_API = ", "SyntaxError"),
        ('id="bad/even"', 'id="other/even"', "returned the id 'other/even': ids of this plugin are written 'bad/component'"),
        ('id="bad/even"', 'id="even"', "ids of this plugin are written 'bad/component'"),
        ("return [", "return 2 * [", "the id 'bad/even' is declared twice"),
        ("def register_balancers", "def register_branches", "register_branches returned BalancerSpec, not BranchSpec"),
        ("def register_balancers", "def register_ballancers", "register_ballancers"),
    ],
)
def test_a_bad_plugin_is_a_listed_problem(plugin: Plugin, old: str, new: str, reason: str) -> None:
    text = GOOD.format(name="bad")
    assert old in text
    registry = Registry([plugin("bad", text.replace(old, new)), plugin("good")])
    said = only_problem(registry)
    assert "plugin 'bad' of realcompo-bad" in said and reason in said
    assert "good/even" in registry.balancers, "its neighbour works"
    assert not any(id.startswith("bad/") for id in registry.balancers), "nothing of it is half there"


def test_two_distributions_that_claim_one_name_are_both_named(plugin: Plugin) -> None:
    first = plugin("twin", module="stranger_twin_1", distribution="realcompo-twin-one")
    second = plugin("twin", module="stranger_twin_2", distribution="realcompo-twin-two")
    registry = Registry([first, second, plugin("good")])
    assert {problem.distribution for problem in registry.problems} == {"realcompo-twin-one", "realcompo-twin-two"}
    assert all("realcompo-twin-one, realcompo-twin-two" in problem.reason for problem in registry.problems)
    assert "good/even" in registry.balancers and "twin/even" not in registry.balancers


def test_nobody_may_call_themselves_core(plugin: Plugin) -> None:
    assert "realcompo itself" in only_problem(Registry([plugin("core")]))


def test_an_unknown_name_says_the_nearest_and_why_a_plugin_is_missing(plugin: Plugin) -> None:
    registry = Registry([plugin("bad", "REALCOMPO_API = 7"), plugin("good")])
    with pytest.raises(UnknownName, match="did you mean 'good/even'"):
        registry.balancer("good/evn")
    with pytest.raises(UnknownName, match="written for plugin API 7"):
        registry.balancer("bad/even")


def test_a_short_name_works_while_it_is_unique(plugin: Plugin) -> None:
    registry = Registry([plugin("good"), plugin("other")])
    with pytest.raises(AmbiguousName, match="good/even, other/even"):
        registry.balancer("even")
    assert registry.balancer("good/even")


def test_options_that_do_not_exist_or_do_not_fit(plugin: Plugin) -> None:
    registry = Registry([])
    with pytest.raises(BadOption, match="did you mean 'warmup'"):
        registry.balancer("core/balance", {"warmpu": 0.2})
    with pytest.raises(BadOption, match="core/balance, option 'warmup'"):
        registry.balancer("core/balance", {"warmup": 2})


BRANCHES = """
from realcompo import hookimpl
from realcompo.specs import BranchSpec
REALCOMPO_API = 1
@hookimpl
def register_branches():
    yield BranchSpec(id="based/a", base={a!r}, role="fidelity", summary="a", target={target!r})
    yield BranchSpec(id="based/b", base="based/a", summary="b", defaults={{"x": 1}})
"""


def test_a_base_is_resolved(plugin: Plugin) -> None:
    registry = Registry([plugin("based", BRANCHES.format(a=None, target="somewhere:Branch"))])
    spec = registry.find(BranchSpec, "based/b")
    assert (spec.target, spec.role, dict(spec.defaults)) == ("somewhere:Branch", "fidelity", {"x": 1})
    with pytest.raises(PluginProblem, match="cannot be imported from 'somewhere:Branch'"):
        registry.load(spec)


@pytest.mark.parametrize(
    ("target", "said", "mend"),
    [
        ("somewhere:Branch", "cannot be imported", "install what it needs"),
        ("realcompo.testing.toys:ToyBrunch", "has no attribute 'ToyBrunch'", "define ToyBrunch in realcompo.testing.toys"),
        ("realcompo.interfaces:Balancer", "Balancer of realcompo.interfaces defines no needs, start, weights", "define it"),
    ],
    ids=["no-module", "no-class", "half-a-class"],
)
def test_a_first_branch_that_does_not_load_is_told_what_it_lacks(plugin: Plugin, target: str, said: str, mend: str) -> None:
    """The mistakes of somebody who writes one; the control is a class that is whole."""
    registry = Registry([plugin("based", BRANCHES.format(a=None, target=target))])
    with pytest.raises(PluginProblem, match=said) as told:
        registry.load(registry.find(BranchSpec, "based/a"))
    assert str(told.value.mend).startswith(mend)
    whole = Registry([plugin("whole", BRANCHES.format(a=None, target="realcompo.testing.toys:ToyBranch").replace("based/", "whole/"))])
    assert whole.load(whole.find(BranchSpec, "whole/a")).__name__ == "ToyBranch"


@pytest.mark.parametrize(
    ("base", "error", "said"), [("based/b", PluginProblem, "go in a circle"), ("gone/x", UnknownName, "install the plugin 'gone'")]
)
def test_bases_that_cannot_be_resolved(plugin: Plugin, base: str, error: type[Exception], said: str) -> None:
    registry = Registry([plugin("based", BRANCHES.format(a=base, target=None))])
    with pytest.raises(error, match=said):
        registry.find(BranchSpec, "based/b")


def test_the_cores_transfer_is_used_where_a_stranger_takes_the_same_kind() -> None:
    from realcompo.errors import AmbiguousName
    from realcompo.specs import TransferSpec
    from realcompo.testing.toys import toy_registry

    registry = toy_registry()
    for name in ("other/boxes", "other/dots", "third/dots"):
        kind = name.split("/")[1]
        registry.transfers[name] = TransferSpec(id=name, summary="", condition=kind, target="realcompo.builtin.transfers:BoxTransfer")
    assert registry.transfer("boxes").__class__.__module__ == "realcompo.builtin.transfers"
    with pytest.raises(AmbiguousName, match="several transfers take dots") as caught:
        registry.transfer("dots")
    assert "other/dots, third/dots" in str(caught.value)
    assert registry.transfer("other/dots")


def test_an_inherited_guidance_scale_of_zero_stays_zero() -> None:
    from realcompo.specs import BranchSpec
    from realcompo.testing.toys import toy_registry

    registry = toy_registry()
    registry.branches["toy/none"] = BranchSpec(id="toy/none", summary="", base="toy/spatial", guidance_scale=0.0)
    assert registry.find(BranchSpec, "toy/none").guidance_scale == 0.0
    assert registry.find(BranchSpec, "toy/none").condition == "boxes"
