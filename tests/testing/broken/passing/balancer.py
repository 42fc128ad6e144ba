"""Plain gradient steps on the coefficients, after a warm-up."""

from dataclasses import dataclass, replace

import torch

from realcompo.interfaces import Balancer, Needs, Setting


@dataclass(frozen=True)
class State:
    setting: Setting
    coe: torch.Tensor


class Stepping(Balancer):
    def start(self, setting):
        masks = setting.masks
        return State(setting, masks.new_zeros(len(setting.roles), masks.shape[0], 1, *masks.shape[2:]))

    def acting(self, state, step):
        roles = state.setting.roles
        early = step.share < self.options.warmup and "spatial" in roles
        return tuple(role == "spatial" or not early for role in roles)

    def needs(self, state, step):
        acting = self.acting(state, step)
        return Needs(acting, probe=len(acting) > 1 and all(acting))

    def weights(self, state, step):
        coe = state.coe.clone()
        coe[[not acts for acts in self.acting(state, step)]] = -torch.inf
        weights = coe.softmax(dim=0)
        return weights

    def update(self, state, step, probe):
        weights = self.weights(state, step)
        result = probe(weights)
        slope = result.grad_weights
        gradient = weights * (slope - (weights * slope).sum(dim=0, keepdim=True))
        coe = state.coe - self.options.rate * gradient
        return replace(state, coe=coe), result
