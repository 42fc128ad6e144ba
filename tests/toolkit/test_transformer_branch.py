"""What a transformer's branch owes beyond parity: text encoders that come and go, half precision, sharing, T5's own tokenizer file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from realcompo.conditions import Boxes
from realcompo.errors import BadCheckpoint
from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.toolkit.sequences import T5Encoding, folded
from realcompo.toolkit.tokenizers import T5, read_tokenizer

PROMPT = "a photo of a cat and a dog"
PETS = Boxes({"a cat": (0.0, 0.0, 0.5, 1.0), "a dog": (0.5, 0.0, 1.0, 1.0)})
CASES = {"pixart": "pixart/alpha", "sd3": "sd3/medium", "flux": "flux/dev", "z-image": "z-image/base"}


def noise(one: Any) -> torch.Tensor:
    return torch.randn(1, one.traits.latent.channels, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", CASES)
def test_text_encoders_come_and_go(checkpoint: Any, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `offload_text` they are brought to the network's device to encode and sent back, after an error too, and `to` leaves them."""
    source = str(checkpoint(family))
    one, plain = (Registry().branch(CASES[family], {"offload_text": offload}, source=source) for offload in (True, False))
    moved: list[tuple[int, Any]] = []
    to = nn.Module.to

    def watched(self: Any, *where: Any, **more: Any) -> Any:
        moved.append((id(self), str(where[0])))
        return to(self, *where, **more)

    monkeypatch.setattr(nn.Module, "to", watched)
    asked = request((PROMPT,), conditions=(PETS,), guidance_scale=2.0)
    found = one.encode(asked)
    encoders = [id(network) for network in one.text.encoders]
    assert [which for which, _ in moved if which in encoders] == encoders * 2, "each to the device, and back"
    assert torch.equal(found.conditional.hidden, plain.encode(asked).conditional.hidden)
    moved.clear()
    one.to("cpu")
    assert not [which for which, _ in moved if which in encoders] and id(one.transformer) in [which for which, _ in moved]
    with pytest.raises(Exception, match="boom"), monkeypatch.context() as patch:
        patch.setattr(type(one.text), "encode", lambda *_: (_ for _ in ()).throw(RuntimeError("boom")))
        one.encode(asked)
    assert [which for which, _ in moved if which in encoders] == encoders * 2


@pytest.mark.parametrize("family", CASES)
def test_bfloat16_draws_what_float32_draws(checkpoint: Any, family: str) -> None:
    """One prediction and its maps: of the same dtype as z, and as near as bfloat16 is."""
    source = str(checkpoint(family))
    full, half = (Registry().branch(CASES[family], source=source, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert half.transformer.dtype == torch.bfloat16 and full.transformer is not half.transformer
    step = Solver("ddim", full.traits.schedule, 10, full.traits.prediction_type).steps[4]
    asked = request((PROMPT,), conditions=(PETS,), guidance_scale=2.0)
    told = [one.predict(noise(one), step, one.encode(asked), read=True) for one in (full, half)]
    assert told[1].noise.dtype == torch.float32 and told[1].maps.dtype == torch.float32
    print(f"{family}: noise {relative(told[0].noise, told[1].noise):.3f}, maps {relative(told[0].maps, told[1].maps):.3f}")
    assert relative(told[0].noise, told[1].noise.detach()) < 0.3 and relative(told[0].maps, told[1].maps.detach()) < 0.3


def test_one_network_on_both_sides(checkpoint: Any) -> None:
    source = str(checkpoint("controlnet-sd3"))
    spatial, fidelity = Registry().branch("sd3/pose", source=source), Registry().branch("sd3/medium", source=source)
    assert spatial.transformer is fidelity.transformer and spatial.text.encoders == fidelity.text.encoders
    assert spatial.vae is None and spatial.encoder is fidelity.vae
    assert set(spatial.fingerprint()) == {"transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "vae", "controlnet"}


def test_pictures_are_decoded_in_their_own_space(checkpoint: Any) -> None:
    """The shift of 16-channel latents is part of it."""
    one = Registry().branch("flux/dev", source=str(checkpoint("flux")))
    z = draw_alone(one, request((PROMPT,), guidance_scale=3.5), noise(one), steps=2)
    with torch.no_grad():
        pixels = one.vae.decode(z / 0.3611 + 0.1159).sample[0]
    expected = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert (torch.from_numpy(expected) == torch.from_numpy(__import__("numpy").asarray(one.decode(z)[0]).copy())).all()


def test_words_in_lower_case_are_found_where_they_stand() -> None:
    """PixArt's prompts are folded before they are read; regions' spans count characters of the prompt as it was written."""
    text = folded("  A Cat and İstanbul ")
    assert text.text == "  A Cat and İstanbul ".lower().strip()
    start = text.text.index("cat")
    assert text.original(start, start + 3) == (4, 7)
    end = text.text.index("stanbul")
    assert text.original(end, end + 7) == (13, 20)


def test_t5s_own_file(tmp_path: Path) -> None:
    """A `spiece.model`, as the published checkpoints have it: read where sentencepiece is installed, and said where it is not."""
    spm = pytest.importorskip("sentencepiece", reason="the extra t5 is not installed")
    pytest.importorskip("google.protobuf", reason="the extra t5 is not installed")
    text = tmp_path / "words.txt"
    said = ["a photo of a cat and a dog", "a red balloon on the grass", "two black cats under the sky"]
    text.write_text("\n".join(said * 20), encoding="utf-8")
    told = {"vocab_size": 48, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "hard_vocab_limit": False}
    spm.SentencePieceTrainer.train(input=str(text), model_prefix=str(tmp_path / "spiece"), minloglevel=2, **told)
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    shutil.move(tmp_path / "spiece.model", folder / "spiece.model")
    tokenizer = read_tokenizer(folder, T5)
    words = T5Encoding(tokenizer, length=30)
    regions = request((PROMPT,), conditions=(PETS,)).regions.pictures[0]
    found = words.tokens(PROMPT, regions)
    for indices, word in zip(found, ("cat", "dog"), strict=True):  # a space of its own stands at the letter after it
        said = "".join(words.token_texts(PROMPT, indices))
        assert word in said and set(said.strip()) == set(word)


def test_t5s_own_file_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    (tmp_path / "spiece.model").write_bytes(b"\x0a")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadCheckpoint, match="needs the package sentencepiece"):
        read_tokenizer(tmp_path, T5)
    (tmp_path / "spiece.model").unlink()
    with pytest.raises(BadCheckpoint, match=r"spiece\.model is missing"):
        read_tokenizer(tmp_path, T5)
