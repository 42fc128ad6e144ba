"""Single files of the published architectures, as large as they are and without numbers: no configs needed, and every tensor has its place.

CLIP's tokenizer, which ships with us and is in none of them, is CLIP's.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.errors import BadCheckpoint
from realcompo.specs import BranchSpec
from realcompo.testing.originals import (
    CLIP,
    OPEN_CLIP,
    UNET,
    VAE,
    XL_CLIP,
    XL_OPEN_CLIP,
    clip_tensors,
    open_clip_tensors,
    unet_tensors,
    vae_tensors,
)
from realcompo.toolkit import Loader, TextEncoding, UNetBranch, UNetOptions, open_checkpoint
from realcompo.toolkit.configs import clip_tokenizer, published
from realcompo.toolkit.conversion import empty_network

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
pytestmark = pytest.mark.usefixtures("nobody_asks")
PUBLISHED = {
    ("sd1", "unet"): 859_520_964,
    ("sd2", "unet"): 865_910_724,
    ("sdxl", "unet"): 2_567_463_684,
    ("sd1", "vae"): 83_653_863,
    ("sd2", "vae"): 83_653_863,
    ("sdxl", "vae"): 83_653_863,
    ("sd1", "text_encoder"): 123_060_480,
    ("sd2", "text_encoder"): 340_387_840,
    ("sdxl", "text_encoder"): 123_060_480,
    ("sdxl", "text_encoder_2"): 694_659_840,
}
"""How many parameters the published networks have."""


@pytest.fixture(scope="module")
def full() -> Mapping[str, dict[str, tuple[int, ...]]]:
    """Family → names and shapes of a published single file. The networks have no numbers."""
    networks: dict[tuple[str, str], Any] = {}
    for family, part in PUBLISHED:
        config = published(family)[part]
        library = "diffusers" if "_class_name" in config else "transformers"
        name = config.get("_class_name") or config["architectures"][0]
        networks[family, part] = empty_network(config, library, name)
        assert sum(parameter.numel() for parameter in networks[family, part].parameters()) == PUBLISHED[family, part], (family, part)

    def state(family: str, part: str) -> dict[str, Any]:
        return dict(networks[family, part].state_dict())

    found = {}
    for family in ("sd1", "sd2", "sdxl"):
        tensors = {UNET + name: t for name, t in unet_tensors(state(family, "unet"), networks[family, "unet"].config).items()}
        tensors |= {VAE + name: t for name, t in vae_tensors(state(family, "vae"), networks[family, "vae"].config).items()}
        if family == "sd2":
            tensors |= {OPEN_CLIP + name: t for name, t in open_clip_tensors(state(family, "text_encoder")).items()}
        else:
            prefix = CLIP if family == "sd1" else XL_CLIP
            tensors |= {prefix + name: t for name, t in clip_tensors(state(family, "text_encoder")).items()}
        if family == "sdxl":
            tensors |= {XL_OPEN_CLIP + name: t for name, t in open_clip_tensors(state(family, "text_encoder_2")).items()}
        found[family] = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return found


def hollow(file: Path, shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> Path:
    """A safetensors file of these shapes in half precision, whose numbers take no room on the disk."""
    table: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * torch.Size(shape).numel()
        table[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(table).encode()
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        out.truncate(8 + len(header) + end)
    return file


@pytest.mark.parametrize(
    ("family", "options", "expected"),
    [
        ("sd1", {}, ("sd", "SD 1.x", "epsilon", (512, 512))),
        ("sd1", {"prediction_type": "v_prediction"}, ("sd", "SD 1.x", "v_prediction", (512, 512))),
        ("sd2", {"prediction_type": "v_prediction"}, ("sd", "SD 2.x", "v_prediction", (768, 768))),
        ("sd2", {"prediction_type": "epsilon"}, ("sd", "SD 2.x", "epsilon", (512, 512))),
        ("sdxl", {}, ("sdxl", "SDXL", "epsilon", (1024, 1024))),
    ],
)
def test_a_published_file_needs_no_configs(full: Any, tmp_path: Path, unread: None, family: str, options: Any, expected: Any) -> None:
    file = hollow(tmp_path / "model.safetensors", full[family])
    found = UNetBranch.inspect(SPEC, UNetOptions(**options), str(file))
    assert (found.latent.name, found.family, found.prediction_type, found.default_size) == expected
    assert found.schedule.process == (1000, 0.00085, 0.012, "scaled_linear", False)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_every_tensor_of_a_published_file_has_its_place(full: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """The loader's comparison of names and shapes passes; then it would read."""
    options = UNetOptions(prediction_type="epsilon")
    opened = open_checkpoint(hollow(tmp_path / "model.safetensors", full[family]), options)
    monkeypatch.setattr("realcompo.toolkit.tensor_files.TensorFile.read", lambda *_: (_ for _ in ()).throw(InterruptedError))
    for part in [part for there, part in PUBLISHED if there == family]:
        with pytest.raises(InterruptedError):
            Loader(opened, options, share=False).module(part)


def test_what_a_file_predicts_is_asked_for(full: Any, tmp_path: Path) -> None:
    file = hollow(tmp_path / "model.safetensors", full["sd2"])
    with pytest.raises(BadCheckpoint, match=r"SD 2.x in the original layout, and nothing in it tells[\s\S]*option prediction_type"):
        UNetBranch.inspect(SPEC, UNetOptions(), str(file))
    for mark, told in (("v", "v_prediction"), ("epsilon", "epsilon")):  # trainers write it down
        hollow(file, full["sd2"], **{"modelspec.prediction_type": mark})
        assert UNetBranch.inspect(SPEC, UNetOptions(), str(file)).prediction_type == told
    hollow(file, {**full["sdxl"], "v_pred": (0,), "ztsnr": (0,)})
    found = UNetBranch.inspect(SPEC, UNetOptions(), str(file))
    assert found.prediction_type == "v_prediction" and found.schedule.rescale_betas_zero_snr


def test_the_shipped_tokenizer_is_clips() -> None:
    """Ids as they are published in CLIP's and transformers' own documentation."""
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("hello world!")["input_ids"] == [49406, 3306, 1002, 256, 49407]
    padded = [clip_tokenizer(pad)("a dog", padding="max_length")["input_ids"] for pad in ("<|endoftext|>", "!")]
    assert [ids[:4] for ids in padded] == [[49406, 320, 1929, 49407]] * 2 and [ids[-1] for ids in padded] == [49407, 0]
    assert all(len(ids) == 77 for ids in padded)


def test_phrases_are_found_with_it(full: Any, tmp_path: Path, unread: None) -> None:
    file = hollow(tmp_path / "model.safetensors", full["sd1"])
    text = TextEncoding.from_checkpoint(open_checkpoint(file, UNetOptions()))
    assert text.token_texts("a Photo of a cat", [2, 5]) == ("Photo", "cat")
    assert not text.tokenizer("naïve 🎈 x")["input_ids"].count(49408)
