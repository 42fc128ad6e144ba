"""The published algorithm as a loop: what a step of it does, by F, and that it does it."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from realcompo.bench import published
from realcompo.bench.measuring import draw
from realcompo.bench.published import Published
from realcompo.bench.subjects import Subject
from realcompo.compose.cost import OperationCount
from realcompo.errors import BadOption

SHAPE = (1, 4, 8, 8)


@pytest.mark.deep
def test_each_step_costs_the_same(pair: Subject) -> None:
    """Or one step, times fifty, would not be the loop's cost."""
    one, three = (published.counted(pair, 1e6, steps) for steps in (1, 3))
    assert one["step_f"] == three["step_f"] > 0
    assert one["sampling_f"] == 50 * one["step_f"] and (one["steps"], three["counted_steps"]) == (50, 3)
    loop = Published.of(pair, 4)
    z, coefficients = loop.start(SHAPE)
    with OperationCount() as counter:
        out = loop.run(z, coefficients)
    assert counter.total / 4 == one["step_f"] * 1e6, "the spatial branch's first steps cost what the others do"
    assert torch.isfinite(out).all() and not torch.equal(out, z)


def test_a_step_is_eight_passes_and_a_way_back(pair: Subject) -> None:
    """Four of each network: guided noise (two rows), unguided noise, and the whole of a pass for the maps; one way back, through the
    spatial network alone."""
    mean = {"balancer": {"name": "core/mean"}, "num_inference_steps": 1}
    cost = draw(pair.changed("mean", mean), latents=True).result.cost
    fidelity, spatial = (cost.parts[f"predict {name}"] / 2 for name in ("sd/v1-5", "gligen/box"))
    assert fidelity == 1.0
    told = published.counted(pair, cost.unit)
    back = told["step_f"] - 4 * fidelity - 4 * spatial
    assert 0.1 * spatial < back < 1.5 * spatial
    paper = {"balancer": {"name": "core/balance", "options": {"warmup": 0.0}}, "num_inference_steps": 1}
    exact = draw(pair.changed("exact", paper), latents=True).result.cost
    assert exact.sampling < told["step_f"], "ours does less"


def test_the_gradient_is_of_the_spatial_maps_alone_and_moves_the_coefficients(pair: Subject) -> None:
    loop = Published.of(pair, 4)
    z, coefficients = loop.start(SHAPE)
    assert not torch.equal(*coefficients), "independent draws"
    _, moved = loop.step(z, coefficients, loop.solver.steps[3])
    changes = [after - before for after, before in zip(moved, coefficients, strict=True)]
    assert all(change.abs().max() > 0 for change in changes)
    torch.testing.assert_close(changes[0], -changes[1], rtol=1e-3, atol=1e-3 * float(changes[0].abs().max()))
    seen: list[bool] = []
    before = loop.branches[0].predict

    def watch(z: torch.Tensor, *rest: object, **more: object) -> object:
        seen.append(z.requires_grad)
        return before(z, *rest, **more)  # type: ignore[arg-type]

    loop.branches[0].predict = watch  # type: ignore[method-assign, assignment]
    try:
        loop.step(z, coefficients, loop.solver.steps[3])
    finally:
        del loop.branches[0].predict  # type: ignore[method-assign]
    assert seen == [False] * 3, "its maps are detached"


def test_its_first_steps_take_the_spatial_noise_alone(pair: Subject) -> None:
    """20 of 50: there the coefficients decide nothing."""
    loop = Published.of(pair, 10)
    z, coefficients = loop.start(SHAPE)
    other = [torch.zeros_like(one) for one in coefficients]
    first, _ = loop.step(z, coefficients, loop.solver.steps[3])
    again, _ = loop.step(z, other, loop.solver.steps[3])
    assert torch.equal(first, again)
    late, _ = loop.step(z, coefficients, loop.solver.steps[4])
    later, _ = loop.step(z, other, loop.solver.steps[4])
    assert not torch.equal(late, later)


@pytest.mark.parametrize("name", ["sdxl-controlnet"])
def test_it_runs_with_other_networks(bench: object, name: str) -> None:
    from .conftest import FAST

    assert published.counted(bench.open(name, arguments=FAST), 1e6)["sampling_f"] > 0  # type: ignore[attr-defined]


def test_branches_that_predict_different_things_are_refused(pair: Subject) -> None:
    members = pair.composer.members
    other = replace(members[1], traits=replace(members[1].traits, prediction_type="v_prediction"))
    composer = copy.copy(pair.composer)
    composer.members = [members[0], other]
    with pytest.raises(BadOption, match="of one kind alone"):
        Published.of(replace(pair, composer=composer))
