"""Declares a transfer with a kind of condition of its own, a branch that takes it, a balancer, a planner, a suite and a scorer."""

from realcompo import hookimpl
from realcompo.specs import BalancerSpec, BranchSpec, Column, PlannerSpec, ScorerSpec, SuiteSpec, TransferSpec

from .options import PulseOptions

REALCOMPO_API = 1


@hookimpl
def register_transfers():
    yield TransferSpec(id="hello-more/dots", condition="dots", target="realcompo_hello_more.dots:DotTransfer", summary="round regions")


@hookimpl
def register_branches():
    """A branch that builds on another plugin's: only what differs is said."""
    sample = {"prompt": "a cat and a dog", "boxes": {"a cat": (0, 0, 0.5, 1), "a dog": (0.5, 0, 1, 1)}}
    yield BranchSpec(id="hello-more/left", base="hello/boxes", summary="hello/boxes under a name of its own", sample=sample)


@hookimpl
def register_balancers():
    yield BalancerSpec(id="hello-more/pulse", target="realcompo_hello_more.pulse:Pulse", options=PulseOptions, summary="takes turns")


@hookimpl
def register_planners():
    yield PlannerSpec(id="hello-more/row", target="realcompo_hello_more.row:Row", summary="the objects of a prompt in a row")


@hookimpl
def register_suites():
    yield SuiteSpec(id="hello-more/pets", target="realcompo_hello_more.pets:Pets", summary="two pets", scorers=("hello-more/contrast",))


@hookimpl
def register_scorers():
    target, column = "realcompo_hello_more.pets:Contrast", Column(name="contrast", title="contrast", top="contrast", bottom="boxes")
    yield ScorerSpec(id="hello-more/contrast", target=target, summary="boxes stand out", columns=(column,), reads=("conditions",))
