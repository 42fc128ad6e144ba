"""SD 2.1 at 768, which predicts v, beside partners of the same latent space that predict noise: the blend is the one of the formula."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

from realcompo.compose.composer import Composer
from realcompo.conditions import Boxes
from realcompo.recipes.recipe import BranchEntry
from realcompo.registry import Registry
from realcompo.testing.driving import relative, request

PROMPT, BOXES, STEPS, GUIDANCE = "a photo of a cat and a dog", Boxes({"a cat": (0.1, 0.1, 0.6, 0.6)}), 10, 3.0


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def pair(checkpoint: Any) -> tuple[BranchEntry, Any]:
    """SD 2.1 (v) as fidelity, SD 1.5 (noise) placed beside it."""
    registry = Registry()
    spec = replace(registry.branches["sd/v1-5"], id="sd/v1-5-placed", role="spatial", condition="boxes", guidance_scale=GUIDANCE)
    spatial = registry.load(spec)(spec, registry.options(spec), source=str(checkpoint("sd1")))
    return BranchEntry(name="sd/v2-1", source=str(checkpoint("sd2-v")), guidance_scale=GUIDANCE), spatial


def loop(checkpoint: Any, share: float, convert: bool = True) -> torch.Tensor:
    """Σ ξ ε written out: ε of v is √ᾱ v + √(1−ᾱ) z. Networks, guidance and blend by hand, the step by diffusers' own DDIM."""
    registry = Registry()
    fidelity = registry.branch("sd/v2-1", source=str(checkpoint("sd2-v")))
    spatial = registry.branch("sd/v1-5", source=str(checkpoint("sd1")))
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    scheduler.set_timesteps(STEPS)
    z = noise()
    asked = request((PROMPT,), guidance_scale=GUIDANCE)
    with torch.no_grad():
        texts = [(one, one.encode(asked)) for one in (fidelity, spatial)]
        for t in scheduler.timesteps:
            alpha_bar = scheduler.alphas_cumprod[t]
            guided = []
            for one, text in texts:
                both = torch.cat([text.unconditional.hidden, text.conditional.hidden])
                u, c = one.unet(torch.cat([z, z]), t, encoder_hidden_states=both).sample.chunk(2)
                guided.append(u + GUIDANCE * (c - u))
            v, eps = guided
            other = alpha_bar.sqrt() * v + (1 - alpha_bar).sqrt() * z if convert else v
            z = scheduler.step((1 - share) * other + share * eps, t, z).prev_sample
    return z


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_v_and_noise_are_blended_as_noise(checkpoint: Any, pair: Any, share: float) -> None:
    composer = Composer(*pair, balancer="core/fixed", balancer_options={"spatial": share}, num_inference_steps=STEPS, device="cpu")
    mine = composer(PROMPT, BOXES, latents=noise(), output_type="latent").latents
    assert [member.traits.prediction_type for member in composer.members] == ["v_prediction", "epsilon"]
    print(f"share {share}: {relative(loop(checkpoint, share), mine):.1e}")
    assert relative(loop(checkpoint, share), mine) < 1e-4
    assert relative(loop(checkpoint, share, convert=False), mine) > 1e-2, "unconverted, it is another picture"
