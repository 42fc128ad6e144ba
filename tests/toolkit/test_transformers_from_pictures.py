"""A composition of one transformer that begins with a picture is diffusers' pipeline for it, over the picture and into a mask of it: Stable
Diffusion 3, FLUX.1 and Z-Image, from the same seeds. For PixArt diffusers has no such pipelines: the last test holds it to its mask.

Their pipelines of flows keep ⌈steps · strength⌉ steps, those of Stable Diffusion ⌊steps · strength⌋, as we do for all: the strengths here
are whole numbers of steps.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

import realcompo as rc
from realcompo.testing.driving import relative
from realcompo.testing.samples import SIDE, mask, photo

PROMPTS = ("a photo of a cat and a dog", "a red balloon on the grass")
NEGATIVES = ("a blue car", "two apples")
STEPS, SEEDS = 5, [3, 4]
FAMILIES: dict[str, tuple[str, str, float, dict[str, Any]]] = {
    "sd3": ("StableDiffusion3", "sd3/medium", 5.0, {"negative_prompt": list(NEGATIVES), "guidance_scale": 5.0}),
    "flux": ("Flux", "flux/dev", 3.5, {"guidance_scale": 3.5}),
    "z-image": ("ZImage", "z-image/base", 5.0, {"negative_prompt": list(NEGATIVES), "guidance_scale": 4.0}),  # theirs is ours − 1
}
"""Family → how its pipelines' names begin, our branch, our guidance scale, what theirs are told."""


@pytest.fixture(scope="module")
def composer(checkpoint: Any) -> Any:
    """Family → ours, loaded once."""

    @cache
    def loaded(family: str) -> rc.Composer:
        _, id, scale, _ = FAMILIES[family]
        entry = rc.BranchEntry(name=id, source=str(checkpoint(family)), guidance_scale=scale)
        return rc.Composer(entry, device="cpu", height=SIDE, width=SIDE, num_inference_steps=STEPS, scheduler="flow-euler")

    return loaded


def theirs(folder: Any, family: str, what: str, **asked: Any) -> torch.Tensor:
    begins, _, _, told = deepcopy(FAMILIES[family])  # Z-Image's pipeline writes its template into the lists that it is given
    pipe: Any = getattr(diffusers, f"{begins}{what}Pipeline").from_pretrained(str(folder))
    pipe.set_progress_bar_config(disable=True)
    found = pipe(
        list(PROMPTS),
        num_inference_steps=STEPS,
        height=SIDE,
        width=SIDE,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="latent",
        **told,
        **asked,
    ).images
    if family != "flux":
        return found  # type: ignore[no-any-return]
    from realcompo_flux.branch import unpacked

    return unpacked(found, torch.empty(2, 16, SIDE // 8, SIDE // 8))


def ours(composer: rc.Composer, **asked: Any) -> torch.Tensor:
    return composer(list(PROMPTS), negative_prompt=list(NEGATIVES), seed=SEEDS, output_type="latent", **asked).latents


@pytest.mark.parametrize("strength", [0.6, pytest.param(1.0, marks=pytest.mark.deep)])
@pytest.mark.parametrize("what", ["Img2Img", "Inpaint"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_from_pictures_is_the_pipelines(checkpoint: Any, composer: Any, family: str, what: str, strength: float) -> None:
    one, asked = composer(family), {"image": [photo(0), photo(1)], "strength": strength}
    if what == "Inpaint":
        asked["mask_image"] = [mask(), mask((0, 0, 70, 60))]
    its, mine = theirs(checkpoint(family), family, what, **asked), ours(one, **asked)
    print(f"{family} {what} {strength}: parity {relative(its, mine):.1e}")
    assert relative(its, mine) < 1e-4
    controls: dict[str, Any] = {"strength": 0.2 if strength == 1 else 1.0}
    if strength < 1:  # at 1 the picture is all but drowned in noise
        controls["image"] = [photo(2), photo(1)]
    if what == "Inpaint":
        controls["mask_image"] = [mask((50, 50, 100, 100)), mask((0, 0, 70, 60))]
    for name, other in controls.items():
        moved = relative(mine, ours(one, **{**asked, name: other}))
        print(f"   another {name} moves them by {moved:.2f}")
        assert moved > 1e-2, f"{name} must matter, or parity shows nothing"


@pytest.mark.parametrize(("family", "id"), [("pixart-512", "pixart/alpha-512"), pytest.param("flux", "flux/dev", marks=pytest.mark.deep)])
def test_what_is_not_to_be_drawn_stays_to_the_bit(checkpoint: Any, family: str, id: str) -> None:
    """A transformer beside a spatial branch that knows of no mask: black stays, white is drawn."""
    entry = rc.BranchEntry(name=id, source=str(checkpoint(family)), guidance_scale=2.0)
    layout = rc.BranchEntry(name="regional/any", source=str(checkpoint(family)), options={"base": id})
    composer = rc.Composer(entry, layout, device="cpu", height=SIDE, width=SIDE, num_inference_steps=3, balancer="core/mean")
    given, inside = np.asarray(photo(0)), np.asarray(mask()) > 0
    boxes = rc.Boxes({"a cat": (0.25, 0.3, 0.7, 0.9)})
    drawn = np.asarray(composer(PROMPTS[0], boxes, seed=0, image=photo(0), mask_image=mask()).image)
    assert (drawn[~inside] == given[~inside]).all() and (drawn[inside] != given[inside]).mean() > 0.5
    over = np.asarray(composer(PROMPTS[0], boxes, seed=0, image=photo(0), strength=0.7).image)
    assert (over[~inside] != given[~inside]).mean() > 0.5, "without the mask nothing is kept, or the mask shows nothing"
