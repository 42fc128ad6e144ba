"""The published algorithm as a plain loop: what the default is measured against.

Read from the description of the published code (docs/algorithm.md): at every one of 50 steps all branches predict with guidance; a trial
step is made of unguided noise, a further pass of each; at the trial latents each network runs whole to give its attention maps; the
coefficients move by the gradient of the loss, which the fidelity branch's maps are detached from. For the first 20 steps only the spatial
branches' noise is used. One backward pass is made for all coefficients: no more than it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..compose.cost import OperationCount
from ..compose.probe import blend, placement_loss
from ..errors import BadOption
from ..interfaces import Branch, Regions, Request, Runtime, Step
from ..noise.diffusion import Solver, Transition
from .subjects import Subject

STEPS, SPATIAL = 50, 20
RATE = 1e6


@dataclass(frozen=True, eq=False)
class Published:
    """The loop, ready to run.

    Attributes:
        branches: K, fidelity first, of one prediction type.
        guided, plain: K conditionings each, with each branch's guidance and without.
    """

    branches: Sequence[Branch]
    guided: Sequence[Any]
    plain: Sequence[Any]
    regions: Regions
    solver: Solver

    @classmethod
    def of(cls, subject: Subject, steps: int = STEPS) -> Published:
        """The loop of a subject's branches and first picture.

        Raises:
            BadOption: the branches predict different things.
        """
        from ..compose.assembly import picture_regions, unite

        composer, picture = subject.composer, subject.pictures[0]
        members, branches = composer.members, composer.branches
        if len({m.traits.prediction_type for m in members}) > 1:
            raise BadOption(
                "the published algorithm blends predictions of one kind alone",
                where=subject.label,
                mend="measure it with branches that predict alike",
            )
        for branch in branches:  # as it was written, which is also what can be counted
            branch.tune(Runtime())
        regions, _ = unite([picture_regions(members, picture, composer.size, composer.registry, "picture 0")])
        requests = [
            Request(
                prompts=(m.own_prompt(picture.prompt),),
                negative_prompts=(picture.negative_prompt,),
                regions=regions,
                conditions=(m.condition(picture) if m.role == "spatial" else None,),
                size=composer.size,
                guidance_scale=m.guidance_scale,
                balanced=True,
            )
            for m in members
        ]
        guided = [branch.encode(one) for branch, one in zip(branches, requests, strict=True)]
        plain = [branch.encode(replace(one, guidance_scale=1.0)) for branch, one in zip(branches, requests, strict=True)]
        traits = members[0].traits
        return cls(branches, guided, plain, regions, Solver("ddim", traits.schedule, steps, traits.prediction_type, device=composer.device))

    def start(self, shape: tuple[int, ...], seed: int = 31) -> tuple[Tensor, list[Tensor]]:
        """Latents (1, C, h, w), and K independent coefficients (1, 1, h, w)."""
        draw = torch.Generator().manual_seed(seed)
        device = self.branches[0].device
        z = torch.randn(shape, generator=draw).to(device)
        return self.solver.start(z), [torch.randn(1, 1, *shape[2:], generator=draw).to(device) for _ in self.branches]

    def step(self, z: Tensor, coefficients: Sequence[Tensor], step: Step) -> tuple[Tensor, list[Tensor]]:
        """One step of the loop: the next latents and coefficients."""
        with torch.no_grad():
            noises = [b.predict(z, step, c).noise for b, c in zip(self.branches, self.guided, strict=True)]
            unguided = [b.predict(z, step, c).noise for b, c in zip(self.branches, self.plain, strict=True)]
        leaves = [one.detach().requires_grad_(True) for one in coefficients]
        with torch.enable_grad():
            trial = Transition.of(step, self.solver.kind)(z, blend(_shares(leaves), unguided))
            loss = trial.new_zeros(())
            for k, (branch, conditioning) in enumerate(zip(self.branches, self.plain, strict=True)):
                with torch.set_grad_enabled(k > 0):
                    maps = branch.predict(trial if k else trial.detach(), step, conditioning, read=True).maps
                if maps is not None:
                    masks = self.regions.masks(*maps.shape[-2:]).to(maps)
                    loss = loss + placement_loss(maps, masks, self.regions.present().to(maps.device)).sum()
            slopes = torch.autograd.grad(loss, leaves)
        rate = RATE * (1 - 0.5 * step.share) ** 0.5
        moved = [(one - rate * slope).detach() for one, slope in zip(leaves, slopes, strict=True)]
        with torch.no_grad():
            spatial = step.index < round(SPATIAL / STEPS * step.count)
            shares = torch.cat([torch.zeros_like(z)[None, :, :1], _shares(moved[1:])]) if spatial else _shares(moved)
            return self.solver.step(z, blend(shares, noises), step), moved

    def run(self, z: Tensor, coefficients: Sequence[Tensor], steps: int | None = None) -> Tensor:
        """All steps, or the first of them."""
        for step in self.solver.steps[:steps]:
            z, coefficients = self.step(z, coefficients, step)
        return z


def _shares(coefficients: Sequence[Tensor]) -> Tensor:
    """ξ = softmax over branches, (K, 1, 1, h, w)."""
    return torch.stack(tuple(coefficients)).softmax(dim=0)


def counted(subject: Subject, unit: float, steps: int = 1) -> dict[str, Any]:
    """F of the loop's 50 steps, from the first of them: each does the same.

    Args:
        unit: operations of one F.
        steps: how many are run and counted.
    """
    loop = Published.of(subject)
    latent = subject.composer.members[0].traits.latent
    shape = (1, latent.channels, *(side // latent.downscale for side in subject.composer.size))
    z, coefficients = loop.start(shape)
    with OperationCount() as counter:
        loop.run(z, coefficients, steps)
    one = counter.total / steps / unit
    return {"steps": STEPS, "counted_steps": steps, "step_f": one, "sampling_f": one * STEPS}
