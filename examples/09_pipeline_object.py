"""A diffusers pipeline that you hold, with its LoRAs, VAE and processors, is a branch; it is left as it was.

Small random checkpoints stand in for the real ones here: the picture is noise, the code is what you would write.
"""

from diffusers import StableDiffusionPipeline

import realcompo as rc
from realcompo.testing.sources import small_checkpoint

pipe = StableDiffusionPipeline.from_pretrained(small_checkpoint("sd1"), safety_checker=None)  # yours: "stable-diffusion-v1-5/…"
boxes = rc.BranchEntry(name="gligen/box", source=small_checkpoint("gligen"))  # yours: "gligen/box"
composer = rc.Composer(fidelity=pipe, spatial=boxes, num_inference_steps=3, device="cpu")
layout = rc.Boxes({"a cat": (0.0, 0.3, 0.5, 1.0), "a dog": (0.5, 0.3, 1.0, 1.0)})
result = composer("a cat and a dog", layout, seed=0, guidance_scale=5.0)
print(result.image.size, result.trace.names)
