"""Our Stable Diffusion branch alone is diffusers' StableDiffusionPipeline, for every scheduler of ours."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from realcompo.noise.diffusion import SCHEDULERS, TCD_ETA, Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request

PROMPTS = ("a photo of a cat and a dog", "a red balloon on the grass")
NEGATIVES = ("a blue car", "")
STEPS = 6


@pytest.fixture(scope="module")
def both(checkpoint: Any) -> Any:
    """(family, id) → our branch and their pipeline, loaded once: neither keeps anything of a run."""

    def loaded(family: str, id: str) -> tuple[Any, Any]:
        pipe: Any = StableDiffusionPipeline.from_pretrained(str(checkpoint(family)), safety_checker=None)
        pipe.set_progress_bar_config(disable=True)
        return Registry().branch(id, source=str(checkpoint(family))), pipe

    return cache(loaded)


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "flow-euler"])
@pytest.mark.parametrize(("family", "id"), [("sd1", "sd/v1-5"), ("sd2-v", "sd/v2-1")])
def test_branch_alone_is_the_pipeline(both: Any, family: str, id: str, scheduler: str) -> None:
    branch, pipe = both(family, id)
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))

    pipe.scheduler = Solver(scheduler, branch.traits.schedule, STEPS, branch.traits.prediction_type).scheduler
    theirs = pipe(
        list(PROMPTS),
        negative_prompt=list(NEGATIVES),
        num_inference_steps=STEPS,
        latents=noise.clone(),
        height=128,
        width=128,
        generator=[torch.Generator().manual_seed(b) for b in range(2)],
        output_type="latent",
        **({"eta": TCD_ETA} if scheduler == "tcd" else {}),
    ).images

    def ours(prompts: tuple[str, ...]) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(b) for b in range(2)]
        asked = request(prompts, negatives=NEGATIVES)
        return draw_alone(branch, asked, noise, scheduler=scheduler, steps=STEPS, generators=generators)

    mine = ours(PROMPTS)
    assert relative(theirs, mine) < 1e-4
    if scheduler == "ddim":  # the control: no scheduler knows of prompts
        assert relative(mine, ours(("a photo of two apples", PROMPTS[1]))) > 1e-2, "the prompt must matter, or parity shows nothing"
