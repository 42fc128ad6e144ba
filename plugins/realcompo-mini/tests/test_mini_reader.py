"""The reader's arithmetic on maps made by hand, its truth against the renderer, and its stated accuracy."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from realcompo_mini.reader import JOINTS, LOOKS, Reader, joint_error, mean_iou, peaks, pixel_truth, read_pictures  # noqa: E402
from realcompo_mini.world import load_world  # noqa: E402

KINDS = list(load_world().kinds)


def test_a_peak_is_found_to_a_fraction_of_a_cell() -> None:
    grid = torch.arange(32) + 0.5
    for x, y in ((10.3, 20.7), (1.0, 30.9), (16.0, 16.0)):
        heat = torch.exp(-((grid[None] - x) ** 2 + (grid[:, None] - y) ** 2) / 2)[None, None]
        heat = heat + 0.2 * torch.exp(-((grid[None] - 25) ** 2 + (grid[:, None] - 5) ** 2) / 2)  # a lesser one far away
        found = peaks(heat)[0, 0] * 32
        assert float((found - torch.tensor([x, y])).norm()) < 0.35


def test_joint_error_is_a_distance_in_shares_of_the_picture() -> None:
    found = np.zeros((18, 2))
    found[JOINTS.index("neck")] = (0.5, 0.5)
    assert joint_error(found, {"neck": (0.5, 0.5)}) == 0
    assert joint_error(found, {"neck": (0.8, 0.9)}) == pytest.approx(0.5)
    assert joint_error(found, {"neck": (0.8, 0.9), "nose": (0.0, 0.1)}) == pytest.approx(0.3)


def test_mean_iou_counts_each_kind_that_should_be_there() -> None:
    truth = np.zeros((8, 8), int)
    truth[:, :4], truth[:2, 4:] = 1, 2
    assert mean_iou(truth, truth) == 1
    other = truth.copy()
    other[other == 2] = 3  # of the right shape and the wrong kind
    assert mean_iou(other, truth) == pytest.approx(0.5)
    other = np.ones((8, 8), int)
    assert mean_iou(other, truth) == pytest.approx((32 / 64 + 0) / 2)
    assert mean_iou(other, np.zeros((8, 8), int)) == 1


def test_pixel_truth_is_the_masks_at_half_the_size() -> None:
    masks = np.zeros((2, 128, 128), bool)
    masks[0, :64, :64] = True
    masks[1, 64:, 64:] = True
    truth = pixel_truth(["cat", "person"], masks)
    assert truth.shape == (64, 64)
    assert (truth[:32, :32] == 1 + KINDS.index("cat")).all() and (truth[32:, 32:] == 1 + KINDS.index("person")).all()
    assert (truth[:32, 32:] == 0).all()


def test_a_reader_answers_for_every_picture() -> None:
    torch.manual_seed(0)
    reading = read_pictures(np.full((2, 128, 128, 3), 90, np.uint8), Reader().eval())
    assert reading.looks.shape == (2, 4) and reading.joints.shape == (2, 18, 2) and reading.classes.shape == (2, 64, 64)
    torch.testing.assert_close(reading.looks.sum(1), torch.ones(2))
    assert set(reading.names) <= set(LOOKS) and (reading.joints >= 0).all() and (reading.joints <= 1).all()
    assert int(reading.classes.max()) <= len(KINDS)


def test_what_it_is_taught_is_where_the_renderer_drew(sprites: dict[str, np.ndarray]) -> None:
    train = pytest.importorskip("realcompo_mini.train.reader")
    from realcompo_mini.train.poses import people
    from realcompo_mini.train.render import render

    scene = next(s for k in range(60) if len(people(s := train.scene_of(2 * k + 1, 0), "3d")) == 1)
    heat = train.joint_truth(scene, "3d")
    (points,) = people(scene, "3d").values()
    assert joint_error(peaks(torch.from_numpy(heat)[None])[0].numpy(), points) < 0.01
    picture = render(scene, "3d", sprites)
    truth = pixel_truth([o.kind for o in scene.objects], picture.masks)
    assert set(np.unique(truth)) - {0} <= {1 + KINDS.index(o.kind) for o in scene.objects}
    looks = [train.look_of(k) for k in range(100)]
    assert {look: looks.count(look) for look in LOOKS} == {"3d": 40, "flat": 20, "outline": 20, "cute": 20}


def test_the_shipped_reader_states_its_accuracy() -> None:
    folder = resources.files("realcompo_mini").joinpath("weights/reader")
    if not folder.joinpath("model.safetensors").is_file():
        pytest.skip("this checkout holds no reader")
    stated = json.loads(folder.joinpath("accuracy.json").read_text())
    assert set(stated) == set(LOOKS)
    for row in stated.values():
        assert row["look"] > 0.97 and row["joint_error"] < 0.03 and row["mean_iou"] > 0.7
