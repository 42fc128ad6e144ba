"""The shortest way: a prompt to a picture, with the embedded models. Nothing is fetched, no GPU is needed."""

import realcompo as rc

result = rc.generate("a cat and a red balloon on grass", seed=7, num_inference_steps=12)
result.image.save("pets.png")
for region in result.regions:  # the planner laid them out
    print(region.phrase, region.box)
