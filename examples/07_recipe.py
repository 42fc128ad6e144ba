"""A recipe is everything that decides a picture: as data, as a file, and inside every PNG that is saved."""

import json

import realcompo as rc
from realcompo.testing import toy_registry

recipe = rc.Recipe(
    branches=(rc.BranchEntry(name="toy/fidelity"), rc.BranchEntry(name="toy/spatial", options={"contrast": 1.5})),
    balancer=rc.Component(name="core/balance", options={"warmup": 0.2}),
    num_inference_steps=10,
    device="cpu",
    pictures=(rc.PictureEntry(prompt="a cat", seed=5, conditions={"boxes": rc.Boxes({"a cat": (0.2, 0.2, 0.8, 0.8)})}),),
)
text = json.dumps(recipe.plain(), indent=2)
again = rc.Recipe(**json.loads(text))
assert again == recipe

first = rc.Composer.from_recipe(again, registry=toy_registry()).compose(again.pictures)
second = rc.Composer.from_recipe(first.recipe, registry=toy_registry()).compose(first.recipe.pictures)
print("the result's own recipe draws the same pixels:", first.image.tobytes() == second.image.tobytes())
assert first.image.tobytes() == second.image.tobytes()
