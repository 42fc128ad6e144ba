"""Several spatial branches, each with a layout of its own; every branch sees the union of the regions."""

import realcompo as rc
from realcompo.testing import toy_registry

composer = rc.Composer(
    "toy/fidelity",
    ["toy/spatial", "toy/spatial-v"],  # one predicts noise, the other v: converted on the common schedule
    balancer="core/balance",
    balancer_options={"warmup": 0.2, "inside": (0.9, 0.5), "outside": (0.7, 0.1), "finish": 0.8},
    registry=toy_registry(),
    num_inference_steps=10,
    device="cpu",
)
layouts = {"toy/spatial": rc.Boxes({"a cat": (0.0, 0.3, 0.5, 1.0)}), "toy/spatial-v": rc.Boxes({"a dog": (0.5, 0.3, 1.0, 1.0)})}
result = composer("a cat and a dog", layouts, seed=2)
print([region.phrase for region in result.regions])
for entry in result.trace.entries:
    print(entry.step.index, entry.acting)
