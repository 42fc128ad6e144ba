"""Runs that begin with a picture, on toys whose answer is known: what is drawn, what stays to the bit, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import realcompo as rc
from realcompo.compose.canvas import Paste
from realcompo.errors import BadOption, BadPicture, Incompatible
from realcompo.noise.beginning import begin_late, noised
from realcompo.noise.diffusion import SCHEDULERS, Solver
from realcompo.recipes.recipe import PictureEntry
from realcompo.specs import NoiseSchedule
from realcompo.testing import samples
from realcompo.testing.toys import toy_registry
from tests.toyworld import PROMPT, TWO, toys

SIDE = 64


def photo(seed: int = 0, wide: int = SIDE, high: int = SIDE) -> Image.Image:
    shades = np.random.default_rng(seed).integers(0, 256, (high // 8 or 1, wide // 8 or 1, 3), dtype=np.uint8)
    return Image.fromarray(shades.repeat(8, 0).repeat(8, 1)[:high, :wide])


def mask(box: tuple[int, int, int, int] = (16, 8, 48, 56), wide: int = SIDE, high: int = SIDE) -> Image.Image:
    return samples.mask(box, wide, high)


def pixels(image: Any) -> np.ndarray[Any, Any]:
    return np.asarray(image).astype(int)


# -- fewer steps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_steps_that_remain_are_the_last_ones_counted_anew(scheduler: str) -> None:
    whole = Solver(scheduler, NoiseSchedule(), 20)
    late = Solver(scheduler, NoiseSchedule(), 20)
    begin_late(late, 20, 0.35)
    assert [step.alpha_bar for step in late.steps] == [step.alpha_bar for step in whole.steps[13:]]
    assert [step.index for step in late.steps] == list(range(len(late.steps))) and late.steps[0].count == len(late.steps)
    clean, noise = torch.full((1, 1, 1, 1), 0.7), torch.full((1, 1, 1, 1), -1.3)
    z = late.view(noised(late, clean, noise, late.steps[0]), late.steps[0])
    bar = late.steps[0].alpha_bar
    assert abs(float(z) - (bar**0.5 * 0.7 - (1 - bar) ** 0.5 * 1.3)) < 1e-6


def test_shares_of_a_run_are_of_the_steps_that_remain() -> None:
    """A warm-up of 0.5 of a run of 0.6 · 10 steps: three of the six that are drawn, not none of them (nor five)."""
    composer = toys(balancer_options={"warmup": 0.5, "finish": 1.0})
    result = composer(PROMPT, TWO, seed=0, image=photo(), strength=0.6)
    assert [len(entry.acting) for entry in result.trace.entries] == [1, 1, 1, 2, 2, 2]


def test_less_strength_stays_closer_to_the_picture() -> None:
    composer, given = toys(dtype="float32"), pixels(photo())
    far = [np.abs(pixels(composer(PROMPT, TWO, seed=0, image=photo(), strength=s).image) - given).mean() for s in (0.1, 0.5, 1.0)]
    assert far[0] < far[1] < far[2] and far[0] < 0.5 * far[2]


def test_a_picture_alone_and_in_a_batch_is_the_same() -> None:
    composer = toys()
    images, masks = [photo(0), photo(1)], [mask(), mask((0, 0, 32, 32))]
    both = composer([PROMPT] * 2, TWO, seed=[5, 6], image=images, mask_image=masks, strength=0.7)
    for b in range(2):
        alone = composer(PROMPT, TWO, seed=5 + b, image=images[b], mask_image=masks[b], strength=0.7)
        assert np.array_equal(pixels(alone.image), pixels(both.images[b]))


# -- masks -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
@pytest.mark.parametrize("feather", [0, 5])
def test_what_is_not_masked_comes_back_to_the_bit(output_type: str, feather: int) -> None:
    given, white = pixels(photo()), pixels(mask()) > 0
    result = toys()(PROMPT, TWO, seed=0, image=photo(), mask_image=mask(), mask_feather=feather, output_type=output_type)
    drawn = result.images[0]
    if output_type != "pil":
        drawn = np.moveaxis(np.asarray(drawn), 0, -1) if output_type == "pt" else drawn
        drawn = np.rint(np.asarray(drawn, dtype=np.float64) * 255)
    assert (pixels(drawn)[~white] == given[~white]).all()
    assert (pixels(drawn)[white] != given[white]).any(-1).mean() > 0.9
    full = toys()(PROMPT, TWO, seed=0, image=photo(), output_type="pil", strength=1.0)
    assert (pixels(full.image)[~white] != given[~white]).any(), "without a mask it is drawn anew: the paste is what keeps it"


def test_the_edge_of_a_mask_is_feathered_inwards() -> None:
    """Old 0, new 100: from the mask's edge inwards the new rises over four pixels; black pixels have none of it."""
    from realcompo.compose.canvas import _share

    share = _share(pixels(mask((8, 0, 64, 64))) > 0, 4)
    paste = Paste(Image.new("RGB", (SIDE, SIDE)), share)
    row = pixels(paste(Image.new("RGB", (SIDE, SIDE), (100, 100, 100))))[30, :, 0]
    assert row[:15].tolist() == [0] * 8 + [20, 40, 60, 80, 100, 100, 100] and (row[14:] == 100).all(), "the picture's own edge is none"


def test_latents_outside_the_mask_are_the_pictures_at_every_step() -> None:
    """Noised as far as the next step, with the noise that the run began with; after the last step the picture's own."""
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    composer, seen = toys(), []

    def look(composer: Any, index: int, t: float, told: dict[str, Any]) -> None:
        seen.append(told["latents"].clone())

    composer(PROMPT, TWO, latents=noise, image=photo(), mask_image=mask(), strength=0.6, callback_on_step_end=look, output_type="latent")
    solver = composer._solver(10)
    begin_late(solver, 10, 0.6)
    from realcompo.testing.toys import ToyBranch

    toy = composer.branches[0]
    assert isinstance(toy, ToyBranch)
    clean = toy.encode_pictures(torch.from_numpy(pixels(photo())).permute(2, 0, 1)[None] / 127.5 - 1, [])
    outside = torch.from_numpy(pixels(mask())[4::8, 4::8] == 0)
    for index, x in enumerate(seen):
        wanted = noised(solver, clean, noise, solver.steps[index + 1]) if index + 1 < len(seen) else clean
        assert (x - wanted)[:, :, outside].abs().max() < 1e-6
        assert (x - wanted)[:, :, ~outside].abs().max() > 1e-2


def test_nothing_outside_the_mask_is_moved() -> None:
    from functools import partial

    from realcompo.compose.moves import move_latents
    from realcompo.compose.probe import Slope, placement_slope
    from realcompo.interfaces import Move, Region, Regions

    regions = Regions(((Region("a", "a", box=(0.0, 0.0, 0.5, 1.0)),),))
    z = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))

    def ask(_: int, at: torch.Tensor, rows: object) -> Slope:
        return placement_slope(lambda one: one.sigmoid()[:, :1], at, regions, None)

    drawn = torch.zeros(1, 1, 8, 8)
    drawn[..., 2:6, 2:6] = 1
    move = partial(move_latents, z, [Move(2)], ask, regions, 1.0)
    free, bound = move()[0] - z, move(drawn=drawn)[0] - z
    assert free[..., 0, 0].abs().max() > 0 and (bound * (1 - drawn)).abs().max() == 0
    assert abs(float(bound.norm()) - float(free.norm())) < 0.3 * float(free.norm()), "a move is as long as ever"


def test_regions_act_inside_the_mask() -> None:
    """The dog's region lies outside and is none; the cat's is cut; ids stay, and so does the condition that the branches are told."""
    told: list[Any] = []
    composer = toys()
    spatial: Any = composer.branches[1]
    encode = spatial.encode
    spatial.encode = lambda request: told.append(request) or encode(request)
    result = composer(PROMPT, TWO, seed=0, image=photo(), mask_image=mask((0, 0, 24, 64)))
    (region,) = result.regions
    assert region.id == "a cat" and region.mask is not None
    covered = pixels(region.mask > 0)
    assert covered[:, 24:].sum() == 0 and covered[20, 10] == 1 and covered[2, 10] == 0
    assert [r.id for r in told[0].regions.pictures[0]] == ["a cat"] and len(told[0].conditions[0].items) == 2
    whole = composer(PROMPT, TWO, seed=0, image=photo(), mask_image=mask((0, 0, 64, 64)))
    assert [r.mask for r in whole.regions] == [None, None], "a region that lies inside is as it was"


# -- the surroundings of a mask ----------------------------------------------------------------------------------------------


def test_only_the_surroundings_are_drawn_and_pasted_back() -> None:
    """A picture four times as large: the run draws 64×64 of it, the rest never enters the network."""
    big, small = photo(3, 256, 192), mask((120, 60, 150, 90), 256, 192)
    result = toys()(PROMPT, rc.Boxes({"a cat": (0.45, 0.3, 0.6, 0.5)}), seed=0, image=big, mask_image=small, padding_mask_crop=4)
    assert result.image.size == (256, 192) and result.latents.shape[-2:] == (8, 8)
    white = pixels(small) > 0
    assert (pixels(result.image)[~white] == pixels(big)[~white]).all() and (pixels(result.image)[white] != pixels(big)[white]).any()
    (region,) = result.regions
    assert region.id == "a cat"


def test_conditions_are_told_as_they_are_in_the_window() -> None:
    told: list[Any] = []
    composer = toys()
    spatial: Any = composer.branches[1]
    encode = spatial.encode
    spatial.encode = lambda request: told.append(request) or encode(request)
    boxes = rc.Boxes({"a cat": (0.25, 0.25, 0.5, 0.5), "a dog": (0.9, 0.9, 1.0, 1.0)})
    asked = {"image": photo(3, 128, 128), "mask_image": mask((32, 32, 64, 64), 128, 128), "padding_mask_crop": 0}
    result = composer(PROMPT, boxes, seed=0, **asked)
    (item,) = told[0].conditions[0].items
    assert item.id == "a cat" and np.allclose(item.box, (0, 0, 1, 1))
    assert result.recipe.pictures[0].conditions["boxes"] == boxes, "the recipe holds what was asked, of the whole picture"


# -- what is refused ---------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "strength 0": ({"image": photo(), "strength": 0}, BadOption, "strength = 0 is out of bounds"),
    "strength 1.5": ({"image": photo(), "strength": 1.5}, BadOption, "strength = 1.5 is out of bounds"),
    "strength text": ({"image": photo(), "strength": "much"}, BadOption, "strength = 'much' is no number"),
    "strength nan": ({"image": photo(), "strength": float("nan")}, BadOption, "no finite number"),
    "no step left": ({"image": photo(), "strength": 0.05}, BadOption, "strength 0.05 of 10 steps leaves none"),
    "strength alone": ({"strength": 0.5}, BadOption, "strength without an image"),
    "mask alone": ({"mask_image": mask()}, BadOption, "mask_image without an image"),
    "feather alone": ({"image": photo(), "mask_feather": 3}, BadOption, "mask_feather without a mask"),
    "crop alone": ({"image": photo(), "padding_mask_crop": 3}, BadOption, "padding_mask_crop without a mask"),
    "feather below 0": ({"image": photo(), "mask_image": mask(), "mask_feather": -1}, BadOption, "mask_feather = -1 is out of bounds"),
    "crop a float": ({"image": photo(), "mask_image": mask(), "padding_mask_crop": 1.5}, BadOption, "no whole number"),
    "another shape": ({"image": photo(0, 64, 32)}, BadOption, "64×32 pixels, the picture to draw 64×64: another shape"),
    "mask of another size": ({"image": photo(), "mask_image": mask(wide=32)}, BadOption, "the mask is 32×64 pixels, the image 64×64"),
    "black mask": ({"image": photo(), "mask_image": mask((0, 0, 0, 0))}, BadOption, "the mask is black"),
    "thin mask": ({"image": photo(), "mask_image": mask((1, 1, 7, 60))}, BadOption, "the mask is too thin: it covers no latent pixel"),
    "no file": ({"image": "nowhere.png"}, BadPicture, "there is no such picture"),
    "a folder": ({"image": Path(__file__).parent}, BadPicture, "there is no such picture"),
    "no picture": ({"image": __file__}, BadPicture, "it is no picture that can be read here"),
    "a number": ({"image": 7}, BadPicture, "7 is no picture"),
    "floats": ({"image": np.zeros((64, 64, 3))}, BadPicture, "float64 is no picture"),
    "five channels": ({"image": np.zeros((64, 64, 5), np.uint8)}, BadPicture, "is no picture"),
    "16 bits": ({"image": Image.new("I;16", (64, 64))}, BadPicture, "mode I;16"),
    "two images": ({"image": [photo(), photo()]}, BadOption, "2 values of image for 1 prompts"),
    "hires 1": ({"hires": 1}, rc.RealCompoError, "greater than 1"),
    "hires 9": ({"hires": 9}, rc.RealCompoError, "less than or equal to 8"),
    "hires text": ({"hires": "big"}, rc.RealCompoError, "hires"),
    "hires of nothing": ({"hires": {"strength": 0.4}}, BadOption, "either a scale or a size"),
    "hires unknown": ({"hires": {"scale": 2, "denoise": 1}}, rc.RealCompoError, "hires has no 'denoise'"),
    "hires smaller": ({"hires": {"height": 32, "width": 32}}, BadOption, "the second pass is 32×32 pixels, the first 64×64"),
    "hires of another shape": ({"hires": {"height": 64, "width": 128}}, BadOption, "of the same shape"),
    "hires of odd size": ({"hires": {"height": 99, "width": 99}}, Incompatible, "multiples of 8"),
    "hires of few steps": ({"hires": {"scale": 2, "strength": 0.1, "steps": 5}}, BadOption, "leaves none"),
    "hires by nothing": ({"hires": {"scale": 2, "upscaler": "core/none"}}, rc.RealCompoError, "no upscaler is called"),
    "hires and mask": ({"hires": 2, "image": photo(), "mask_image": mask()}, BadOption, "hires beside mask_image"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_before_anything_is_drawn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, error, said = BAD[name]
    composer = toys()
    monkeypatch.setattr(type(composer), "branches", property(lambda self: pytest.fail("weights were loaded first")))
    with pytest.raises(error) as caught:
        composer(PROMPT, TWO, seed=0, **asked)
    assert said in str(caught.value) and isinstance(caught.value, rc.RealCompoError) and caught.value.mend


def test_pictures_that_begin_otherwise_are_no_batch() -> None:
    with pytest.raises(BadOption, match=r"picture 0 begins with an image, picture 1 with noise"):
        toys().compose([PictureEntry(prompt=PROMPT, conditions={"boxes": TWO}, image=photo()), PictureEntry(prompt=PROMPT)])


def test_a_branch_that_encodes_no_pictures_says_so() -> None:
    from realcompo.interfaces import Branch

    class Blind(type(toys().branches[0])):  # type: ignore[misc]
        encode_pictures = Branch.encode_pictures

    blind = Blind(toys().branches[0].spec, toys().branches[0].options)
    composer = rc.Composer(blind, "toy/spatial", registry=toy_registry(), num_inference_steps=4, device="cpu")
    with pytest.raises(Incompatible, match="encodes no pictures"):
        composer(PROMPT, TWO, seed=0, image=photo())
    with pytest.raises(Incompatible, match="encodes no pictures"):
        composer(PROMPT, TWO, seed=0, hires={"scale": 2, "upscaler": "core/lanczos"})
    assert composer(PROMPT, TWO, seed=0, hires=2).image.size == (128, 128), "latents are made larger without an encoder"


# -- drawn again from the picture alone --------------------------------------------------------------------------------------

KEPT: dict[str, dict[str, Any]] = {
    "image": {"image": photo(), "strength": 0.6},
    "mask": {"image": photo(), "mask_image": mask(), "mask_feather": 2},
    "surroundings": {"image": photo(3, 128, 96), "mask_image": mask((30, 30, 60, 50), 128, 96), "padding_mask_crop": 6, "strength": 0.9},
    "hires": {"hires": {"scale": 1.5, "strength": 0.6, "upscaler": "core/lanczos"}},
    "image and hires": {"image": photo(), "strength": 0.6, "hires": 2},
}


@pytest.mark.parametrize("name", KEPT)
def test_a_picture_is_reproduced_from_its_file_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("realcompo.draw.kept", "realcompo.draw.reproduce", "realcompo.compose.ensemble"):
        monkeypatch.setattr(f"{module}.installed", toy_registry)
    result = toys(dtype="float32")(PROMPT, TWO, seed=4, **KEPT[name])
    result.image.save(tmp_path / "a.png")
    found = rc.reproduce(tmp_path / "a.png")
    assert found.same and not found.edited


def test_a_picture_too_large_to_carry_is_told_by_its_digest_and_may_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("realcompo.draw.kept", "realcompo.draw.reproduce", "realcompo.compose.ensemble"):
        monkeypatch.setattr(f"{module}.installed", toy_registry)
    monkeypatch.setattr("realcompo.recipes.copies.MAX_COPY", 100)
    photo().save(tmp_path / "photo.png")
    result = toys(dtype="float32")(PROMPT, TWO, seed=4, image=tmp_path / "photo.png", strength=0.5)
    result.image.save(tmp_path / "a.png")
    with pytest.raises(BadPicture, match=r"too large to be carried.*\n.*--image FILE"):
        rc.reproduce(tmp_path / "a.png")
    with pytest.raises(BadPicture, match="another picture than it was drawn from"):
        rc.reproduce(tmp_path / "a.png", image=photo(8))
    assert rc.reproduce(tmp_path / "a.png", image=tmp_path / "photo.png").same
