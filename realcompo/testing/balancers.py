"""The contract of balancers. Shapes: K branches, B pictures, R regions, weights ξ (K, B, 1, h, w)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ..interfaces import Balancer, ProbeResult, Setting, Step
from ..specs import BalancerSpec, Role
from ..testing import watch
from .common import ComponentContract
from .watch import relative

H, W = 8, 8


@dataclass
class LinearProbe:
    """A toy loss that is linear in the weights, so that its gradient is known: L_b = mean over pixels of Σ_c slope^c ξ^c.

    Attributes:
        slope: (K, B, 1, h, w).
        seen: the weights that it was asked about.
    """

    slope: Tensor
    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, weights: Tensor) -> ProbeResult:
        self.seen.append(weights)
        pixels = self.slope.shape[-1] * self.slope.shape[-2]
        loss = (weights * self.slope).sum(dim=(2, 3, 4)) / pixels  # (K, B)
        return ProbeResult(
            loss=loss.sum(dim=0),
            region_loss=loss[:, :, None],
            grad_weights=self.slope / pixels,
            grad_latents=loss.abs(),
            maps=tuple(self.slope.abs()),
        )


class BalancerContract(ComponentContract[BalancerSpec]):
    """What every balancer keeps to. Override, beside `ComponentContract`'s:

    Attributes:
        steps: of a test run.
        teams: the roles of the branches that are balanced, several teams.
    """

    kind = BalancerSpec
    steps: ClassVar[int] = 10
    teams: ClassVar[Sequence[tuple[Role, ...]]] = (("fidelity", "spatial"), ("fidelity", "spatial", "spatial"), ("fidelity",))

    @classmethod
    def balancer(cls) -> Balancer:
        built: Balancer = cls.host().balancer(cls.component, cls.options)
        return built

    @classmethod
    def setting(cls, roles: tuple[Role, ...], pictures: Sequence[int] = (0, 1)) -> Setting:
        """The named pictures of two, the second without its second region. Each spatial branch owns all regions."""
        masks = torch.zeros(2, 2, H, W)
        masks[0, 0, :, : W // 2], masks[0, 1, : H // 2, W // 2 :], masks[1, 0, H // 4 :, 2:6] = 1, 1, 0.5
        present = torch.tensor([[True, True], [True, False]])
        owners = torch.stack([present if role == "spatial" else torch.zeros_like(present) for role in roles])
        chosen = list(pictures)
        return Setting(
            names=tuple(f"{role}-{k}" for k, role in enumerate(roles)),
            roles=roles,
            masks=masks[chosen],
            owners=owners[:, chosen],
            generators=tuple(torch.Generator().manual_seed(b) for b in chosen),
        )

    @classmethod
    def run_steps(cls) -> list[Step]:
        bars = [0.01 + 0.98 * math.sin(math.pi / 2 * i / cls.steps) ** 2 for i in range(cls.steps + 1)]
        return [Step(i, cls.steps, 1000 - 1000 * i / cls.steps, 900 - 1000 * i / cls.steps, bars[i], bars[i + 1]) for i in range(cls.steps)]

    @classmethod
    def slope(cls, setting: Setting) -> Tensor:
        """A smooth slope (K, B, 1, h, w) that differs from branch to branch and from picture to picture."""
        row = torch.linspace(0, 1, H)[:, None].expand(H, W)
        size = setting.masks.amax(dim=(1, 2, 3)) * setting.masks.sum(dim=(1, 2, 3)) / (H * W)  # another number a picture
        return torch.stack([((1 - 2 * (k % 2)) * (1 + k + row) * size[:, None, None])[:, None] for k in range(len(setting.roles))])

    def _run(self, balancer: Balancer, setting: Setting, probing: bool = True) -> list[Tensor]:
        """The weights of every step of a run."""
        state, weights = balancer.start(setting), []
        probe = LinearProbe(self.slope(setting))
        for step in self.run_steps():
            if probing and balancer.needs(state, step).probe:
                state, _ = balancer.update(state, step, probe)
            weights.append(balancer.weights(state, step))
        return weights

    # -- checks: weights -------------------------------------------------------------------------------------------------

    def test_weights_are_one_value_a_pixel(self) -> None:
        """(K, B, 1, h, w), in the masks' dtype."""
        for roles in self.teams:
            setting = self.setting(roles)
            for weights in self._run(self.balancer(), setting):
                assert weights.shape == (len(roles), 2, 1, H, W)
                assert weights.dtype == setting.masks.dtype

    def test_weights_are_nonnegative(self) -> None:
        for roles in self.teams:
            for weights in self._run(self.balancer(), self.setting(roles)):
                assert not bool((weights < 0).any())

    def test_weights_sum_to_one(self) -> None:
        """At every pixel of every picture, over the branches."""
        for roles in self.teams:
            for weights in self._run(self.balancer(), self.setting(roles)):
                torch.testing.assert_close(weights.sum(dim=0), torch.ones_like(weights.sum(dim=0)), rtol=0, atol=1e-5)

    def test_branches_left_out_weigh_nothing(self) -> None:
        """Where `needs` leaves a branch out its noise is not there to be blended."""
        for roles in self.teams:
            balancer, setting = self.balancer(), self.setting(roles)
            state, steps = balancer.start(setting), self.run_steps()
            for step in steps:
                needs, weights = balancer.needs(state, step), balancer.weights(state, step)
                if len(needs.branches) == len(roles) and any(needs.each()):
                    for k in range(len(roles)):
                        idle = [b for b in range(2) if not needs.acts(k, b)]
                        assert not bool(weights[k, idle].any())

    # -- checks: what a step costs ---------------------------------------------------------------------------------------

    def test_needs_names_every_branch(self) -> None:
        """K answers, or K for each picture, of which one at least is yes in every picture; a probe blends all branches, so it needs all of
        them in one picture at least."""
        for roles in self.teams:
            balancer = self.balancer()
            state = balancer.start(self.setting(roles))
            for step in self.run_steps():
                needs = balancer.needs(state, step)
                assert len(needs.branches) == len(roles)
                acts = [[needs.acts(k, b) for k in range(len(roles))] for b in range(2)]
                assert all(any(picture) for picture in acts), "a picture in which no branch acts"
                assert not needs.probe or any(all(picture) for picture in acts)

    def test_update_costs_one_probe(self) -> None:
        """A probe is dear: an update that asked for it makes exactly one, and hands on what it saw."""
        for roles in self.teams:
            balancer, setting = self.balancer(), self.setting(roles)
            state = balancer.start(setting)
            for step in self.run_steps():
                if balancer.needs(state, step).probe:
                    probe = LinearProbe(self.slope(setting))
                    state, result = balancer.update(state, step, probe)
                    assert len(probe.seen) == 1, f"{len(probe.seen)} probes at one step"
                    assert isinstance(result, ProbeResult), "the trace wants the probe's result"

    # -- checks: updates -------------------------------------------------------------------------------------------------

    def test_zero_gradient_moves_nothing(self) -> None:
        """Where the branches agree there is nothing to balance, and no normalisation may make something of it."""
        for roles in self.teams:
            balancer, setting = self.balancer(), self.setting(roles)
            state = balancer.start(setting)
            for step in self.run_steps():
                if balancer.needs(state, step).probe:
                    before = balancer.weights(state, step)
                    state, _ = balancer.update(state, step, LinearProbe(torch.zeros_like(self.slope(setting))))
                    torch.testing.assert_close(balancer.weights(state, step), before, rtol=0, atol=1e-6)

    def test_update_lowers_the_loss(self) -> None:
        """One update from the start, on a loss that is linear in the weights: lower in every picture. Not asked of a rule that only reads
        maps (`Balancer.descends`)."""
        for roles in self.teams:
            balancer, setting = self.balancer(), self.setting(roles)
            if not balancer.descends:
                return
            state = balancer.start(setting)
            asked = [(step, balancer.needs(state, step)) for step in self.run_steps()]
            step = next((step for step, needs in asked if needs.probe and all(needs.each())), None)
            if step is None:
                continue
            probe = LinearProbe(self.slope(setting))
            old = probe(balancer.weights(state, step)).loss
            after, _ = balancer.update(state, step, probe)
            new = probe(balancer.weights(after, step)).loss
            assert bool((new < old).all()), f"loss {old.tolist()} became {new.tolist()}"

    def test_state_is_not_mutated(self) -> None:
        """A state is a value: after an update the old one still means what it meant."""
        for roles in self.teams:
            balancer, setting = self.balancer(), self.setting(roles)
            state = balancer.start(setting)
            for step in self.run_steps():
                before = watch.snapshot(state)
                needs = balancer.needs(state, step)
                after = balancer.update(state, step, LinearProbe(self.slope(setting)))[0] if needs.probe else state
                balancer.weights(state, step)
                assert not watch.changed(before, state)
                state = after

    def test_runs_do_not_meet(self) -> None:
        """Nothing of a run is kept on the balancer: a second run with the same balancer is the first again."""
        for roles in self.teams:
            balancer = self.balancer()
            first = self._run(balancer, self.setting(roles))
            second = self._run(balancer, self.setting(roles))
            assert all(relative(one, other) < 1e-6 for one, other in zip(first, second, strict=True))

    def test_batch_is_its_pictures_alone(self) -> None:
        for roles in self.teams:
            together = self._run(self.balancer(), self.setting(roles))
            for b in (0, 1):
                alone = self._run(self.balancer(), self.setting(roles, [b]))
                assert all(relative(many[:, b : b + 1], one) < 1e-5 for many, one in zip(together, alone, strict=True))
