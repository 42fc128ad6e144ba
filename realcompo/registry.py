"""Finds plugins through entry points, loads each in isolation, resolves ids, and lists what went wrong.

pluggy's own entry-point loader drops the second of two plugins of one name silently and lets one ImportError end the host; so
each plugin here is loaded alone, in a plugin manager of its own, and a failure becomes a listed problem.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar, cast

import pluggy
from pydantic import ValidationError

from . import hookspecs
from .errors import AmbiguousName, BadCheckpoint, BadOption, PluginProblem, RealCompoError, UnknownName, nearest
from .interfaces import Balancer, Branch, ConditionTransfer, Planner, Scorer, Suite, Upscaler
from .specs import (
    API_VERSION,
    BalancerSpec,
    BranchSpec,
    NoOptions,
    Options,
    PlannerSpec,
    ScorerSpec,
    Spec,
    SuiteSpec,
    SyntheticSpec,
    Traits,
    TransferSpec,
    UpscalerSpec,
)

GROUP = "realcompo"
BUILTIN = "core"
T = TypeVar("T", bound=Spec)


@dataclass(frozen=True)
class Problem:
    """A plugin that is not (wholly) in use, and why."""

    plugin: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} of {self.distribution}: {self.reason}"


class Registry:
    """All components of all plugins.

    Args:
        entry_points: those of group ``realcompo``; the installed ones by default.
    """

    def __init__(self, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> None:
        self.problems: list[Problem] = []
        self.branches: dict[str, BranchSpec] = {}
        self.transfers: dict[str, TransferSpec] = {}
        self.balancers: dict[str, BalancerSpec] = {}
        self.planners: dict[str, PlannerSpec] = {}
        self.upscalers: dict[str, UpscalerSpec] = {}
        self.suites: dict[str, SuiteSpec] = {}
        self.scorers: dict[str, ScorerSpec] = {}
        self.synthetics: dict[str, SyntheticSpec] = {}
        self.modules: dict[str, str] = {BUILTIN: "realcompo.builtin"}
        """Plugin → the module that declares it."""
        self._distributions: dict[str, str] = {}
        self._register(BUILTIN, "realcompo", lambda: importlib.import_module("realcompo.builtin"))
        found = importlib.metadata.entry_points(group=GROUP) if entry_points is None else entry_points
        claims: dict[str, dict[str, importlib.metadata.EntryPoint]] = defaultdict(dict)
        for point in found:
            claims[point.name][_distribution(point)] = point
        for plugin, claimants in sorted(claims.items()):
            if plugin == BUILTIN or len(claimants) > 1:
                rivals = ", ".join(sorted(claimants)) if plugin != BUILTIN else f"realcompo itself, {', '.join(claimants)}"
                for distribution in claimants:
                    self._problem(
                        plugin,
                        distribution,
                        f"the plugin name is claimed by {rivals}: none of them is loaded",
                    )
                continue
            for distribution, point in claimants.items():
                self.modules[plugin] = point.module
                self._register(plugin, distribution, point.load)

    # -- loading ---------------------------------------------------------------------------------------------------------

    def _problem(self, plugin: str, distribution: str, reason: str) -> None:
        self.problems.append(Problem(plugin, distribution, reason))

    def _register(self, plugin: str, distribution: str, load: Callable[[], Any]) -> None:
        try:
            specs = _declared(plugin, load())
        except PluginProblem as problem:
            self._problem(plugin, distribution, f"{problem.what}: {problem.mend}" if problem.mend else problem.what)
        except Exception as error:  # a stranger's module may raise anything while it is imported
            self._problem(plugin, distribution, f"{type(error).__name__}: {error}")
        else:
            for spec in specs:
                self._table(type(spec))[spec.id] = spec
                self._distributions[spec.id] = distribution

    def _table(self, kind: type[T]) -> dict[str, T]:
        tables: dict[Any, dict[str, Any]] = {
            BranchSpec: self.branches,
            TransferSpec: self.transfers,
            BalancerSpec: self.balancers,
            PlannerSpec: self.planners,
            UpscalerSpec: self.upscalers,
            SuiteSpec: self.suites,
            ScorerSpec: self.scorers,
            SyntheticSpec: self.synthetics,
        }
        return tables[kind]

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """Kind of component in the plural → id → spec."""
        return {
            "branches": self.branches,
            "balancers": self.balancers,
            "planners": self.planners,
            "transfers": self.transfers,
            "upscalers": self.upscalers,
            "suites": self.suites,
            "scorers": self.scorers,
            "synthetics": self.synthetics,
        }

    # -- asking ----------------------------------------------------------------------------------------------------------

    def distribution(self, id: str) -> str:
        """The distribution that brought a component."""
        return self._distributions[id]

    def find(self, kind: type[T], name: str) -> T:
        """The spec of an id, or of a short name while it is unique; a branch's base is resolved into it.

        Raises:
            UnknownName, AmbiguousName.
        """
        table = self._table(kind)
        noun = kind.__name__.removesuffix("Spec").lower()
        matches = [name] if name in table else [id for id in table if id.split("/", 1)[1] == name]
        if not matches:
            said = "".join(f"\n  note: {problem}" for problem in self.problems if name.split("/")[0] == problem.plugin)
            raise UnknownName(f"no {noun} is called {name!r}", mend=nearest(name, table) + said)
        if len(matches) > 1:
            raise AmbiguousName(
                f"{len(matches)} components of kind {noun} are called {name!r}", mend=f"write one of {', '.join(sorted(matches))}"
            )
        spec = table[matches[0]]
        return cast(T, self._inherit(spec, ())) if isinstance(spec, BranchSpec) else spec

    def _inherit(self, spec: BranchSpec, seen: tuple[str, ...]) -> BranchSpec:
        if spec.base is None:
            return spec
        if spec.id in seen:
            raise PluginProblem(
                f"the bases of {spec.id!r} go in a circle: {' → '.join((*seen, spec.id))}", mend="let one of them state a target of its own"
            )
        if spec.base not in self.branches:
            raise UnknownName(
                f"{spec.id!r} builds on {spec.base!r}, which is not here",
                mend=f"install the plugin {spec.base.split('/')[0]!r}",
            )
        base = self._inherit(self.branches[spec.base], (*seen, spec.id))
        inherited = (
            "target",
            "options",
            "role",
            "condition",
            "traits",
            "guidance_scale",
            "requires",
            "sample",
            "recommended",
        )
        values = {name: getattr(base if getattr(spec, name) in (None, ()) else spec, name) for name in inherited}
        return replace(spec, **values, defaults={**base.defaults, **spec.defaults})

    def options(self, spec: Spec, values: Mapping[str, Any] | None = None) -> Options:
        """A component's options, validated.

        Raises:
            BadOption: an unknown name (with the nearest) or a value that it cannot take.
        """
        cls = spec.options or NoOptions
        try:
            return cls(**{**spec.defaults, **(values or {})})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            where = f"{spec.id}, option {name!r}" if name else f"{spec.id}, its options"
            if first["type"] == "extra_forbidden":
                raise BadOption(f"{spec.id} has no option {name!r}", mend=nearest(name, cls.model_fields)) from None
            got = f" (got {first['input']!r})" if name else ""  # of several options together, the message names them
            raise BadOption(
                f"{first['msg'].removeprefix('Value error, ')}{got}",
                where=where,
                mend=f"see `realcompo show {spec.id}`",
            ) from None

    def load(self, spec: Spec) -> type[Any]:
        """Import a component's class.

        Raises:
            PluginProblem: the target does not exist, cannot be imported, or leaves out what its kind of component must have.
        """
        if spec.target is None:
            raise PluginProblem(
                f"{spec.id!r} states no target and has no base that does", mend="give its spec target='package.module:Class', or a base"
            )
        module, _, name = spec.target.partition(":")
        try:
            found = cast(type[Any], getattr(importlib.import_module(module), name))
        except (ImportError, AttributeError) as error:
            needs = f"install what it needs: {', '.join(getattr(spec, 'requires', ())) or 'see its documentation'}"
            raise PluginProblem(
                f"{spec.id!r} cannot be imported from {spec.target!r}: {error}",
                mend=needs if isinstance(error, ImportError) else f"define {name} in {module}, or mend the target of its spec",
            ) from error
        if missing := sorted(getattr(found, "__abstractmethods__", ())):
            raise PluginProblem(
                f"{spec.id!r} cannot be built: {name} of {module} defines no {', '.join(missing)}",
                mend="define it; realcompo.interfaces says what is told and what is expected",
            )
        return found

    # -- building --------------------------------------------------------------------------------------------------------

    def inspect(self, name: str, options: Mapping[str, Any] | None = None, source: Any = None) -> Traits:
        """A branch's traits, without its weights.

        Raises:
            BadCheckpoint: its source is missing, of another architecture, or its configs hold what cannot be made sense of.
        """
        spec = self.find(BranchSpec, name)
        cls: type[Branch] = self.load(spec)
        told = self.options(spec, options)
        try:
            return cls.inspect(spec, told, source)
        except RealCompoError:
            raise
        except Exception as error:  # a stranger's configs hold any value in any place
            raise BadCheckpoint(
                f"what {spec.id!r} is cannot be told from its configs ({type(error).__name__}: {error})",
                where=str(source or spec.source or spec.id),
                mend="fetch or copy its source again; if it is right, tell the plugin's author (--debug shows where it fails)",
            ) from error

    def branch(self, name: str, options: Mapping[str, Any] | None = None, **where: Any) -> Branch:
        """Load a branch; `where` is source, device, dtype."""
        spec = self.find(BranchSpec, name)
        cls: type[Branch] = self.load(spec)
        return cls(spec, self.options(spec, options), **where)

    def transfer(self, condition: str, options: Mapping[str, Any] | None = None) -> ConditionTransfer:
        """The transfer by its id, or for a kind of condition: the core's own where it has one, else the only one.

        Raises:
            UnknownName: nothing of that name. AmbiguousName: several strangers' transfers take the kind; a recipe names one.
        """
        takers = [id for id, spec in self.transfers.items() if spec.condition == condition]
        own = [id for id in takers if id.startswith(f"{BUILTIN}/")]
        if len(own or takers) > 1:
            raise AmbiguousName(f"several transfers take {condition}", mend=f"name one in the recipe: {', '.join(sorted(takers))}")
        spec = self.find(TransferSpec, (own or takers or [condition])[0])
        cls: type[ConditionTransfer] = self.load(spec)
        return cls(self.options(spec, options))

    def balancer(self, name: str, options: Mapping[str, Any] | None = None) -> Balancer:
        """Build a balancer."""
        spec = self.find(BalancerSpec, name)
        cls: type[Balancer] = self.load(spec)
        return cls(self.options(spec, options))

    def planner(self, name: str, options: Mapping[str, Any] | None = None) -> Planner:
        """Build a planner."""
        spec = self.find(PlannerSpec, name)
        cls: type[Planner] = self.load(spec)
        return cls(self.options(spec, options))

    def upscaler(self, name: str, options: Mapping[str, Any] | None = None) -> Upscaler:
        """Build an upscaler."""
        spec = self.find(UpscalerSpec, name)
        cls: type[Upscaler] = self.load(spec)
        return cls(self.options(spec, options))

    def suite(self, name: str, options: Mapping[str, Any] | None = None) -> Suite:
        """Build a suite."""
        spec = self.find(SuiteSpec, name)
        cls: type[Suite] = self.load(spec)
        return cls(self.options(spec, options))

    def scorer(self, name: str, options: Mapping[str, Any] | None = None, device: str = "cpu") -> Scorer:
        """Build a scorer; it loads its weights when it first scores."""
        spec = self.find(ScorerSpec, name)
        cls: type[Scorer] = self.load(spec)
        return cls(self.options(spec, options), device)


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _declared(plugin: str, module: Any) -> list[Spec]:
    """What a plugin module declares, checked.

    Raises:
        PluginProblem: another API version, a hook that does not exist, a spec that is none or claims another's id.
    """
    version = getattr(module, "REALCOMPO_API", None)
    if version is None:
        raise PluginProblem("it states no plugin API version", mend=f"add REALCOMPO_API = {API_VERSION}")
    if version != API_VERSION:
        raise PluginProblem(f"it was written for plugin API {version}, this host speaks {API_VERSION}", mend="update the older of the two")
    kinds: dict[str, type[Spec]] = {
        "register_branches": BranchSpec,
        "register_transfers": TransferSpec,
        "register_balancers": BalancerSpec,
        "register_planners": PlannerSpec,
        "register_upscalers": UpscalerSpec,
        "register_suites": SuiteSpec,
        "register_scorers": ScorerSpec,
        "register_synthetics": SyntheticSpec,
    }
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=plugin)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginProblem(str(error), mend=f"the hooks are {', '.join(kinds)}") from error
    specs: dict[str, Spec] = {}
    for hook, kind in kinds.items():
        for spec in (one for batch in getattr(manager.hook, hook)() for one in batch):
            if not isinstance(spec, kind):
                raise PluginProblem(f"{hook} returned {type(spec).__name__}, not {kind.__name__}", mend=f"let it return {kind.__name__}s")
            prefix, slash, component = spec.id.partition("/")
            if prefix != plugin or not slash or not component:
                raise PluginProblem(f"{hook} returned the id {spec.id!r}", mend=f"ids of this plugin are written '{plugin}/component'")
            if spec.id in specs:
                raise PluginProblem(f"the id {spec.id!r} is declared twice", mend="rename one of them")
            specs[spec.id] = spec
    return list(specs.values())


@cache
def installed() -> Registry:
    """The registry of what is installed, read once a process."""
    return Registry()
