"""A layout of your own: boxes are (x0, y0, x1, y1), shares of the picture's width and height from the top left."""

import realcompo as rc
from realcompo.testing import toy_registry  # analytic toy branches: they need no weights; write "sd/v1-5" and "gligen/box" instead

composer = rc.Composer("toy/fidelity", "toy/spatial", registry=toy_registry(), num_inference_steps=20, device="cpu")
layout = rc.Boxes({"a cat": (0.05, 0.3, 0.5, 0.95), "a dog": (0.5, 0.3, 0.95, 0.95)})
result = composer("a cat and a dog", layout, seed=0)
result.image.save("cat-and-dog.png")

# "two apples" is two regions with one phrase: a list holds the same words twice.
apples = rc.Boxes([("apples", (0.0, 0.4, 0.4, 0.8)), ("apples", (0.6, 0.4, 1.0, 0.8))])
print([region.id for region in composer("two apples", apples, seed=0).regions])
