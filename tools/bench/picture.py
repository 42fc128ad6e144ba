"""What a picture costs with the embedded models, and what the framework adds to its networks."""

from __future__ import annotations

import time

from . import benchmark, best, seconds

PROMPT = "two penguins and a yellow heart on snow"


@benchmark("a demo picture: plan, load and draw (first), draw again")
def demo_picture() -> str:
    """In this process: torch's import is not in it."""
    import torch  # noqa: F401

    import realcompo as rc

    start = time.perf_counter()
    rc.generate(PROMPT, seed=7, device="cpu")
    first = time.perf_counter() - start
    return f"{seconds(first)}, {seconds(best(lambda: rc.generate(PROMPT, seed=7, device='cpu'), times=1))}"


@benchmark("the loop itself, a step (toy branches, 64 pixels)")
def loop_overhead() -> str:
    """Toys compute next to nothing: what is left is balancing, masks, the probe and the scheduler."""
    import realcompo as rc
    from realcompo.testing import toy_registry

    steps = 50
    composer = rc.Composer("toy/fidelity", "toy/boxes", registry=toy_registry(), device="cpu", num_inference_steps=steps)
    boxes = rc.Boxes({"a cat": (0.05, 0.3, 0.45, 0.9), "a dog": (0.55, 0.3, 0.95, 0.9)})
    return seconds(best(lambda: composer("a cat and a dog", boxes, seed=0), times=2) / steps)
