"""What is held at most: every tensor once, for as long as anyone holds it."""

from __future__ import annotations

import gc

import torch

from realcompo.bench.memory import Living, Peak, weights
from realcompo.registry import installed
from realcompo.testing.sources import small_checkpoint

MB = 2**20


def block() -> torch.Tensor:
    return torch.zeros(MB // 4)


def test_tensors_are_counted_while_they_are_held() -> None:
    with Living() as living:
        first = block()
        view = first.view(-1, 2)[3:]
        assert living.now == MB, "a view holds nothing of its own"
        second = block()
        assert living.now == living.most == 2 * MB
        del second
        third = block()
        assert (living.now, living.most) == (2 * MB, 2 * MB), "what was given back counts no more"
        del first
        assert living.now == 2 * MB, "the view still holds it"
        del view, third
        gc.collect()
        assert living.now == 0
    assert living.most == 2 * MB


def test_a_graph_holds_what_its_way_back_needs() -> None:
    with Living() as living:
        z = torch.ones(MB // 4, requires_grad=True)
        out = z
        for _ in range(4):
            out = out.exp()  # keeps its result
        assert living.now == 5 * MB
        (slope,) = torch.autograd.grad(out.sum(), z)
        held = living.now
        del out, slope
        assert held >= 2 * MB > living.now - MB and living.most >= 6 * MB, "the way back is seen, too"


def test_what_was_there_before_is_not_made() -> None:
    known = block()
    with Living([known]) as living:
        known.add_(1)
        assert living.now == 0
        assert (known + 1).numel() == MB // 4 and living.most == MB


def test_weights_count_once() -> None:
    """Of branches that share a network, and of tied tensors."""
    branch = installed().branch("sd/v1-5", source=small_checkpoint("sd1"))
    own = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in weights([branch])}
    numbers = sum(parameter.numel() for network in branch.networks().values() for parameter in network.parameters())
    assert sum(own.values()) >= 4 * numbers * 0.99
    with Peak(torch.device("cpu"), [branch, branch]) as peak:
        held = block()
    assert peak.weights == sum(own.values()) and peak.most == peak.weights + MB and held.numel()
