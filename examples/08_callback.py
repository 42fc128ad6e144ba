"""Look in, or take part, at every step: diffusers' callback, and a progress function that is told the step and its trace."""

from typing import Any

import realcompo as rc
from realcompo.interfaces import Step
from realcompo.pictures.trace import TraceEntry
from realcompo.testing import toy_registry


def clamp(composer: Any, index: int, timestep: float, tensors: dict[str, Any]) -> dict[str, Any]:
    """As in diffusers: what is returned under "latents" takes their place."""
    return {"latents": tensors["latents"].clamp(-4, 4)}


def tell(step: Step, entry: TraceEntry) -> None:
    print(f"step {step.index + 1} of {step.count}: {' and '.join(entry.acting)}")


composer = rc.Composer("toy/fidelity", "toy/spatial", registry=toy_registry(), num_inference_steps=6, device="cpu")
layout = rc.Boxes({"a cat": (0.2, 0.2, 0.8, 0.8)})
result = composer("a cat", layout, seed=0, callback_on_step_end=clamp, progress=tell)
assert float(result.latents.abs().max()) <= 4
