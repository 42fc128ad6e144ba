"""A pose from a photo: our part with a detector made by hand, and controlnet-aux's own reading of maps where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from realcompo_controlnet.photo import SEEN_SIDE, load_detector, main, poses

from realcompo.conditions import Keypoints
from realcompo.conditions.keypoints import OPENPOSE_18
from realcompo.conditions.skeletons import skeleton
from realcompo.errors import BadCheckpoint, BadCondition

LEFT, RIGHT = skeleton("waving", (0.05, 0.1, 0.45, 0.9)), skeleton("walking", (0.55, 0.1, 0.95, 0.9))


class ByHand:
    """Finds the people that it was made with, and remembers what it was shown."""

    def __init__(self, *people: dict[str, tuple[float, float]]) -> None:
        self.people, self.shown = people, (0, 0, 0)

    def detect_poses(self, oriImg: np.ndarray) -> list[Any]:
        self.shown = oriImg.shape
        return [
            SimpleNamespace(
                body=SimpleNamespace(keypoints=[SimpleNamespace(x=p[n][0], y=p[n][1]) if n in p else None for n in OPENPOSE_18])
            )
            for p in self.people
        ]


def test_people_stand_from_left_to_right_in_pixels_of_the_photo(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (1600, 1200), "grey").save(photo)
    armless = {name: point for name, point in RIGHT.items() if "wrist" not in name}
    detector = ByHand(armless, LEFT)
    found = poses(photo, detector)
    assert detector.shown == (SEEN_SIDE * 3 // 4, SEEN_SIDE, 3) and (found["canvas_width"], found["canvas_height"]) == (1600, 1200)
    pose = Keypoints.from_openpose(json.loads(json.dumps(found)), ["a waver", "a walker"])
    assert pose.size == (1200, 1600)
    for person, wanted in zip(pose.items, (LEFT, armless), strict=True):
        assert set(person.points) == set(wanted)
        for name, point in wanted.items():
            assert person.points[name] == pytest.approx(point, abs=1e-4)


def test_a_photo_on_its_side_is_turned_first(tmp_path: Path) -> None:
    photo, exif = tmp_path / "photo.jpg", Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (640, 480)).save(photo, exif=exif)
    detector = ByHand(LEFT)
    assert poses(photo, detector)["canvas_width"] == 480 and detector.shown == (640, 480, 3)


def test_what_is_no_photo_or_shows_nobody_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadCondition, match="nobody was found"):
        poses(Image.new("RGB", (64, 64)), ByHand())
    with pytest.raises(BadCondition, match="no such photo"):
        poses(tmp_path / "none.jpg", ByHand(LEFT))
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(BadCondition, match="it cannot be read"):
        poses(tmp_path / "text.jpg", ByHand(LEFT))


def test_weights_are_told_before_anything_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors.torch import save_file

    pickled, other = tmp_path / "body_pose_model.pth", tmp_path / "other.safetensors"
    torch.save({"conv1_1.weight": torch.zeros(1)}, pickled)
    with pytest.raises(BadCheckpoint, match="it is pickled"):
        load_detector(pickled)
    with pytest.raises(BadCheckpoint, match="no such file"):
        load_detector(tmp_path / "none.pth")
    save_file({"conv1_1.weight": torch.zeros(1)}, other)
    with pytest.raises(BadCheckpoint, match=r"needs the package controlnet-aux|not OpenPose's network"):
        load_detector(other)
    with pytest.raises(SystemExit) as stopped:
        main(["photo.jpg", "--weights", str(pickled), "-o", str(tmp_path / "pose.json")])
    assert stopped.value.code == 2 and "allow_pickle" in capsys.readouterr().err and not (tmp_path / "pose.json").exists()


def test_without_the_network_the_hub_s_cache_must_hold_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadCheckpoint, match=r"not in the local cache.*\n.*hf download lllyasviel/Annotators"):
        load_detector()


def test_controlnet_aux_reads_people_from_maps_as_we_name_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights through the real path; then maps that show two people by construction: its parser must give back our skeletons."""
    pytest.importorskip("controlnet_aux", reason="the extra realcompo-controlnet[photo] is not installed")
    import torch
    from controlnet_aux.open_pose.model import bodypose_model
    from safetensors.torch import save_file

    torch.manual_seed(0)
    made = bodypose_model()
    save_file({name.partition(".")[2]: tensor for name, tensor in made.state_dict().items()}, tmp_path / "body.safetensors")
    detector: Any = load_detector(tmp_path / "body.safetensors")
    for name, tensor in detector.body_estimation.model.state_dict().items():
        assert torch.equal(tensor, made.state_dict()[name])
    detector.body_estimation.model = Shown((LEFT, RIGHT))
    pose = Keypoints.from_openpose(poses(Image.new("RGB", (768, 768)), detector), ["a waver", "a walker"])
    for person, wanted in zip(pose.items, (LEFT, RIGHT), strict=True):
        assert set(person.points) == set(wanted)
        for name, point in wanted.items():
            assert person.points[name] == pytest.approx(point, abs=0.03), name


# OpenPose's limbs (points from 1) and the two channels of each in its vector field, from 19
LIMBS = [(2, 3), (2, 6), (3, 4), (4, 5), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11), (2, 12), (12, 13), (13, 14), (2, 1), (1, 15), (15, 17), (1, 16), (16, 18), (3, 17), (6, 18)]  # fmt: skip # noqa: E501
FIELDS = [31, 39, 33, 35, 41, 43, 19, 21, 23, 25, 27, 29, 47, 49, 53, 51, 55, 37, 45]


class Shown:
    """In place of OpenPose's network: fields and heat maps at an eighth of the picture that show given people."""

    def __init__(self, people: Any) -> None:
        self.people = people

    def parameters(self) -> Any:
        import torch

        return iter([torch.zeros(1)])

    def __call__(self, data: Any) -> Any:
        import torch

        height, width = data.shape[2] // 8, data.shape[3] // 8
        ys, xs = np.mgrid[:height, :width] + 0.5
        fields, heat = np.zeros((38, height, width), np.float32), np.zeros((19, height, width), np.float32)
        for person in self.people:
            at = [np.array([person[n][0] * width, person[n][1] * height]) for n in OPENPOSE_18]
            for k, (x, y) in enumerate(at):
                heat[k] = np.maximum(heat[k], np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 0.6))
            for (a, b), channel in zip(LIMBS, FIELDS, strict=True):
                start, end = at[a - 1], at[b - 1]
                along = (end - start) / max(np.hypot(*(end - start)), 1e-6)
                share = np.clip(((xs - start[0]) * along[0] + (ys - start[1]) * along[1]), 0, np.hypot(*(end - start)))
                near = np.hypot(xs - start[0] - share * along[0], ys - start[1] - share * along[1]) < 1.2
                for axis in (0, 1):
                    fields[channel - 19 + axis][near] = along[axis]
        return torch.from_numpy(fields)[None], torch.from_numpy(heat)[None]


@pytest.mark.parametrize(
    ("told", "said", "fetches"),
    [
        (None, False, False),
        ("", False, False),
        ("0", False, False),
        ("1", False, True),
        ("yes", False, True),
        (None, True, True),
        ("0", True, True),
    ],
)
def test_the_network_is_asked_as_the_loader_asks_it(told: str | None, said: bool, fetches: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By REALCOMPO_DOWNLOAD or by the argument, and never else."""
    import huggingface_hub

    asked: list[bool] = []

    def fetch(repository: str, name: str, *, local_files_only: bool) -> str:
        asked.append(not local_files_only)
        raise OSError("nothing here")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    monkeypatch.delenv("REALCOMPO_DOWNLOAD", raising=False)
    if told is not None:
        monkeypatch.setenv("REALCOMPO_DOWNLOAD", told)
    with pytest.raises(BadCheckpoint, match="cannot be fetched" if fetches else r"not in the local cache[\s\S]*REALCOMPO_DOWNLOAD=1"):
        load_detector(download=said)
    assert asked == [fetches]


def test_a_place_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(photo)
    (tmp_path / "pose.json").mkdir()
    monkeypatch.setattr("realcompo_controlnet.photo.load_detector", lambda *_, **__: ByHand(LEFT))
    with pytest.raises(SystemExit) as stopped:
        main([str(photo), "-o", str(tmp_path / "pose.json")])
    assert stopped.value.code == 2 and "it cannot be written" in capsys.readouterr().err
