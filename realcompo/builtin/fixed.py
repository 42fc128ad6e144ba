"""Balancers without a probe: the rivals that every comparison shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ..interfaces import Balancer, Needs, Setting, Step
from .options import FixedOptions, HandOverOptions, MeanOptions


@dataclass(frozen=True)
class Shares:
    """Weight of each branch at a step, the same at every pixel."""

    setting: Setting

    def weights(self, shares: tuple[float, ...]) -> Tensor:
        """K shares to (K, B, 1, h, w)."""
        masks = self.setting.masks
        like = masks.new_ones(masks.shape[0], 1, *masks.shape[2:])
        return torch.stack([share * like for share in shares])


def split(setting: Setting, spatial: float) -> tuple[float, ...]:
    """Shares of the K branches when the spatial ones have `spatial` together; one branch alone has all."""
    count = sum(role == "spatial" for role in setting.roles)
    if count in (0, len(setting.roles)):
        return tuple(1 / len(setting.roles) for _ in setting.roles)
    return tuple(spatial / count if role == "spatial" else 1 - spatial for role in setting.roles)


class Scheduled(Balancer):
    """Shares that depend on the step only."""

    def shares(self, setting: Setting, step: Step) -> tuple[float, ...]:
        raise NotImplementedError

    def start(self, setting: Setting) -> Shares:
        return Shares(setting)

    def needs(self, state: Any, step: Step) -> Needs:
        return Needs(tuple(share > 0 for share in self.shares(state.setting, step)))

    def weights(self, state: Any, step: Step) -> Tensor:
        return cast(Shares, state).weights(self.shares(state.setting, step))


class Fixed(Scheduled):
    """The spatial branches have one weight everywhere, all the time."""

    options: FixedOptions

    def shares(self, setting: Setting, step: Step) -> tuple[float, ...]:
        return split(setting, self.options.spatial)


class Mean(Scheduled):
    """ξ = 1/K after a warm-up."""

    options: MeanOptions

    def shares(self, setting: Setting, step: Step) -> tuple[float, ...]:
        if step.index < round(self.options.warmup * step.count):
            return split(setting, 1.0)
        return tuple(1 / len(setting.roles) for _ in setting.roles)


class HandOver(Scheduled):
    """Spatial alone, then fidelity alone."""

    options: HandOverOptions

    def shares(self, setting: Setting, step: Step) -> tuple[float, ...]:
        return split(setting, 1.0 if step.index < round(self.options.share * step.count) else 0.0)
