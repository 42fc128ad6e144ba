"""A composition of one branch that begins with a picture is diffusers' pipeline for it: img2img and inpainting (4 and 9 channels), SD and
SDXL, for every scheduler of ours, from the same seeds. And each thing told is felt."""

from __future__ import annotations

from functools import cache
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

import realcompo as rc
from realcompo.errors import BadCheckpoint, Incompatible
from realcompo.noise.diffusion import FLOW, GRADUAL, Solver
from realcompo.specs import BranchSpec
from realcompo.testing.driving import relative
from realcompo.testing.originals import save_original
from realcompo.testing.samples import SIDE, mask, photo
from realcompo.toolkit import UNetBranch, UNetOptions
from tests import sliced

PROMPTS = ["a photo of a cat and a dog", "a red balloon on the grass"]
NEGATIVES = ["a blue car", "two apples"]
STEPS, GUIDANCE = 6, 5.0
SEEDS = [3, 4]
KINDS = {
    "img2img": ("StableDiffusionImg2ImgPipeline", "sd1", "sd/v1-5"),
    "img2img-xl": ("StableDiffusionXLImg2ImgPipeline", "sdxl", "sd/xl-base"),
    "inpaint": ("StableDiffusionInpaintPipeline", "sd1", "sd/v1-5"),
    "inpaint-v": ("StableDiffusionInpaintPipeline", "sd2-v", "sd/v2-1"),
    "inpaint-9": ("StableDiffusionInpaintPipeline", "sd1-inpaint", "sd/v1-5"),
    "inpaint-xl": ("StableDiffusionXLInpaintPipeline", "sdxl", "sd/xl-base"),
    "inpaint-xl-9": ("StableDiffusionXLInpaintPipeline", "sdxl-inpaint", "sd/xl-base"),
}


@pytest.fixture(scope="module")
def both(checkpoint: Any) -> Any:
    """Kind → our composer of one branch, and their pipeline."""

    @cache
    def loaded(kind: str) -> tuple[rc.Composer, Any]:
        cls, family, id = KINDS[kind]
        folder = str(checkpoint(family))
        more = {} if "xl" in kind else {"safety_checker": None}
        pipe: Any = getattr(diffusers, cls).from_pretrained(folder, **more)
        pipe.set_progress_bar_config(disable=True)
        entry = rc.BranchEntry(name=id, source=folder, guidance_scale=GUIDANCE, options={"map_divisor": 2})
        return rc.Composer(entry, device="cpu", height=SIDE, width=SIDE, num_inference_steps=STEPS), pipe

    return loaded


def theirs(composer: rc.Composer, pipe: Any, scheduler: str, **asked: Any) -> torch.Tensor:
    traits = composer.members[0].traits
    pipe.scheduler = Solver(scheduler, traits.schedule, STEPS, traits.prediction_type).scheduler
    more = {} if pipe.__class__.__name__.endswith("Img2ImgPipeline") else {"height": SIDE, "width": SIDE}
    found: torch.Tensor = pipe(
        PROMPTS,
        negative_prompt=NEGATIVES,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        **{**more, "output_type": "latent", **asked},
    ).images
    return found


def ours(composer: rc.Composer, scheduler: str, **asked: Any) -> torch.Tensor:
    composer.scheduler = scheduler
    return composer(PROMPTS, negative_prompt=NEGATIVES, seed=SEEDS, output_type="latent", **asked).latents


CASES = [
    *((kind, one) for kind in ("img2img", "inpaint") for one in GRADUAL if one != FLOW),  # which their pipelines cannot begin late
    *(
        (kind, one)
        for kind in ("img2img-xl", "inpaint-xl", "inpaint-v", "inpaint-9", "inpaint-xl-9")
        for one in ("ddim", "euler-ancestral")
    ),
]


@pytest.mark.parametrize(("kind", "scheduler", "strength"), sliced([(*case, strength) for case in CASES for strength in (0.6, 1.0)], 5))
def test_a_run_from_pictures_is_the_pipelines(both: Any, kind: str, scheduler: str, strength: float) -> None:
    composer, pipe = both(kind)
    asked: dict[str, Any] = {"image": [photo(0), photo(1)], "strength": strength}
    if "inpaint" in kind:
        asked["mask_image"] = [mask(), mask((0, 0, 70, 60))]
    its, mine = theirs(composer, pipe, scheduler, **asked), ours(composer, scheduler, **asked)
    assert relative(its, mine) < 1e-4
    if scheduler != "ddim":
        return
    controls: dict[str, Any] = {"strength": 0.35 if strength == 1 else 1.0}
    if strength < 1:  # at 1 the picture is all but drowned in noise
        controls["image"] = [photo(2), photo(1)]
    if "inpaint" in kind:
        controls["mask_image"] = [mask((50, 50, 100, 100)), mask((0, 0, 70, 60))]
    for name, other in controls.items():
        assert relative(mine, ours(composer, scheduler, **{**asked, name: other})) > 1e-2, f"{name} must matter, or parity shows nothing"


@pytest.mark.parametrize("kind", ["inpaint", "inpaint-9"])
@pytest.mark.parametrize("box", [(130, 60, 190, 100), (0, 100, 250, 160)], ids=["small", "wide, at the edge"])
def test_the_surroundings_of_a_mask_are_the_pipelines(both: Any, kind: str, box: tuple[int, int, int, int]) -> None:
    """`padding_mask_crop`: the window, its resizing and its filling are diffusers'; larger padding is another window. (Their pipeline gives
    no latents with it: they are taken from its last step.)"""
    composer, pipe = both(kind)
    asked: dict[str, Any] = {"image": photo(0, 250, 160), "mask_image": mask(box, 250, 160), "strength": 0.8}
    seen: list[torch.Tensor] = []

    def last(pipe: Any, index: int, timestep: Any, told: dict[str, Any]) -> dict[str, Any]:
        seen.append(told["latents"])
        return told

    theirs(composer, pipe, "ddim", **asked, padding_mask_crop=10, output_type="pil", callback_on_step_end=last)
    mine = ours(composer, "ddim", **asked, padding_mask_crop=10)
    assert relative(seen[-1][:1], mine[:1]) < 1e-4  # theirs encodes one picture for all prompts, by the first generator
    if box[0] > 0:
        assert relative(mine, ours(composer, "ddim", **asked, padding_mask_crop=40)) > 1e-2


def test_an_inpainting_checkpoint_asks_for_a_mask(both: Any) -> None:
    composer, _ = both("inpaint-9")
    for asked in ({}, {"image": photo(0)}):
        with pytest.raises(Incompatible, match="inpainting checkpoint, and there is no mask"):
            composer(PROMPTS[0], **asked)


def test_a_pair_of_an_inpainting_and_a_plain_branch_keeps_what_is_not_drawn(checkpoint: Any) -> None:
    """GLIGEN knows of no mask: what stands outside is restored at every step, and the pixels there are the given ones to the bit."""
    box = {"a cat": (0.25, 0.3, 0.7, 0.9)}
    entries = [
        rc.BranchEntry(name=id, source=str(checkpoint(family)), guidance_scale=2.0, options={"map_divisor": 2})
        for id, family in (("sd/v1-5", "sd1-inpaint"), ("gligen/box", "gligen"))
    ]
    composer = rc.Composer(*entries, device="cpu", height=SIDE, width=SIDE, num_inference_steps=STEPS, balancer="core/balance")
    result = composer(PROMPTS[0], rc.Boxes(box), seed=0, image=photo(0), mask_image=mask())
    drawn, given, inside = np.asarray(result.image), np.asarray(photo(0)), np.asarray(mask()) > 0
    assert (drawn[~inside] == given[~inside]).all() and (drawn[inside] != given[inside]).mean() > 0.5
    assert {name for entry in result.trace.entries for name in entry.acting} == {"sd/v1-5", "gligen/box"}


def test_an_inpainting_unet_is_no_spatial_branch(checkpoint: Any) -> None:
    """It needs the picture's surroundings, which only the branch that decodes is sure to encode."""
    folder = str(checkpoint("sd1-inpaint"))
    with pytest.raises(BadCheckpoint, match=r"9 in channels.*it inpaints"):
        UNetBranch.inspect(BranchSpec(id="x/y", summary="", role="spatial"), UNetOptions(), source=folder)
    assert UNetBranch.inspect(BranchSpec(id="x/y", summary="", role="fidelity"), UNetOptions(), source=folder).inpaints


@pytest.mark.parametrize("family", ["sd1-inpaint", "sdxl-inpaint"])
def test_a_single_file_that_inpaints_draws_what_its_folder_draws(checkpoint: Any, tmp_path: Any, family: str) -> None:
    folder = checkpoint(family)
    file = save_original(folder, tmp_path / "model.safetensors")
    id = "sd/v1-5" if family == "sd1-inpaint" else "sd/xl-base"
    drawn = []
    for source, options in ((file, {"config": str(folder)}), (folder, {})):
        entry = rc.BranchEntry(name=id, source=str(source), guidance_scale=GUIDANCE, options={"map_divisor": 2, **options})
        composer = rc.Composer(entry, device="cpu", height=SIDE, width=SIDE, num_inference_steps=2)
        assert composer.members[0].traits.inpaints
        drawn.append(composer(PROMPTS[0], seed=0, image=photo(0), mask_image=mask(), output_type="latent").latents)
    assert relative(drawn[1], drawn[0]) < 1e-6
