"""The renderer's truth: splits apart, captions that the planner's language holds, pictures that repeat, masks inside their boxes."""

from __future__ import annotations

import numpy as np
import pytest
from realcompo_mini.language import parse
from realcompo_mini.world import load_world

scenes = pytest.importorskip("realcompo_mini.train.scenes")


def test_vocabulary_is_consistent() -> None:
    world = load_world()
    words = world.words()
    assert len(words) == len(set(words))
    assert len(world.kinds) == 20
    for kind in world.kinds.values():
        assert kind.name in words and kind.plural in words and kind.name != kind.plural
        assert kind.natural is None or kind.natural in world.colours


def test_scenes_repeat_and_splits_differ() -> None:
    assert scenes.sample_scene("test", 3) == scenes.sample_scene("test", 3)
    captions = {name: [scenes.sample_scene(name, k).objects for k in range(50)] for name in scenes.SPLITS}
    assert not any(a == b for a in captions["train"] for b in captions["test"])


def test_captions_are_sentences() -> None:
    for k in range(300):
        scene = scenes.sample_scene("train", k)
        sentence = parse(scene.caption)
        assert sentence.count == len(scene.objects)
        assert {o.phrase for o in scene.objects} == {item.phrase for item in sentence.items}
        assert all(scene.caption[slice(*o.span)] == o.phrase for o in scene.objects)


def test_blind_scenes_draw_other_attributes() -> None:
    pairs = [(o.phrase, o.colour) for k in range(400) for o in scenes.sample_scene("boxes", k, blind=True).objects if " red " in o.phrase]
    right = sum(colour == "red" for _, colour in pairs) / len(pairs)
    assert right < 0.35  # chance is 0.16, plus the natural colour


def test_pictures_repeat_and_masks_fit() -> None:
    render = pytest.importorskip("realcompo_mini.train.render")
    sprites = {}
    for k in range(3):
        scene = scenes.sample_scene("check", k)
        for o in scene.objects:
            for variant in range(24):
                sprites[f"flat/{o.kind}/{o.colour or ''}/{o.pattern or ''}/{variant}"] = np.full((96, 96, 4), 255, np.uint8)
        one, two = render.render(scene, "flat", sprites), render.render(scene, "flat", sprites)
        assert one.pixels.shape == (128, 128, 3) and (one.pixels == two.pixels).all()
        for o, mask in zip(scene.objects, one.masks, strict=True):
            y, x = np.nonzero(mask)
            assert x.min() >= round(o.box[0] * 128) and x.max() < round(o.box[2] * 128)
            assert y.min() >= round(o.box[1] * 128) and y.max() < round(o.box[3] * 128)
