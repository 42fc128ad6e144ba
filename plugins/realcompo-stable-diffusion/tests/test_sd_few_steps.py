"""Distilled networks in a few steps: latent consistency models and LoRAs with the schedulers of LCM and TCD, alone and in pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

import realcompo as rc
from realcompo.errors import BadOption, Incompatible
from realcompo.noise.diffusion import FEW, Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request

PROMPT, STEPS = "a photo of a cat and a dog", 4
BOXES = rc.Boxes({"a cat": (0.05, 0.1, 0.5, 0.9), "a dog": (0.5, 0.2, 0.95, 0.9)})
SIZE = {"height": 128, "width": 128, "num_inference_steps": STEPS}


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def lcm(checkpoint: Any) -> Any:
    """Our branch and their pipeline of a UNet that is told its guidance."""
    pipe: Any = StableDiffusionPipeline.from_pretrained(str(checkpoint("sd1-lcm")), safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return Registry().branch("sd/v1-5", source=str(checkpoint("sd1-lcm"))), pipe


@pytest.mark.parametrize("scheduler", FEW)
def test_a_latent_consistency_model_is_the_pipeline(lcm: Any, scheduler: str) -> None:
    """The guidance scale is told as a number, in one pass; and felt."""
    branch, pipe = lcm
    assert branch.traits.distilled and branch.traits.guidance == "embedded"
    config = {"eta": 0.6} if scheduler == "tcd" else {}
    pipe.scheduler = Solver(scheduler, branch.traits.schedule, STEPS).scheduler

    def ours(scale: float, **told: Any) -> torch.Tensor:
        asked = request((PROMPT,), guidance_scale=scale)
        told = {"config": config, **told}
        return draw_alone(branch, asked, noise(), scheduler=scheduler, steps=STEPS, generators=[torch.Generator().manual_seed(3)], **told)

    theirs = pipe(
        PROMPT, guidance_scale=8.0, num_inference_steps=STEPS, height=128, width=128, latents=noise(), output_type="latent",
        generator=[torch.Generator().manual_seed(3)], **config,
    ).images  # fmt: skip
    mine = ours(8.0)
    assert relative(theirs, mine) < 1e-4
    assert relative(mine, ours(2.0)) > 1e-2, "the scale must be felt"
    assert branch.encode(request((PROMPT,), guidance_scale=8.0)).unconditional is None
    other = {"config": {"eta": 0.0}} if scheduler == "tcd" else {"config": {"original_inference_steps": 20}}
    assert relative(mine, ours(8.0, **other)) > 1e-2, "and so must the scheduler's setting"


@pytest.mark.parametrize("scheduler", ["lcm", pytest.param("tcd", marks=pytest.mark.deep)])
def test_a_pair_of_distilled_branches_draws(checkpoint: Any, tmp_path: Path, scheduler: str) -> None:
    """In one pass each, a picture's noise its own; from its file again to the bit."""
    spatial = {"name": "gligen/box", "source": str(checkpoint("gligen")), "options": {"distilled": True}}
    composer = rc.Composer(
        {"name": "sd/v1-5", "source": str(checkpoint("sd1-lcm"))}, spatial, scheduler=scheduler, balancer="core/balance", **SIZE
    )
    asked = {"guidance_scale": 1.0, "output_type": "latent"}
    both = composer([PROMPT, "a dog and a cat"], BOXES, seed=[4, 5], **asked)
    torch.testing.assert_close(both.latents[1:], composer("a dog and a cat", BOXES, seed=5, **asked).latents, rtol=1e-4, atol=1e-4)
    assert len(both.trace.entries) == STEPS and any(len(entry.acting) == 2 for entry in both.trace.entries)
    moved = rc.Boxes({"a cat": (0.5, 0.1, 0.9, 0.5), "a dog": (0.0, 0.5, 0.4, 1.0)})
    assert relative(both.latents[1:], composer("a dog and a cat", moved, seed=5, **asked).latents) > 1e-2
    composer(PROMPT, BOXES, seed=4, guidance_scale=1.0).image.save(tmp_path / "pair.png")
    assert rc.reproduce(tmp_path / "pair.png").same


def test_guidance_that_burns_is_told_of(checkpoint: Any) -> None:
    """Of a distilled branch at the scale of others; not of one that is told its scale as a number."""

    def said(source: str, scale: float, distilled: bool = True) -> list[str]:
        told = {"name": "sd/v1-5", "source": str(checkpoint(source)), "guidance_scale": scale, "options": {"distilled": distilled}}
        return [one for one in rc.Composer(told, scheduler="lcm" if distilled else "ddim", **SIZE).remarks() if "distilled" in one]

    assert "sd/v1-5: it is distilled to draw without guidance, and its guidance_scale is 7.5" in said("sd1", 7.5)[0]
    assert not said("sd1", 2) and not said("sd1", 7.5, False) and not said("sd1-lcm", 8)


def test_who_is_not_distilled_is_named(checkpoint: Any) -> None:
    """Before weights are loaded; a pair of few steps and one of a scheduler of few steps alike."""
    plain = {"name": "sd/v1-5", "source": str(checkpoint("sd1"))}
    told = {**plain, "options": {"distilled": True}}
    boxes = {"name": "gligen/box", "source": str(checkpoint("gligen"))}
    for fidelity, spatial, scheduler, who in (
        (plain, (), "lcm", "'sd/v1-5' is not distilled"),
        (told, boxes, "tcd", "'gligen/box' is not distilled, and this run draws in 4 steps .'sd/v1-5' is"),
        (told, boxes, "ddim", "'gligen/box' is not distilled"),
    ):
        with pytest.raises(Incompatible, match=who):
            rc.Composer(fidelity, spatial, scheduler=scheduler, **SIZE)
    rc.Composer(told, boxes, height=128, width=128, num_inference_steps=20)  # many steps: each as it is
    rc.Composer(told, scheduler="lcm", **SIZE)


def test_what_tells_that_a_branch_is_distilled(checkpoint: Any, tmp_path: Path) -> None:
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    state = {f"{stem}.lora_down.weight": torch.ones(2, 8), f"{stem}.lora_up.weight": torch.ones(8, 2)}
    found = {}
    for title in ("Hyper-SD15 8 steps", "SDXL Lightning", "my_lcm_v2", "plumcmeadow", "a hyperrealistic style"):
        file = tmp_path / f"{title}.safetensors"
        save_file(state, str(file), metadata={"modelspec.title": title})
        found[title] = Registry().inspect("sd/v1-5", {"lora": str(file)}, str(checkpoint("sd1"))).distilled
    assert found == {
        "Hyper-SD15 8 steps": True, "SDXL Lightning": True, "my_lcm_v2": True, "plumcmeadow": False, "a hyperrealistic style": False
    }  # fmt: skip
    lora = {"lora": str(tmp_path / "my_lcm_v2.safetensors")}
    assert not Registry().inspect("sd/v1-5", {**lora, "lora_scale": 0.0}, str(checkpoint("sd1"))).distilled
    assert not Registry().inspect("sd/v1-5", {**lora, "distilled": False}, str(checkpoint("sd1"))).distilled
    assert not Registry().inspect("sd/v1-5", {}, str(checkpoint("sd1"))).distilled
    assert Registry().inspect("sd/v1-5", {}, str(checkpoint("sd1-lcm"))).distilled


def test_bad_settings(checkpoint: Any) -> None:
    told = {"name": "sd/v1-5", "source": str(checkpoint("sd1")), "options": {"distilled": True}}
    with pytest.raises(BadOption, match=r"eta = 1\.5"):
        rc.Composer(told, scheduler="tcd", scheduler_options={"eta": 1.5}, **SIZE)
    with pytest.raises(BadOption, match="lcm cannot do 60 steps"):
        rc.Composer(told, scheduler="lcm", height=128, width=128, num_inference_steps=60)
