"""Our GLIGEN branch alone is diffusers' StableDiffusionGLIGENPipeline, for every scheduler of ours."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionGLIGENPipeline

from realcompo.conditions import Boxes
from realcompo.noise.diffusion import GRADUAL, Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request

PROMPT, NEGATIVE, STEPS = "a photo of a cat and a dog", "a blue car", 6
BOXES = Boxes({"a cat": (0.05, 0.3, 0.5, 0.95), "a dog": (0.5, 0.3, 0.95, 0.95)})
MOVED = Boxes({"a cat": (0.5, 0.0, 1.0, 0.3), "a dog": (0.5, 0.3, 0.95, 0.95)})


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))


def oracle(folder, branch, scheduler: str, share: float) -> torch.Tensor:  # type: ignore[no-untyped-def]
    pipe = StableDiffusionGLIGENPipeline.from_pretrained(str(folder), safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = Solver(scheduler, branch.traits.schedule, STEPS).scheduler
    return pipe(
        PROMPT,
        negative_prompt=NEGATIVE,
        gligen_phrases=[item.phrase for item in BOXES.items],
        gligen_boxes=[list(item.box) for item in BOXES.items],
        gligen_scheduled_sampling_beta=share,
        num_inference_steps=STEPS,
        latents=noise(),
        height=128,
        width=128,
        generator=[torch.Generator().manual_seed(0)],
        output_type="latent",
    ).images


@pytest.mark.parametrize(
    ("scheduler", "share"), [*((name, 1.0) for name in GRADUAL if name != "flow-euler"), ("ddim", 0.5), ("euler", 0.5)]
)
def test_branch_alone_is_the_pipeline(checkpoint, scheduler: str, share: float) -> None:
    folder = checkpoint("gligen")
    branch = Registry().branch("gligen/box", {"grounding_share": share}, source=str(folder))

    def ours(prompt: str, boxes: Boxes) -> torch.Tensor:
        asked = request((prompt,), negatives=(NEGATIVE,), conditions=(boxes,))
        generators = [torch.Generator().manual_seed(0)]
        return draw_alone(branch, asked, noise(), scheduler=scheduler, steps=STEPS, generators=generators)

    mine = ours(PROMPT, BOXES)
    assert relative(oracle(folder, branch, scheduler, share), mine) < 1e-4
    if scheduler == "ddim":  # the controls: no scheduler knows of boxes
        assert relative(mine, ours(PROMPT, MOVED)) > 1e-2, "the boxes must matter, or parity shows nothing"
        assert relative(mine, ours("a red cat and two dogs", BOXES)) > 1e-2, "and so must the prompt"
