"""A single file as the source of any branch draws what its folder draws; a file of another family is refused before its weights."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.errors import BadCheckpoint
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.testing.originals import UNET, save_original
from realcompo.toolkit.options import UNetOptions
from realcompo.toolkit.single_file import open_single_file

Fetch = Callable[[str], Path]
BRANCHES = {"sd1": "sd/v1-5", "sd2": "sd/v2-1-base", "sd2-v": "sd/v2-1", "sdxl": "sd/xl-base"}
PROMPT, NEGATIVE = "a photo of a cat and a dog", "a blue car"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("nobody asked for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def draw(branch: Any) -> torch.Tensor:
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    return draw_alone(branch, request((PROMPT,), negatives=(NEGATIVE,)), noise)


@pytest.mark.parametrize("family", BRANCHES)
def test_latents_are_those_of_the_folder(checkpoint: Fetch, tmp_path: Path, family: str) -> None:
    folder, id = checkpoint(family), BRANCHES[family]
    file = save_original(folder, tmp_path / "model.safetensors")
    mine = Registry().branch(id, {"config": str(folder)}, source=str(file))
    theirs = Registry().branch(id, source=str(folder))
    want = draw(theirs)
    assert relative(want, draw(mine)) < 1e-6
    assert mine.traits == theirs.traits
    one = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    assert mine.decode(one)[0].tobytes() == theirs.decode(one)[0].tobytes()
    # the control: other weights are another picture
    save_original(folder, file, lambda t: {k: x * 1.5 if k.startswith(UNET + "output_blocks") and x.ndim > 1 else x for k, x in t.items()})
    other = Registry().branch(id, {"config": str(folder)}, source=str(file))
    assert relative(want, draw(other)) > 1e-2


@pytest.mark.parametrize(
    ("name", "mark", "predicts"),
    [
        ("prediction_type", "v", "v_prediction"),
        ("predict_key", "v", "v_prediction"),
        ("predict_key", "epsilon", "epsilon"),
        ("architecture", "stable-diffusion-v2-768-v", "v_prediction"),
        ("architecture", "stable-diffusion-v2-512", "epsilon"),
        ("architecture", "stable-diffusion-v2-unclip-l", None),
    ],
)
def test_what_a_files_metadata_tells_of_sd2(checkpoint: Fetch, tmp_path: Path, name: str, mark: str, predicts: str | None) -> None:
    """As Stability's model metadata, and ComfyUI, have it; what they do not tell is asked."""
    found = open_single_file(save_original(checkpoint("sd2"), tmp_path / "model.safetensors"), UNetOptions())
    assert found.predicts is None, "the control: without"
    told = replace(found, file=replace(found.file, metadata={f"modelspec.{name}": mark}))
    assert told.predicts == predicts


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_prediction_type_decides_what_sd2_draws(checkpoint: Fetch, tmp_path: Path, predicts: str) -> None:
    """The tensors of both are alike: only the option tells."""
    import shutil

    folder = Path(shutil.copytree(checkpoint("sd2"), tmp_path / "configs"))
    shutil.rmtree(folder / "scheduler")
    file = str(save_original(checkpoint("sd2"), tmp_path / "model.safetensors"))
    with pytest.raises(BadCheckpoint, match="nothing in it tells whether it predicts noise or v"):
        Registry().inspect("sd/v2-1", {"config": str(folder)}, file)
    told = Registry().branch("sd/v2-1", {"config": str(folder), "prediction_type": predicts}, source=file)
    assert told.traits.prediction_type == predicts
    oracle = Registry().branch("sd/v2-1-base", {"prediction_type": predicts}, source=str(checkpoint("sd2")))
    assert relative(draw(oracle), draw(told)) < 1e-6
    other = "epsilon" if predicts == "v_prediction" else "v_prediction"
    assert relative(draw(Registry().branch("sd/v2-1-base", {"prediction_type": other}, source=str(checkpoint("sd2")))), draw(told)) > 1e-2


@pytest.mark.parametrize(
    ("family", "id", "message"),
    [
        ("sdxl", "sd/v1-5", "SDXL"),
        ("sdxl", "sd/v2-1", "SDXL"),
        ("sd1", "sd/xl-base", "SD 1.x"),
        ("sd2", "sd/xl-base", "SD 2.x"),
    ],
)
def test_a_file_of_another_family(
    checkpoint: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, id: str, message: str
) -> None:
    file = save_original(checkpoint(family), tmp_path / "model.safetensors")
    monkeypatch.setattr("realcompo.toolkit.tensor_files.TensorFile.read", lambda *_: pytest.fail("it read weights"))
    with pytest.raises(BadCheckpoint, match=f"a single file of {message} in the original layout"):
        Registry().branch(id, {"config": str(checkpoint(family))}, source=str(file))
