"""Segmentation: maps, run lengths, polygons, bad input, the drawn map, regions, recipes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import realcompo as rc
from realcompo.builtin.options import SegmentTransferOptions
from realcompo.builtin.transfers import SegmentTransfer
from realcompo.conditions import KINDS, Segmentation
from realcompo.conditions.drawing import draw_segments
from realcompo.conditions.palette import ADE20K, class_of
from realcompo.conditions.runs import decode, encode, fold
from realcompo.errors import BadCondition, RealCompoError
from realcompo.interfaces import Regions
from realcompo.recipes.configuration import resolve
from realcompo.recipes.recipe import PictureEntry, Recipe, dump_condition, read_condition
from realcompo.recipes.writing import write_recipe
from tests import examples

SIDE = 32


def colours() -> np.ndarray[Any, Any]:
    """Sky above grass, two animals apart, and a strip of nothing."""
    pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    pixels[2:20], pixels[20:] = ADE20K["sky"], ADE20K["grass"]
    pixels[18:28, 4:10] = ADE20K["animal"]
    pixels[16:30, 20:30] = ADE20K["animal"]
    return pixels


def indices() -> np.ndarray[Any, Any]:
    names = list(ADE20K)
    numbers = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for name in ("sky", "grass", "animal"):
        numbers[(colours() == ADE20K[name]).all(axis=2)] = names.index(name) + 1
    return numbers


WORDS = {"animal": ["a cat", "a dog"], "sky": "blue sky"}


def box(x0: int, y0: int, x1: int, y1: int) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def coco() -> dict[str, Any]:
    dog = np.zeros((SIDE, SIDE), dtype=bool)
    dog[16:30, 20:30] = True
    rows = [
        {"image_id": 3, "category_id": 17, "segmentation": [box(4, 18, 10, 28)]},
        {"image_id": 3, "category_id": 18, "segmentation": {"size": [SIDE, SIDE], "counts": fold(dog)}},
        {"image_id": 3, "category_id": 63, "segmentation": {"size": [SIDE, SIDE], "counts": encode(~dog)}},
    ]
    names = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}, {"id": 63, "name": "couch"}]
    return {"images": [{"id": 3, "width": SIDE, "height": SIDE}], "annotations": rows, "categories": names}


# -- run lengths ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_run_lengths_read_back(height: int, width: int, seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < density
    assert (decode(encode(mask), (height, width), "") == mask).all()


def test_run_lengths_are_cocos() -> None:
    """Written by pycocotools for these masks."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[3:20, 5:31] = True
    assert encode(mask) == "S5a0?" + 49 * "0" + "m0"
    stripes = np.indices((SIDE, SIDE)).sum(axis=0) % 7 == 0
    assert encode(stripes)[:41] == "016000000030M0000030M0000030M0000030M0000"
    assert hashlib.sha256(encode(stripes).encode()).hexdigest()[:16] == "bd2cfff82f67c5f5"


# -- maps ----------------------------------------------------------------------------------------------------------------------


def test_a_colour_map_is_named_and_split(tmp_path: Path) -> None:
    Image.fromarray(colours()).save(tmp_path / "map.png")
    for source in (tmp_path / "map.png", Image.fromarray(colours()), colours()):
        found = Segmentation.from_colours(source, WORDS)
        assert [(one.phrase, one.label) for one in found.items] == [("a cat", "animal"), ("a dog", "animal"), ("blue sky", "sky")]
        assert [one.label for one in found.backdrop] == ["grass"] and found.size == (SIDE, SIDE)
        assert found.mask(found.items[0]).sum() == 60 and found.mask(found.items[1])[16:30, 20:30].all()
        assert (np.asarray(draw_segments(found, (SIDE, SIDE))) == colours()).all(), "the hint is the map itself"
    together = Segmentation.from_colours(colours(), {"animal": "two animals"})
    assert together.mask(together.items[0]).sum() == 60 + 140


def test_an_index_map_is_the_colour_map(tmp_path: Path) -> None:
    paletted = Image.fromarray(indices(), mode="P")
    paletted.putpalette([part for index in range(256) for part in (index, 0, 0)])
    paletted.save(tmp_path / "map.png")
    wanted = Segmentation.from_colours(colours(), WORDS)
    for source in (tmp_path / "map.png", Image.fromarray(indices()), indices()):
        found = Segmentation.from_indices(source, WORDS)
        assert found.items == wanted.items and {one.label for one in found.backdrop} == {"grass"}
    own = Segmentation.from_indices(np.array([[0, 1], [5, 5]]), {"tree": "a tree"}, {1: "tree", 5: "sky"})
    assert [one.label for one in own.backdrop] == ["sky"]


def test_coco_polygons_and_runs(tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text(json.dumps(coco()))
    found = Segmentation.from_coco(tmp_path / "coco.json", {"cat": "a cat", "dog": "a dog"})
    assert found.items[0].polygons == (tuple(map(float, box(4, 18, 10, 28))),) and found.items[1].rle is not None
    drawn = Segmentation.from_colours(colours(), WORDS)
    for one, other in zip(found.items, drawn.items, strict=False):
        assert (found.mask(one) == drawn.mask(other)).all()
    assert [one.label for one in found.backdrop] == ["couch"]
    hint = np.asarray(draw_segments(found, (SIDE, SIDE)))
    assert tuple(hint[0, 0]) == ADE20K["sofa"] and tuple(hint[20, 5]) == ADE20K["animal"], "COCO's couch is ADE20K's sofa"
    listed = Segmentation.from_coco(coco(), ["a cat", "a dog", "a couch"])
    assert [one.phrase for one in listed.items] == ["a cat", "a dog", "a couch"] and not listed.backdrop


def test_the_palette_and_its_words() -> None:
    assert len(ADE20K) == 150 and len(set(ADE20K.values())) == 149
    assert (ADE20K["wall"], ADE20K["sky"], ADE20K["flag"]) == ((120, 120, 120), (6, 230, 230), (92, 0, 255))
    wanted = {
        "two red cars": "car",
        "a couch": "sofa",
        "the swimming pool": "swimming pool",
        "buses": "bus",
        "a small dog": "animal",
        "sky": "sky",
    }
    assert {words: class_of(words, ADE20K, "") for words in wanted} == wanted


# -- recipes -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".toml", ".yaml", ".json"])
def test_recipes_carry_maps(tmp_path: Path, suffix: str) -> None:
    found = Segmentation.from_coco(coco(), {"cat": "a cat", "dog": "a dog"})
    assert read_condition("segmentation", json.loads(json.dumps(dump_condition(found)))) == found
    assert KINDS["segmentation"] is Segmentation is rc.Segmentation
    picture = PictureEntry(prompt="a cat and a dog", conditions={"segmentation": found})
    recipe = Recipe(branches=("sd/v1-5", "controlnet/seg-sd15"), pictures=(picture,))
    write_recipe(recipe, tmp_path / f"scene{suffix}")
    read = resolve(tmp_path / f"scene{suffix}", folder=tmp_path, user_file=tmp_path / "none").recipe
    assert read.pictures[0].conditions == {"segmentation": found}


def test_a_recipe_may_name_a_map(tmp_path: Path) -> None:
    Image.fromarray(colours()).save(tmp_path / "map.png")
    Image.fromarray(indices()).save(tmp_path / "index.png")
    (tmp_path / "coco.json").write_text(json.dumps(coco()))
    scene = tmp_path / "scene.toml"
    head = 'branches = ["sd/v1-5", "controlnet/seg-sd15"]\n[[pictures]]\nprompt = "a cat and a dog"\n[pictures.conditions.segmentation]\n'

    def read(lines: str) -> Any:
        scene.write_text(head + lines)
        return resolve(scene, folder=tmp_path, user_file=tmp_path / "none").recipe.pictures[0].conditions["segmentation"]

    words = 'phrases = { animal = ["a cat", "a dog"] }'
    assert read(f'file = "map.png"\n{words}').items == read(f'file = "index.png"\n{words}').items
    assert len(read('file = "coco.json"\nphrases = { cat = "a cat" }').backdrop) == 2
    assert read('file = "index.png"\nnames = { 3 = "sky", 10 = "grass", 127 = "cat" }\nphrases = { cat = "a cat" }').items[0].label == "cat"
    for lines, said in (
        (f'file = "../map.png"\n{words}', "leads outside"),
        (f'file = "scene.toml"\n{words}', "it is no PNG"),
        ('file = "map.png"\nphrases = { dog = "a dog" }', "it holds no 'dog'"),
        (f'file = "map.png"\nformat = "indices"\n{words}', "a picture of colours"),
        ('file = "map.png"\nnames = { 3 = "sky" }\nphrases = { sky = "sky" }', "cannot be read as colours"),
    ):
        with pytest.raises(RealCompoError, match=said):
            read(lines)


# -- bad input -----------------------------------------------------------------------------------------------------------------


def _stray() -> np.ndarray[Any, Any]:
    pixels = colours()
    pixels[21:24, 13:17] = (7, 29, 231)
    return pixels


def _one(**segment: Any) -> Segmentation:
    return Segmentation(items=[{"phrase": "a cat", **segment}], size=(8, 8))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Segmentation.from_colours(_stray(), WORDS),
            r"\(7, 29, 231\) is not in the palette \(first at x = 14, y = 22; 2 pixels of 1024 cannot be read\)\n.*'sea'",
        ),
        (lambda: Segmentation.from_colours(np.zeros((8, 8, 3), np.uint8), {}), "every pixel is of no class"),
        (lambda: Segmentation.from_colours(colours(), {"car": "a car"}), "it holds no 'car'"),
        (lambda: Segmentation.from_colours(colours(), {"animal": ["a", "b", "c"]}), "'animal' stands 2 times, with words for 3"),
        (lambda: Segmentation.from_colours(np.zeros((8, 5000, 3), np.uint8), {}), "5000×8 pixels"),
        (lambda: Segmentation.from_colours(Image.new("RGB", (5000, 8)), {}), "5000×8 pixels"),
        (lambda: Segmentation.from_colours("gone.png", {}), "no such file"),
        (lambda: Segmentation.from_colours(colours().astype(float), {}), "an array of shape"),
        (lambda: Segmentation.from_indices(np.full((8, 8), 200), {}), r"the index 200 has no name \(first at x = 0, y = 0; 64 pixels\)"),
        (lambda: Segmentation.from_coco(coco(), ["a cat"]), "1 phrases for 3 annotations"),
        (lambda: Segmentation.from_coco(coco(), {"cat": ["a cat", "a cat"]}), "'cat' stands 1 times, with words for 2"),
        (lambda: _one(), "told by rle or by polygons"),
        (lambda: _one(rle="`2"), "add up to|longer than the map"),
        (lambda: _one(rle="0 "), "is no part of a run-length code"),
        (lambda: _one(rle="`"), "cut short"),
        (lambda: _one(rle=[64]), "it covers no pixel"),
        (lambda: _one(rle=[10, 10]), "add up to 20 pixels, its size says 8×8 = 64"),
        (lambda: _one(polygons=[box(0, 0, 80, 8)]), "a polygon leaves the map"),
        (lambda: _one(polygons=[[0, 0, 1, 1]]), "a polygon of 4 numbers"),
        (lambda: _one(polygons=[box(0, 0, 8, 8)], phrase=" "), "a segment without a phrase"),
        (lambda: Segmentation(backdrop=[{"polygons": [box(0, 0, 8, 8)]}], size=(8, 8)), "a backdrop without a label"),
        (lambda: Segmentation(size=(8, 100_000)), "a map of 100000×8 pixels"),
        (lambda: draw_segments(_one(polygons=[box(0, 0, 8, 8)], label="unicorn"), (8, 8)), "'unicorn' names no class of the palette"),
    ],
)
def test_bad_maps_are_named(make: Any, said: str) -> None:
    with pytest.raises(BadCondition, match=said):
        make()


def test_indices_from_a_jpeg_are_refused(tmp_path: Path) -> None:
    """A mixture of two numbers is a third class: nothing can mend it."""
    Image.fromarray(indices()).save(tmp_path / "map.jpg")
    with pytest.raises(BadCondition, match=r"it is no PNG\n.*JPEG and WebP change its numbers"):
        Segmentation.from_indices(tmp_path / "map.jpg", WORDS)


def test_another_shape_is_refused() -> None:
    found = _one(polygons=[box(0, 0, 8, 8)], label="animal")
    for use in (lambda size: SegmentTransfer()(found, size), lambda size: draw_segments(found, size)):
        use((768, 768))
        with pytest.raises(BadCondition, match=r"the map is 8×8 pixels .*, the picture 768×512"):
            use((512, 768))


# -- regions -------------------------------------------------------------------------------------------------------------------


def test_a_segment_is_its_rectangle_or_its_pixels() -> None:
    found = Segmentation(items=[{"phrase": "a cat", "polygons": [[4, 4, 28, 4, 4, 28]]}], size=(32, 32))
    (rectangle,) = SegmentTransfer()(found, (512, 512))
    assert rectangle.box == pytest.approx((4 / 32, 4 / 32, 27 / 32, 27 / 32), abs=1 / 32) and rectangle.mask is None
    (exact,) = SegmentTransfer(SegmentTransferOptions(shape="exact"))(found, (512, 512))
    assert exact.box is None and exact.mask is not None and exact.mask.sum() == pytest.approx(288, abs=30)
    covered = [float(Regions(((region,),)).masks(16, 16).sum()) for region in (rectangle, exact)]
    assert covered[1] < 0.6 * covered[0]
