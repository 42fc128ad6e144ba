"""Files as people have them: what is no weights is called what it is, wrappers' prefixes, a VAE of one's own, compiled pipelines."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from realcompo.errors import BadCheckpoint, BadOption
from realcompo.specs import BranchSpec
from realcompo.testing.checkpoints import rewrite_tensors
from realcompo.testing.originals import save_original, vae_tensors
from realcompo.toolkit import UNetBranch, UNetOptions

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
Fetch = Callable[[str], Path]


@pytest.fixture
def copy(checkpoint: Fetch, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint("sd1"), tmp_path / "sd1"))


def saved() -> bytes:
    buffer = io.BytesIO()
    torch.save({"x": torch.ones(3)}, buffer)
    return buffer.getvalue()


STRANGE = {
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 3438167540\n",
    "an HTML page": b"\n<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
    "an XML page": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "a JSON answer of a server": b'{"error": "Repository not found"}',
    "an index of weights": b'{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}',
    "a pickle": pickle.dumps({"state_dict": {}}),
    "a pickle, whatever its name says": saved(),
    "a GGUF file": b"GGUF\x03\0\0\0" + b"\0" * 40,
    "a text": b"Entry not found",
    "it is empty": b"",
    "nothing but zeros": b"\0" * 5000,
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + b"\0" * 20,
    "a gzip archive": b"\x1f\x8b\x08\0aaaa",
    "a PNG picture": b"\x89PNG\r\n\x1a\naaaa",
}


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.parametrize("place", ["part", "source", "lora", "vae"])
def test_called_what_it_is(copy: Path, tmp_path: Path, what: str, place: str) -> None:
    """Wherever it is read, before any weight is loaded, in a few words."""
    file, options, source = tmp_path / "model.safetensors", UNetOptions(), str(copy)
    if place == "part":
        file = copy / WEIGHTS
    elif place == "source":
        source = str(file)
    else:
        options = UNetOptions(**{place: str(file)})
    file.write_bytes(STRANGE[what])
    with pytest.raises(BadCheckpoint, match=what) as error:
        UNetBranch.inspect(SPEC, options, source)
    assert len(str(error.value)) < 500 and "mend:" in str(error.value)


def test_configs_and_unfinished_downloads(copy: Path) -> None:
    (copy / WEIGHTS).rename(copy / f"{WEIGHTS}.crdownload")
    with pytest.raises(BadCheckpoint, match="a download that is not finished"):
        UNetBranch(SPEC, UNetOptions(), source=str(copy))
    with pytest.raises(BadCheckpoint, match="is a download that is not finished"):
        UNetBranch.inspect(SPEC, UNetOptions(), str(copy / f"{WEIGHTS}.crdownload"))
    with pytest.raises(BadCheckpoint, match="is a folder"):
        UNetBranch.inspect(SPEC, UNetOptions(lora=str(copy)), str(copy))
    (copy / "unet" / "config.json").write_bytes(STRANGE["a Git LFS pointer"])
    with pytest.raises(BadCheckpoint, match=r"config.json is a Git LFS pointer"):
        UNetBranch.inspect(SPEC, UNetOptions(), str(copy))


def test_truncated_says_how_much_is_there(copy: Path) -> None:
    data = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(data[:-100])
    with pytest.raises(BadCheckpoint, match=f"{len(data) - 100:,} of its {len(data):,} bytes are there"):
        UNetBranch.inspect(SPEC, UNetOptions(), str(copy))


def test_missing_shards(copy: Path) -> None:
    (copy / WEIGHTS).rename(copy / "unet/diffusion_pytorch_model-00001-of-00003.safetensors")
    with pytest.raises(BadCheckpoint, match="2 of the 3 files of its weights are missing, number 2 first"):
        UNetBranch.inspect(SPEC, UNetOptions(), str(copy))


@pytest.mark.parametrize(
    "prefix",
    ["state_dict.", "module.", "_orig_mod.", "model.", "state_dict.module.", "state_dict.model.", "module._orig_mod.", "net.model."],
)
def test_wrappers_in_front(copy: Path, prefix: str) -> None:
    want = UNetBranch(SPEC, UNetOptions(), source=str(copy))
    file = save_original(copy, copy / "one.safetensors", lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})
    mine = UNetBranch(SPEC, UNetOptions(), source=str(file))  # the configs of its shape lie beside it
    for have, theirs in ((mine.unet, want.unet), (mine.vae, want.vae), (mine.text.encoder, want.text.encoder)):
        assert all(torch.equal(a, b) for a, b in zip(have.state_dict().values(), theirs.state_dict().values(), strict=True))


# -- a folder's own code ------------------------------------------------------------------------------------------------------


def test_code_is_never_run(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    (copy / "own.py").write_text("raise SystemExit('it ran')")
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "unet": ["own", "Own"]}))
    with pytest.raises(BadCheckpoint, match="its unet is a class of its own"):
        UNetBranch.inspect(SPEC, UNetOptions(), str(copy))
    (copy / "model_index.json").write_text(json.dumps({**index, "_class_name": ["own", "Own"]}))
    config = json.loads((copy / "tokenizer" / "tokenizer_config.json").read_text())
    known = {**config, "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (copy / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(known))
    shutil.copy(copy / "own.py", copy / "tokenizer" / "own.py")
    assert UNetBranch(SPEC, UNetOptions(), source=str(copy)).text.tokenizer("a cat")["input_ids"], "CLIP's own class is all it needs"
    (copy / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({**known, "tokenizer_class": "Own"}))
    with pytest.raises(BadCheckpoint, match="its tokenizer is a class of its own"):
        UNetBranch.inspect(SPEC, UNetOptions(), str(copy))
    assert "own" not in sys.modules


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda t: (t / "merges.txt").unlink(), "merges.txt is missing"),
        (lambda t: (t / "vocab.json").unlink(), "vocab.json is missing"),
        (lambda t: (t / "merges.txt").write_text((t / "merges.txt").read_text()[:60]), "merges.txt makes only"),
        (lambda t: (t / "vocab.json").write_text('{"a": 1'), "vocab.json is damaged or truncated"),
        (lambda t: (t / "tokenizer.json").write_text("{}"), "has no vocabulary"),
    ],
)
def test_what_a_tokenizer_misses_is_said_by_check(copy: Path, damage: Any, said: str) -> None:
    """Also where it could be read, as another tokenizer: without merges, words fall into letters silently."""
    (copy / "tokenizer" / "tokenizer.json").unlink()
    damage(copy / "tokenizer")
    with pytest.raises(BadCheckpoint, match=said):
        UNetBranch.inspect(SPEC, UNetOptions(), str(copy))


# -- a VAE of one's own --------------------------------------------------------------------------------------------------------


@pytest.fixture
def other(checkpoint: Fetch, tmp_path: Path) -> Path:
    """A VAE's folder with other numbers."""
    folder = Path(shutil.copytree(checkpoint("sd1") / "vae", tmp_path / "other"))
    rewrite_tensors(folder / "diffusion_pytorch_model.safetensors", lambda t: {name: x * 1.1 for name, x in t.items()})
    return folder


@pytest.mark.parametrize("layout", ["folder", "checkpoint", "file", "file alone", "original", "original, with its prefix", "wrapped"])
def test_vae(checkpoint: Fetch, other: Path, tmp_path: Path, layout: str) -> None:
    file = other / "diffusion_pytorch_model.safetensors"
    want, config = load_file(str(file)), json.loads((other / "config.json").read_text())
    alone, place = tmp_path / "alone" / "vae.safetensors", other
    alone.parent.mkdir()
    fronts = {"original": "", "original, with its prefix": "first_stage_model.", "wrapped": "state_dict.module.first_stage_model."}
    if layout == "checkpoint":
        place = tmp_path / "whole"
        shutil.copytree(other, place / "vae")
    elif layout == "file":
        place = file
    elif layout == "file alone":
        place = Path(shutil.copy(file, alone))
    elif layout in fronts:
        save_file({fronts[layout] + name: x.contiguous() for name, x in vae_tensors(want, config).items()}, str(alone))
        place = alone
    branch = UNetBranch(SPEC, UNetOptions(vae=str(place)), source=str(checkpoint("sd1")))
    have = branch.vae.state_dict()
    assert have.keys() == want.keys() and all(torch.equal(have[name], want[name]) for name in want)
    plain = UNetBranch(SPEC, UNetOptions(), source=str(checkpoint("sd1")))
    assert branch.unet is plain.unet and branch.traits == plain.traits
    differ = {part for part, digest in branch.fingerprint().items() if plain.fingerprint()[part] != digest}
    assert differ == {"vae"}, "the recipe knows it by its digest"


def test_vaes_that_do_not_fit(checkpoint: Fetch, other: Path, tmp_path: Path) -> None:
    """Found by `inspect`, before weights are loaded."""

    def refused(said: str, vae: Path | str, spec: BranchSpec = SPEC, source: Any = None, kind: Any = BadCheckpoint) -> None:
        with pytest.raises(kind, match=said):
            UNetBranch.inspect(spec, UNetOptions(vae=str(vae)), source or str(checkpoint("sd1")))

    refused("of another latent space than the checkpoint: its scaling factor is 0.13025", checkpoint("sdxl") / "vae")
    refused("there is no such file or folder", tmp_path / "gone.safetensors")
    refused("not a VAE", checkpoint("sd1") / WEIGHTS)
    refused("it is a UNet2DConditionModel, not a AutoencoderKL", checkpoint("sd1") / "unet")
    spatial = BranchSpec(id="x/z", summary="", role="spatial", options=UNetOptions)
    refused("decodes no picture", other, spatial, kind=BadOption)
    file = other / "diffusion_pytorch_model.safetensors"
    rewrite_tensors(file, lambda t: {name: x for name, x in t.items() if "conv_norm_out" not in name})
    refused("tensors of its vae are missing", file)
    rewrite_tensors(file, lambda t: {**t, "decoder.conv_in.weight": torch.ones(8, 16, 3, 3)})
    refused("its latents have 16 channels", file)


# -- compiled pipelines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [pytest.param("wrapped", marks=pytest.mark.deep), "in place", "layers"])
def test_compiled(checkpoint: Fetch, how: str) -> None:
    """A branch like any other: the same noise, maps (which hooks read) and digest; compiled twice they would miss their hooks."""
    from diffusers import StableDiffusionPipeline

    from realcompo.conditions import Boxes
    from realcompo.noise.diffusion import Solver
    from realcompo.testing.driving import request

    pipe: Any = StableDiffusionPipeline.from_pretrained(str(checkpoint("sd1")), safety_checker=None)
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def outcome() -> tuple[Any, ...]:
        branch = UNetBranch(SPEC, UNetOptions(), source=pipe)
        step = Solver("ddim", branch.traits.schedule, 4).steps[1]
        told = branch.encode(request(("a photo of a cat",), conditions=(Boxes({"a cat": (0.1, 0.1, 0.6, 0.6)}),)))
        noise = branch.predict(z, step, told).noise
        return noise, branch.attend(z, step, told), branch.decode(z)[0].tobytes(), branch.fingerprint()

    want = outcome()
    for part in ("unet", "text_encoder", "vae") if how != "layers" else ("unet",):
        network = getattr(pipe, part)
        if how == "wrapped":
            setattr(pipe, part, torch.compile(network, backend="eager"))
        elif how == "in place":
            network.compile(backend="eager")
        else:
            network.mid_block = torch.compile(network.mid_block, backend="eager")
            network.down_blocks[0].compile(backend="eager")
    have = outcome()
    torch.testing.assert_close(have[0], want[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(have[1], want[1], atol=1e-5, rtol=1e-4)
    assert have[1].abs().max() > 0 and have[2:] == want[2:]
