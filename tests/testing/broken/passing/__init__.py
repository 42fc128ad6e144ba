"""A plugin that passes every check. `tests/testing/test_broken_plugins.py` changes one line of it at a time."""

from collections.abc import Iterable

from realcompo import hookimpl
from realcompo.specs import BalancerSpec, BranchSpec, Column, LatentSpace, PlannerSpec, ScorerSpec, SuiteSpec, Traits, TransferSpec

from .options import BranchOptions, StepOptions

REALCOMPO_API = 1

_BRANCH = {
    "target": "passing.branch:SmallBranch",
    "options": BranchOptions,
    "traits": Traits(LatentSpace("passing", scaling_factor=1.0), "passing", default_size=(64, 64)),
    "guidance_scale": 3.0,
}


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    yield BranchSpec(id="passing/fidelity", role="fidelity", summary="draws", **_BRANCH)
    yield BranchSpec(id="passing/spatial", role="spatial", condition="boxes", summary="places", **_BRANCH)


@hookimpl
def register_transfers() -> Iterable[TransferSpec]:
    yield TransferSpec(id="passing/boxes", condition="boxes", target="passing.transfer:GridTransfer", summary="boxes as fine masks")


@hookimpl
def register_balancers() -> Iterable[BalancerSpec]:
    yield BalancerSpec(id="passing/step", target="passing.balancer:Stepping", options=StepOptions, summary="plain gradient steps")


@hookimpl
def register_planners() -> Iterable[PlannerSpec]:
    yield PlannerSpec(id="passing/row", target="passing.planner:Row", summary="objects in a row")


_COLUMNS = (Column(name="right", title="right", top="right", bottom="objects"), Column(name="light", title="light", whole=True))


@hookimpl
def register_suites() -> Iterable[SuiteSpec]:
    yield SuiteSpec(id="passing/rows", target="passing.suite:Rows", summary="rows of things", scorers=("passing/coloured",))


@hookimpl
def register_scorers() -> Iterable[ScorerSpec]:
    target, summary = "passing.suite:Coloured", "boxes of their own colour"
    yield ScorerSpec(id="passing/coloured", target=target, summary=summary, columns=_COLUMNS, reads=("truth",))
