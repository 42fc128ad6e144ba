"""A batch: every picture has its own prompt, layout, number of regions and seed, and is the same as when it is drawn alone."""

import numpy as np

import realcompo as rc
from realcompo.testing import toy_registry

composer = rc.Composer("toy/fidelity", "toy/spatial", registry=toy_registry(), num_inference_steps=10, device="cpu")
prompts = ["a cat", "a cat and a dog"]
layouts = [rc.Boxes({"a cat": (0.2, 0.2, 0.8, 0.8)}), rc.Boxes({"a cat": (0, 0, 0.5, 1), "a dog": (0.5, 0, 1, 1)})]
together = composer(prompts, layouts, seed=[3, 4])
alone = composer(prompts[1], layouts[1], seed=4)
difference = np.abs(np.asarray(together.images[1], float) - np.asarray(alone.image, float)).max()
print(f"{len(together.images)} pictures; alone and in the batch differ by {difference:.0f} of 255")
assert difference <= 1
