"""The real step by each scheduler. Any other is refused by name, with the list."""

import realcompo as rc
from realcompo.testing import toy_registry

layout = rc.Boxes({"a cat": (0.0, 0.3, 0.5, 1.0)})
for name in ("ddim", "pndm", "euler", "euler-ancestral", "dpm++-2m", "dpm++-2m-karras", "unipc", "flow-euler"):
    composer = rc.Composer("toy/fidelity", "toy/spatial", scheduler=name, registry=toy_registry(), num_inference_steps=10, device="cpu")
    result = composer("a cat", layout, seed=0)
    step, losses = result.trace.losses[-1]
    print(f"{name:16s} {len(result.trace.entries)} steps, loss {losses[0]:.3f} at step {step}")

try:
    rc.Composer("toy/fidelity", "toy/spatial", scheduler="heun", registry=toy_registry())
except rc.RealCompoError as error:
    print(error)
