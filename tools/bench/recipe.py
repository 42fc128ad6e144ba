"""The embedded default as `realcompo bench` measures any recipe."""

from __future__ import annotations

from contextlib import ExitStack

from . import benchmark, seconds


@benchmark("the default recipe: F, a step, our own share")
def default_recipe() -> str:
    """One draw after one that warms up."""
    from realcompo.bench.measuring import measure
    from realcompo.bench.subjects import Bench

    with ExitStack() as stack:
        found = measure(Bench(stack).open(None, arguments={"device": "cpu"}), 1, memory=False)
    return f"{found.cost.sampling:.1f} F, {seconds(found.draws[0].step)}, {found.own:.1%}"
