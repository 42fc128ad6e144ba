"""Maps as other programs leave them: mixed colours are read by the nearest class, no picture that is none; indices from 0 and void."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from realcompo.conditions import Segmentation
from realcompo.conditions.palette import ADE20K
from realcompo.errors import BadCondition, Mended

PIXELS = np.zeros((128, 128, 3), np.uint8)
PIXELS[:64], PIXELS[64:] = ADE20K["sky"], ADE20K["grass"]
PIXELS[40:100, 30:90] = ADE20K["animal"]


def saved(form: str, **more: Any) -> Image.Image:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, form, **more)
    return Image.open(stream)


@pytest.mark.parametrize(
    "picture",
    [
        *(saved("JPEG", quality=quality) for quality in (95, 75, 50)),
        saved("WEBP", quality=85),
        *(Image.fromarray(PIXELS).resize((side, side), Image.Resampling.BILINEAR) for side in (77, 200, 512)),
        Image.fromarray(PIXELS).resize((200, 200), Image.Resampling.LANCZOS),
    ],
)
def test_mixed_colours_are_read_by_the_nearest_class(picture: Image.Image) -> None:
    with pytest.warns(Mended, match=r"of \d+ pixels .* read as the nearest class"):
        found = Segmentation.from_colours(picture, {"animal": "a cat"})
    assert found.mask(found.items[0]).mean() == pytest.approx(60 * 60 / 128**2, abs=0.025)
    assert {one.label for one in found.backdrop} == {"sky", "grass"}, "no class that only mixtures look like"


def test_a_picture_that_is_no_map_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    grey = np.clip(np.random.default_rng(0).normal(120, 6, (96, 96, 1)), 0, 255).repeat(3, axis=2).astype(np.uint8)
    dark = np.zeros((96, 96, 3), np.uint8)
    dark[30:60, 30:60] = noise[:30, :30]
    ramp = np.tile(np.linspace(0, 255, 96).astype(np.uint8)[None, :, None], (96, 1, 3))
    foreign = PIXELS.copy()
    foreign[10:30, 10:30] = 255
    for pixels in (noise, grey, dark, ramp, np.full((64, 64, 3), 255, np.uint8), foreign):
        with pytest.raises(BadCondition, match="is not in the palette"):
            Segmentation.from_colours(pixels, {})


def test_what_is_transparent_is_nothing() -> None:
    alpha = np.full((128, 128, 1), 255, np.uint8)
    pixels = PIXELS.copy()
    pixels[:20], alpha[:20] = 255, 0
    found = Segmentation.from_colours(Image.fromarray(np.concatenate([pixels, alpha], axis=2)), {"sky": "the sky"})
    assert found.mask(found.items[0]).sum() == 44 * 128 - 24 * 60


def indices(nothing: int = 255) -> np.ndarray[Any, Any]:
    pixels = np.full((64, 64), nothing, np.uint8)
    pixels[:32], pixels[40:60, 10:40] = 2, 4
    return pixels


def test_indices_from_0_with_void() -> None:
    for source in (indices(), Image.fromarray(indices()), Image.fromarray(indices()).convert("RGB")):
        found = Segmentation.from_indices(source, {"tree": "a tree"}, base=0)
        assert found.mask(found.items[0]).sum() == 600 and {one.label for one in found.backdrop} == {"sky"}
    assert {one.label for one in Segmentation.from_indices(indices(), {}, nothing=255).backdrop} == {"building", "floor"}
    assert Segmentation.from_indices(indices(9), {}, {2: "cat", 4: "dog"}, nothing=[0, 9]).backdrop[0].label == "cat"
    listed = Segmentation.from_indices(indices(), {}, ["a", "b", "c", "d", "e"])
    assert {one.label for one in listed.backdrop} == {"c", "e"}


def test_a_void_that_nobody_named_is_asked_for() -> None:
    with pytest.raises(BadCondition, match=r"index 255 has no name .*\n.*base = 0"):
        Segmentation.from_indices(indices(), {})
    for more in ({"base": "0"}, {"nothing": "x"}, {"names": {1: "a"}, "base": 0}, {"names": "wall"}):
        with pytest.raises(BadCondition):
            Segmentation.from_indices(indices(), {}, **more)
