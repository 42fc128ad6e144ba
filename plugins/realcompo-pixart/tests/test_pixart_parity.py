"""Our PixArt branch alone is diffusers' pipeline of α 512, α 1024 (with its micro-conditions) and Σ; and all that it is told is felt."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from diffusers import PixArtAlphaPipeline, PixArtSigmaPipeline

from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request

PROMPTS = ("A photo of a cat and a dog", " a red balloon on the grass ")  # capitals and spaces, which are read as lower case without them
NEGATIVES = ("a blue car", "")
OTHER = "a photo of two apples"
STEPS, GUIDANCE = 10, 4.5
CASES = {"pixart-512": ("pixart/alpha-512", 120), "pixart-1024": ("pixart/alpha", 120), "pixart-sigma": ("pixart/sigma", 300)}


def noise() -> torch.Tensor:
    return torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def pipes(checkpoint: Any) -> Any:
    """Family → theirs, loaded once."""

    def loaded(family: str) -> Any:
        cls: Any = PixArtSigmaPipeline if family == "pixart-sigma" else PixArtAlphaPipeline
        pipe = cls.from_pretrained(str(checkpoint(family)))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return cache(loaded)


def theirs(pipe: Any, branch: Any, scheduler: str, size: tuple[int, int] = (128, 128), **asked: Any) -> torch.Tensor:
    pipe.scheduler = Solver(scheduler, branch.traits.schedule, STEPS).scheduler
    return pipe(  # type: ignore[no-any-return]
        list(PROMPTS),
        negative_prompt=list(NEGATIVES),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise(),
        height=size[0],
        width=size[1],
        use_resolution_binning=False,
        clean_caption=False,
        output_type="latent",
        **asked,
    ).images


def ours(branch: Any, prompts: tuple[str, ...] = PROMPTS, negatives: tuple[str, ...] = NEGATIVES, scheduler: str = "ddim") -> torch.Tensor:
    asked = request(prompts, negatives=negatives, guidance_scale=GUIDANCE)
    return draw_alone(branch, asked, noise(), scheduler=scheduler, steps=STEPS)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++-2m"])
@pytest.mark.parametrize("family", CASES)
def test_branch_alone_is_the_pipeline(checkpoint: Any, pipes: Any, family: str, scheduler: str) -> None:
    id, length = CASES[family]
    branch = Registry().branch(id, source=str(checkpoint(family)))
    assert branch.text.limit == length
    its, mine = theirs(pipes(family), branch, scheduler, max_sequence_length=length), ours(branch, scheduler=scheduler)
    print(f"{family} {scheduler}: parity {relative(its, mine):.1e} of {float(its.abs().max()):.1f}")
    assert relative(its, mine) < 1e-4
    for what, moved in {
        "another prompt": ours(branch, (OTHER, PROMPTS[1]), scheduler=scheduler),
        "another negative prompt": ours(branch, negatives=("two apples", ""), scheduler=scheduler),
    }.items():
        print(f"   {what} moves them by {relative(mine, moved):.2f}")
        assert relative(mine, moved) > 1e-2, f"{what} must matter, or parity shows nothing"


def test_the_size_is_felt(checkpoint: Any) -> None:
    """α 1024 is told height, width and their quotient: another size of the same latents is another picture; α 512 is told nothing."""
    from dataclasses import replace

    for family, told in (("pixart-1024", True), ("pixart-512", False)):
        branch = Registry().branch(CASES[family][0], source=str(checkpoint(family)))
        asked = request(PROMPTS, negatives=NEGATIVES, guidance_scale=GUIDANCE)
        plain, conditioning = draw_alone(branch, asked, noise(), steps=2), branch.encode(asked)
        assert (conditioning.extra is not None) == told
        if told:
            branch.encode = lambda asked, found=conditioning: replace(found, extra=found.extra * torch.tensor([4.0, 1.0, 4.0]))
            assert relative(plain, draw_alone(branch, asked, noise(), steps=2)) > 1e-2


def test_a_pipeline_that_you_hold_is_a_source(checkpoint: Any, pipes: Any) -> None:
    pipe = pipes("pixart-512")
    branch = Registry().branch("pixart/pipeline", source=pipe)
    assert branch.transformer is pipe.transformer and branch.vae is pipe.vae
    assert torch.equal(ours(branch), ours(Registry().branch("pixart/alpha-512", source=str(checkpoint("pixart-512")))))
