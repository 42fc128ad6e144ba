"""What happened: the loss, its gradient and the weights at every step; and the attention that the probe read."""

import realcompo as rc
from realcompo.testing import toy_registry

composer = rc.Composer("toy/fidelity", "toy/spatial", registry=toy_registry(), num_inference_steps=12, device="cpu")
layout = rc.Boxes({"a cat": (0.0, 0.3, 0.5, 1.0), "a dog": (0.5, 0.3, 1.0, 1.0)})
result = composer("a cat and a dog", layout, seed=1)
for entry in result.trace.entries:
    spatial = entry.weights[1].mean()
    loss = "no probe" if entry.loss is None else f"loss {float(entry.loss[0]):.3f}"
    print(f"{entry.step.index:3d}  t = {entry.step.t:5.0f}  {', '.join(entry.acting):26s}  spatial weight {spatial:.2f}  {loss}")
print(f"{result.trace.predict_calls} predictions, {result.trace.probe_calls} probes")
