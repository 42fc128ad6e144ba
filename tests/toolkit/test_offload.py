"""Offload: a branch's weights stay where its graph needs them until the backward pass is over."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import realcompo as rc
from realcompo.recipes.recipe import BranchEntry
from realcompo.toolkit import UNetBranch

CAT = {"a cat": (0.1, 0.1, 0.6, 0.6)}


@pytest.mark.deep
def test_nothing_is_moved_between_a_graph_and_its_backward_pass(checkpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no GPU, another precision stands for the place to sleep: weights of a graph may not change it either."""
    moves: list[str] = []

    def to(self: UNetBranch, device: Any = None, dtype: Any = None) -> UNetBranch:
        asleep = device == "cpu"
        moves.append("sleep" if asleep else "wake")
        for network in self.networks().values():
            network.to(torch.float64 if asleep else torch.float32)
        return self

    def entries() -> tuple[BranchEntry, BranchEntry]:
        return BranchEntry(name="sd/v1-5", source=str(checkpoint("sd1"))), BranchEntry(name="gligen/box", source=str(checkpoint("gligen")))

    settings: dict[str, Any] = {"device": "cpu", "num_inference_steps": 4, "balancer": "core/balance"}
    plain = rc.Composer(*entries(), **settings)("a cat", rc.Boxes(CAT), seed=0).latents
    composer = rc.Composer(*entries(), **settings, offload=True)
    assert composer.branches
    monkeypatch.setattr(UNetBranch, "to", to)
    offloaded = composer("a cat", rc.Boxes(CAT), seed=0)
    assert offloaded.trace.losses, "it probed"
    torch.testing.assert_close(offloaded.latents.float(), plain, rtol=1e-4, atol=1e-3)
    assert moves[-1] == "sleep"
    for branch in composer.branches:
        for network in branch.networks().values():  # type: ignore[attr-defined]
            assert network.dtype == torch.float64
            network.to(torch.float32)
