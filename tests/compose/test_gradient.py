"""The gradient of the loss with respect to Coe: autograd through everything = the closed form = the core's own way = finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from realcompo.builtin.balance import softmax_gradient
from realcompo.compose.probe import TrialProbe, placement_loss
from realcompo.interfaces import ProbeResult, Region, Regions, Step
from realcompo.noise.diffusion import Transition
from realcompo.specs import PredictionType

B, C, H = 2, 4, 6
STEP = Step(3, 10, 601, 501, 0.23, 0.34)


def regions(*boxes: tuple[float, float, float, float]) -> Regions:
    full = tuple(Region(f"r{i}", "x", box=box) for i, box in enumerate(boxes))
    return Regions((full, full[:1]))


def reader(seed: int, count: int) -> Callable[[Tensor, Step], Tensor]:
    """A small non-linear attention: a softmax over a background and `count` regions of a random 3 × 3 convolution."""
    kernel = torch.randn(count + 1, C, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 3

    def read(z: Tensor, step: Step) -> Tensor:
        return torch.nn.functional.conv2d(torch.tanh(z), kernel, padding=1).softmax(dim=1)[:, 1:]

    return read


def world(count: int, shifts: bool, kind: PredictionType, where: Regions) -> tuple[TrialProbe, Tensor]:
    g = torch.Generator().manual_seed(count)

    def draw() -> Tensor:
        return torch.randn(B, C, H, H, generator=g, dtype=torch.float64)

    probe = TrialProbe(
        readers=[reader(k, where.most) for k in range(count)],
        z=draw(),
        noises=[draw() for _ in range(count)],
        shifts=[0.3 * draw() if shifts and k else None for k in range(count)],
        transition=Transition.of(STEP, kind),
        told=STEP,
        regions=where,
        detached=[False] * count,
        scales=[None] * count,
    )
    return probe, torch.randn(count, B, 1, H, H, generator=g, dtype=torch.float64)


def whole_loss(probe: TrialProbe, coe: Tensor) -> Tensor:
    """(B,) the loss as one graph from Coe, written without any of the core's shortcuts."""
    xi = torch.exp(coe) / torch.exp(coe).sum(dim=0, keepdim=True)
    noise = sum(xi[k] * probe.noises[k] for k in range(len(coe)))
    shift = sum(xi[k] * (probe.shifts[k] if probe.shifts[k] is not None else 0 * probe.z) for k in range(len(coe)))
    trial = probe.transition.a * (probe.z + shift) + probe.transition.b * noise
    masks, present = probe.regions.masks(H, H).double(), probe.regions.present()
    total = torch.zeros(B, dtype=torch.float64)
    for read in probe.readers:
        maps = read(trial, STEP)
        for b in range(B):
            for r in range(maps.shape[1]):
                if present[b, r]:
                    total = total + torch.eye(B, dtype=torch.float64)[b] * (1 - (maps[b, r] * masks[b, r]).sum() / maps[b, r].sum())
    return total


def core_gradient(probe: TrialProbe, coe: Tensor) -> tuple[Tensor, ProbeResult]:
    weights = coe.softmax(dim=0)
    result = probe(weights)
    return softmax_gradient(weights, result.grad_weights), result


CASES = [(count, shifts, kind) for count in (2, 3) for shifts in (False, True) for kind in ("epsilon", "v_prediction")]


@pytest.mark.parametrize("count,shifts,kind", CASES)
def test_three_ways_and_finite_differences(count: int, shifts: bool, kind: PredictionType) -> None:
    probe, coe = world(count, shifts, kind, regions((0.1, 0.2, 0.6, 0.7), (0.5, 0.5, 1, 1)))
    leaf = coe.clone().requires_grad_()
    loss = whole_loss(probe, leaf)
    (auto,) = torch.autograd.grad(loss.sum(), leaf)
    ours, result = core_gradient(probe, coe)
    torch.testing.assert_close(result.loss, loss.detach(), rtol=0, atol=1e-12)
    assert auto.abs().max() > 1e-4
    torch.testing.assert_close(ours, auto, rtol=0, atol=1e-8 * float(auto.abs().max()))

    # ALGORITHM: ∂L/∂Coe^c = ξ^c Σ_channels [ G ⊙ (b (ε^c − ε) + a (δ^c − δ)) ], G = Σ_c' ∂L^c'/∂z_{t-1}
    xi = coe.softmax(dim=0)
    noise = (xi * torch.stack(list(probe.noises))).sum(dim=0)
    deltas = torch.stack([d if d is not None else torch.zeros_like(noise) for d in probe.shifts])
    delta = (xi * deltas).sum(dim=0)
    trial = (probe.transition.a * (probe.z + delta) + probe.transition.b * noise).requires_grad_()
    masks, present = probe.regions.masks(H, H).double(), probe.regions.present()
    total = sum(placement_loss(read(trial, STEP), masks, present).sum() for read in probe.readers)
    (slope,) = torch.autograd.grad(total, trial)
    a, b = probe.transition.a, probe.transition.b
    closed = torch.stack(
        [xi[c] * (slope * (b * (probe.noises[c] - noise) + a * (deltas[c] - delta))).sum(1, keepdim=True) for c in range(count)]
    ).detach()
    torch.testing.assert_close(ours, closed, rtol=0, atol=1e-8 * float(auto.abs().max()))
    torch.testing.assert_close(ours.sum(dim=0), torch.zeros_like(ours[0]), rtol=0, atol=1e-14)

    h = 1e-5
    for index in [(0, 0, 0, 2, 3), (count - 1, 1, 0, 4, 1), (0, 1, 0, 0, 0)]:
        up, down = coe.clone(), coe.clone()
        up[index] += h
        down[index] -= h
        slope_fd = (whole_loss(probe, up).sum() - whole_loss(probe, down).sum()) / (2 * h)
        assert abs(float(slope_fd) - float(ours[index])) <= 1e-4 * float(auto.abs().max())


def test_the_printed_gradient_of_the_paper_is_another_one() -> None:
    """Eq. 15-18 keep ∂ξ^c/∂Coe^c and branch c's own maps only: far from the gradient. The test is blind if they agree."""
    probe, coe = world(2, False, "epsilon", regions((0.1, 0.2, 0.6, 0.7)))
    ours, _ = core_gradient(probe, coe)
    xi = coe.softmax(dim=0)
    printed = []
    for c in range(2):
        alone = TrialProbe(**{**vars(probe), "detached": [k != c for k in range(2)]})(xi)
        printed.append(xi[c] * (1 - xi[c]) * alone.grad_weights[c])
    assert (torch.stack(printed) - ours).norm() > 0.3 * ours.norm()


def test_where_branches_agree_the_gradient_is_zero() -> None:
    probe, coe = world(2, False, "epsilon", regions((0.1, 0.2, 0.6, 0.7)))
    same = TrialProbe(**{**vars(probe), "noises": [probe.noises[0]] * 2})
    ours, result = core_gradient(same, torch.zeros_like(coe))
    assert (ours == 0).all() and result.grad_latents.min() > 0


def test_a_box_that_fills_the_picture_has_no_gradient() -> None:
    probe, coe = world(2, False, "epsilon", regions((0, 0, 1, 1)))
    ours, result = core_gradient(probe, coe)
    assert ours.abs().max() < 1e-16 and result.loss.abs().max() < 1e-12
    part, _ = core_gradient(*world(2, False, "epsilon", regions((0, 0, 1, 0.9))))
    assert part.abs().max() > 1e-5


def test_a_detached_branch_gives_a_loss_but_no_gradient() -> None:
    probe, coe = world(2, False, "epsilon", regions((0.1, 0.2, 0.6, 0.7)))
    whole = probe(coe.softmax(dim=0))
    half = TrialProbe(**{**vars(probe), "detached": [True, False]})(coe.softmax(dim=0))
    torch.testing.assert_close(half.region_loss, whole.region_loss)
    assert (half.grad_latents[0] == 0).all()
    torch.testing.assert_close(half.grad_latents[1], whole.grad_latents[1])
    assert (half.grad_weights - whole.grad_weights).abs().max() > 1e-6


@pytest.mark.parametrize("scale", [1.0, 4096.0])
def test_loss_scale_drops_out(scale: float) -> None:
    from realcompo.compose.probe import LossScale

    probe, coe = world(2, False, "epsilon", regions((0.1, 0.2, 0.6, 0.7)))
    scaled = TrialProbe(**{**vars(probe), "scales": [LossScale(scale), LossScale(scale)]})
    torch.testing.assert_close(scaled(coe.softmax(0)).grad_weights, probe(coe.softmax(0)).grad_weights)


def test_an_overflow_is_dropped_for_its_picture_only_and_halves_the_scale() -> None:
    from realcompo.compose.probe import LossScale

    probe, coe = world(1, False, "epsilon", regions((0.1, 0.2, 0.6, 0.7)))
    read = probe.readers[0]

    def overflowing(z: Tensor, step: Step) -> Tensor:
        maps = read(z, step)
        factor = torch.ones(B, 1, 1, 1, dtype=z.dtype)
        factor[0] = math.inf
        maps.register_hook(lambda g: g * factor)
        return maps

    scale = LossScale(1024.0)
    result = TrialProbe(**{**vars(probe), "readers": [overflowing], "scales": [scale]})(coe.softmax(0))
    assert isinstance(scale.value, torch.Tensor) and scale.value[0] == 512.0 and (scale.value[1:] == 1024.0).all()
    assert (result.grad_latents[0, 0] == 0) and result.grad_latents[0, 1] > 0
