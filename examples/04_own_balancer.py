"""A balancer of your own, without a plugin: spatial branches inside the regions, the fidelity branch outside."""

from typing import Any

import torch

import realcompo as rc
from realcompo.interfaces import Balancer, Needs, Setting, Step
from realcompo.testing import toy_registry


class Stencil(Balancer):
    """It knows no model: it is told the masks (B, R, h, w) once, and answers weights ξ (K, B, 1, h, w)."""

    def start(self, setting: Setting) -> Any:
        return setting

    def needs(self, state: Any, step: Step) -> Needs:
        return Needs(branches=(True,) * len(state.roles))

    def weights(self, state: Any, step: Step) -> torch.Tensor:
        inside = state.masks.amax(dim=1, keepdim=True)  # the union of the regions
        return torch.stack([inside if role == "spatial" else 1 - inside for role in state.roles])


layout = rc.Boxes({"a cat": (0.0, 0.0, 0.5, 1.0)})
composer = rc.Composer("toy/fidelity", "toy/spatial", balancer=Stencil(), registry=toy_registry(), num_inference_steps=10, device="cpu")
result = composer("a cat", layout, seed=0)
weights = result.trace.entries[-1].weights  # (K, B, h, w)
print("spatial weight of the left and the right edge:", float(weights[1, 0, 4, 0]), float(weights[1, 0, 4, -1]))
