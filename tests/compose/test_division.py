"""The rivals of the literature: expert switching and fair division, each beside what it must not be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from realcompo.builtin.division import FairDivision, Switch, divided, utilities
from realcompo.builtin.options import DivisionOptions, SwitchOptions
from realcompo.interfaces import ProbeResult, Setting, Step
from tests.toyworld import PROMPT, TWO, toys

SIDE = 8


def wanted(greed: float = 6.0, count: int = 2, seed: int = 0) -> Tensor:
    """Utilities (K, 2, 1, h, w) of mean 1: the first branch wants a few pixels of each picture very much."""
    drawn = torch.rand(count, 2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    drawn[0] = drawn[0] ** greed
    return drawn / drawn.mean(dim=(-2, -1), keepdim=True)


def uniform(players: int) -> Tensor:
    return torch.full((players, 2, 1, SIDE, SIDE), 1 / players, dtype=torch.float64)


def got(parts: Tensor, wants: Tensor) -> Tensor:
    """(K, B) Σ_j Q_ij u_ij."""
    return (parts[: len(wants)] * wants).mean(dim=(2, 3, 4))


@pytest.mark.parametrize("count", [2, 3])
def test_every_branch_gets_its_fair_part(count: int) -> None:
    """Proportional: at least 1/K of what it would get alone. Where all but one want all pixels alike, somebody gets less without."""
    wants = torch.ones(count, 2, 1, SIDE, SIDE, dtype=torch.float64)
    wants[:1] = wanted()[:1]
    fair = divided(wants, uniform(count + 1), 0.5, fair=True)
    assert (got(fair, wants) >= 1 / count - 1e-3).all()
    assert torch.allclose(fair.sum(dim=0), torch.ones_like(fair[0]))
    assert (got(divided(wants, uniform(count + 1), 0.5, fair=False), wants) < 1 / count - 0.02).any()


def test_the_division_is_the_best_of_its_kind() -> None:
    """Of Σ Q u − β KL(Q ‖ Q'): no other division that is as fair is worth more; one that owes nothing is."""
    wants, before, smoothing = wanted(), uniform(3), 0.7

    def worth(parts: Tensor) -> Tensor:
        everyone = torch.cat([wants, torch.ones_like(wants[:1])])
        return (parts * everyone - smoothing * parts * (parts / before).log()).sum(dim=0).mean(dim=(1, 2, 3))

    best = divided(wants, before, smoothing, fair=True)
    assert (worth(divided(wants, before, smoothing, fair=False)) >= worth(best)).all()
    generator = torch.Generator().manual_seed(1)
    tried = 0
    for _ in range(400):
        push = torch.randn(best.shape, generator=generator, dtype=torch.float64)
        other = (best.log() + 0.3 * push).softmax(dim=0)
        as_fair = (got(other, wants) >= 0.5).all(dim=0)
        tried += int(as_fair.sum())
        assert (worth(other) <= worth(best) + 1e-4)[as_fair].all()
    assert tried > 20


def test_a_division_stays_near_the_last() -> None:
    """β holds it: without end nothing changes, and the smaller it is the more it goes where it is wanted."""
    wants, before = wanted(), uniform(3)
    assert torch.allclose(divided(wants, before, 1e9, fair=False), before)
    near, far = (divided(wants, before, smoothing, fair=False) for smoothing in (4.0, 0.4))
    assert (got(far, wants)[0] > got(near, wants)[0]).all() and (got(near, wants)[0] > got(before, wants)[0]).all()


def test_utilities_are_shares_of_a_words_attention() -> None:
    """Mean over the regions that a picture has, and 1 everywhere where it has none or nothing was seen."""
    maps = torch.zeros(3, 2, 4, 4)
    maps[0, 0, :2], maps[0, 1, 2:], maps[1, 0, 0, 0] = 1.0, 3.0, 5.0
    masks = torch.zeros(3, 2, 8, 8)
    masks[0], masks[1, 0] = 0.5, 1.0  # both regions; the first alone; none
    (found,) = utilities((maps,), masks)
    assert torch.allclose(found.mean(dim=(1, 2, 3)), torch.ones(3))
    assert found[0].std() < 0.3 and found[1, 0, 0, 0] > 8 and torch.equal(found[2], torch.ones(1, 8, 8))
    assert torch.equal(utilities((torch.zeros_like(maps),), masks)[0], torch.ones(3, 1, 8, 8))


def test_a_branch_draws_where_its_words_are() -> None:
    """Of two branches whose words are in one half each, each draws its half; the control: with their maps exchanged, the other."""
    masks = torch.ones(1, 1, SIDE, SIDE)
    setting = Setting(("a", "b"), ("fidelity", "spatial"), masks, torch.zeros(2, 1, 1, dtype=torch.bool))
    left, right = torch.zeros(1, 1, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE)
    left[..., : SIDE // 2], right[..., SIDE // 2 :] = 1, 1
    step = Step(0, 10, 900, 800, 0.1, 0.2)

    def shares(maps: tuple[Tensor, ...]) -> tuple[float, float]:
        balancer = FairDivision(DivisionOptions())
        state = balancer.start(setting)
        for _ in range(5):
            state, _ = balancer.update(state, step, lambda w: ProbeResult(w.sum(), w, w, w, maps))
        first = balancer.weights(state, step)[0]
        return float(first[..., : SIDE // 2].mean()), float(first[..., SIDE // 2 :].mean())

    assert shares((left, right))[0] > 0.8 and shares((left, right))[1] < 0.2
    assert shares((right, left))[0] < 0.2


def test_it_draws_and_its_probe_needs_no_pass_of_its_own() -> None:
    """Lagged and detached, all that it costs is what predicts, and where nobody wants more of a pixel than another each has the half."""
    lagged = {"lagged": True, "detach": ["fidelity", "spatial"]}
    result = toys(balancer="core/fair-division", probe=lagged)(PROMPT, TWO, seed=1, output_type="latent")
    mean = toys(balancer="core/mean")(PROMPT, TWO, seed=1, output_type="latent")
    assert torch.allclose(result.latents, mean.latents)  # both toys attend to the same places: there is nothing to divide
    assert result.trace.entries[-1].weights.sum(dim=0).allclose(torch.ones(1, 1, dtype=torch.float64))
    assert result.trace.probe_calls == 0
    assert [entry.loss is None for entry in result.trace.entries] == [False] * 10
    assert all(float(entry.grad_latents.abs().max()) == 0 for entry in result.trace.entries)  # detached: nobody walked back


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++-2m-karras"])
def test_switching_is_a_hand_over_at_a_noise_level(scheduler: str) -> None:
    """The spatial branches draw exactly the steps above it, however they are spaced; at 0 all of them, above all noise none."""
    setting = Setting(("a", "b"), ("fidelity", "spatial"), torch.ones(1, 1, 8, 8), torch.ones(2, 1, 1))
    result = toys(balancer="core/expert-switching", balancer_options={"sigma": 2.0}, num_inference_steps=12, scheduler=scheduler)(
        PROMPT, TWO, seed=1, output_type="latent"
    )
    levels = [entry.step.sigma for entry in result.trace.entries]
    acting = [entry.acting for entry in result.trace.entries]
    above = sum(sigma > 2.0 for sigma in levels)
    assert 0 < above < len(levels)
    assert [len(names) for names in acting] == [1] * len(levels)
    assert len(set(acting[:above])) == len(set(acting[above:])) == 1 and acting[0] != acting[-1]
    other = toys(balancer="core/hand-over", balancer_options={"share": above / len(levels)}, num_inference_steps=12, scheduler=scheduler)
    assert torch.equal(other(PROMPT, TWO, seed=1, output_type="latent").latents, result.latents)
    step = Step(0, 2, 900, 400, 0.5, 0.9)  # σ = 1
    below, over = Switch(SwitchOptions(sigma=2.0)), Switch(SwitchOptions(sigma=0.5))
    assert below.needs(below.start(setting), step).branches == (True, False)
    assert over.needs(over.start(setting), step).branches == (False, True)
