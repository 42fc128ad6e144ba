"""A balancer without a probe: the spatial branches are strong at every n-th step. A balancer holds no state of a run."""

import torch

from realcompo.interfaces import Balancer, Needs


class Pulse(Balancer):
    def start(self, setting):
        return setting

    def needs(self, setting, step):
        return Needs(branches=(True,) * len(setting.roles))

    def weights(self, setting, step):
        """ξ (K, B, 1, h, w)."""
        strong = step.index % self.options.period == 0
        spatial = self.options.high if strong else 1 - self.options.high
        count = setting.roles.count("spatial")
        shares = [spatial / count if role == "spatial" else 1 - spatial * (count > 0) for role in setting.roles]
        like = setting.masks.new_ones(setting.masks.shape[0], 1, *setting.masks.shape[2:])
        return torch.stack([share * like for share in shares])
