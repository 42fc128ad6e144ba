"""Finding, reading and refusing checkpoints; sharing networks; digests. Nothing here may touch the network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.errors import BadCheckpoint, BadOption, DeviceError
from realcompo.specs import BranchSpec, LatentSpace, Traits
from realcompo.testing.checkpoints import rewrite_tensors, truncate, with_text_prefix
from realcompo.toolkit import Loader, UNetBranch, UNetOptions, open_checkpoint
from realcompo.toolkit.traits import read_traits

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
OPTIONS = UNetOptions()
Fetch = Callable[[str], Path]


pytestmark = pytest.mark.usefixtures("nobody_asks")


@pytest.fixture
def copy(checkpoint: Fetch, tmp_path: Path) -> Fetch:
    """A copy to damage."""
    return lambda family: Path(shutil.copytree(checkpoint(family), tmp_path / family))


def edit(file: Path, **changes: Any) -> None:
    config = json.loads(file.read_text())
    config.update(changes)
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def traits(folder: Path, options: UNetOptions = OPTIONS, spec: BranchSpec = SPEC) -> Traits:
    return read_traits(open_checkpoint(str(folder), options), spec, options, own=False)


# -- where it is --------------------------------------------------------------------------------------------------------------


def test_folder_package_and_pipeline(checkpoint: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint("sd1")
    package = tmp_path / "some_weights"
    shutil.copytree(folder / "unet", package / "models" / "m" / "unet")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert open_checkpoint("package://some_weights/models/m", OPTIONS).config("unet")["in_channels"] == 4
    assert open_checkpoint(folder, OPTIONS).describe() == "a StableDiffusionPipeline"
    with pytest.raises(BadCheckpoint, match="has no folder 'models/other'"):
        open_checkpoint("package://some_weights/models/other", OPTIONS)
    with pytest.raises(BadCheckpoint, match=r"'no_such_weights' is not installed[\s\S]*install no-such-weights"):
        open_checkpoint("package://no_such_weights/m", OPTIONS)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "no checkpoint was named"),
        (7, "a int is no checkpoint"),
        ("/no/such/folder", "there is no such folder"),
        ("./nowhere", "there is no such folder"),
        ("no-one/nothing", r"local cache of the hub does not hold it[\s\S]*download = true, or REALCOMPO_DOWNLOAD=1"),
    ],
)
def test_sources_that_are_not_there(source: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadCheckpoint, match=message):
        open_checkpoint(source, OPTIONS)


def test_hub_cache_is_used_without_the_network(checkpoint: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--some-one--some-thing"
    commit = "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(checkpoint("sd1"), repository / "snapshots" / commit)
    import huggingface_hub

    original = huggingface_hub.snapshot_download
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda id, **kwargs: original(id, cache_dir=tmp_path, **kwargs))
    found = open_checkpoint("some-one/some-thing", OPTIONS)
    assert found.where == "some-one/some-thing" and found.config("unet")["in_channels"] == 4


def test_download_only_when_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[bool, list[str]]] = []

    def fake(id: str, *, local_files_only: bool, allow_patterns: list[str], **_: Any) -> str:
        asked.append((local_files_only, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
    open_checkpoint("a/b", OPTIONS, parts=["unet"])
    open_checkpoint("a/b", UNetOptions(download=True, variant="fp16"), parts=["unet"])
    monkeypatch.setenv("REALCOMPO_DOWNLOAD", "1")
    open_checkpoint("a/b", OPTIONS, parts=["unet"], weights=False)
    assert [local for local, _ in asked] == [True, False, False]
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in asked[1][1]
    assert not any("safetensors" in pattern for pattern in asked[2][1])
    assert not any(pattern.endswith(".bin") for _, patterns in asked for pattern in patterns), "no pickles"


# -- traits -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "space", "prediction"), [("sd1", "sd", "epsilon"), ("sd2-v", "sd", "v_prediction"), ("sdxl", "sdxl", "epsilon")]
)
def test_traits_of_config_files(checkpoint: Fetch, family: str, space: str, prediction: str) -> None:
    found = traits(checkpoint(family))
    assert (found.latent.name, found.prediction_type, found.default_size) == (space, prediction, (128, 128))
    assert found.schedule.process == (1000, 0.00085, 0.012, "scaled_linear", False)
    assert found.latent.downscale == 8 and found.size_multiple == 8


@pytest.mark.parametrize(("width", "name"), [(768, "SD 1.x"), (1024, "SD 2.x"), (2048, "SDXL"), (640, "UNet of cross-attention width 640")])
def test_family_by_width(copy: Fetch, width: int, name: str) -> None:
    folder = copy("sd1")
    edit(folder / "unet" / "config.json", cross_attention_dim=width)
    edit(folder / "text_encoder" / "config.json", hidden_size=width)
    assert traits(folder).family == name


def test_latent_space_of_unknown_origin(copy: Fetch) -> None:
    folder = copy("sd1")
    edit(folder / "vae" / "config.json", scaling_factor=0.5)
    assert traits(folder).latent == LatentSpace("AutoencoderKL", 4, 8, 0.5)
    assert traits(folder, UNetOptions(latent_space="sd")).latent.name == "sd"
    shutil.rmtree(folder / "vae")
    with pytest.raises(BadCheckpoint, match="it has no VAE, so nothing tells its latent space"):
        traits(folder)
    assert traits(folder, UNetOptions(latent_space="sdxl")).latent == LatentSpace("sdxl", 4, 8, 0.13025)
    with pytest.raises(BadCheckpoint, match="no latent space is called 'sdx'"):
        traits(folder, UNetOptions(latent_space="sdx"))
    stated = BranchSpec(id="x/y", summary="", traits=Traits(LatentSpace("mini", 4, 8, 1.25), "mini", max_objects=7))
    assert traits(folder, spec=stated).latent.name == "mini" and traits(folder, spec=stated).max_objects == 7


# -- refusals -----------------------------------------------------------------------------------------------------------------


def unlink(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: unlink(f / "unet"), "it is no UNet, not a Stable Diffusion UNet: it holds a StableDiffusionPipeline"),
        (lambda f: edit(f / "unet/config.json", _class_name="Transformer2DModel"), "its network is a Transformer2DModel"),
        (lambda f: (f / "unet/config.json").write_text("{"), "config.json is damaged"),
        (lambda f: unlink(f / "unet/config.json"), "config.json is missing"),
        (lambda f: edit(f / "unet/config.json", in_channels=8), "8 in channels, its latents 4: it inpaints or upscales"),
        (lambda f: edit(f / "text_encoder/config.json", hidden_size=64), "its text encoder is 64 wide, its UNet expects 32"),
        (lambda f: edit(f / "scheduler/scheduler_config.json", prediction_type="pixels"), "it predicts 'pixels'"),
    ],
)
def test_refused_by_config(copy: Fetch, damage: Callable[[Path], Any], message: str) -> None:
    folder = copy("sd1")
    damage(folder)
    with pytest.raises(BadCheckpoint, match=message):
        UNetBranch.inspect(SPEC, OPTIONS, str(folder))


def test_another_pipeline_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    (tmp_path / "model_index.json").write_text('{"_class_name": "PixArtAlphaPipeline"}')
    with pytest.raises(BadCheckpoint, match="it is a transformer, not a Stable Diffusion UNet: it holds a PixArtAlphaPipeline"):
        UNetBranch.inspect(SPEC, OPTIONS, str(tmp_path))


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def pickle_it(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(str(folder / WEIGHTS)), folder / "unet/diffusion_pytorch_model.bin")
    (folder / WEIGHTS).unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: truncate(f / WEIGHTS), "diffusion_pytorch_model.safetensors is damaged or truncated"),
        (lambda f: truncate(f / WEIGHTS, 0.0), "is damaged or truncated"),
        (lambda f: unlink(f / WEIGHTS), "it has no weights"),
        (pickle_it, r"it has only pickled weights \(diffusion_pytorch_model.bin\)[\s\S]*allow_pickle = true"),
        (
            lambda f: rewrite_tensors(f / WEIGHTS, lambda t: {k: v for k, v in t.items() if "conv_in" not in k}),
            "2 of its tensors are missing",
        ),
        (
            lambda f: rewrite_tensors(f / WEIGHTS, lambda t: {k: v.repeat_interleave(2, 0) for k, v in t.items()}),
            "do not fit its config",
        ),
        (
            lambda f: rewrite_tensors(f / "text_encoder/model.safetensors", lambda t: {"x": torch.zeros(1)}),
            r"\d+ of its tensors are missing",
        ),
        (lambda f: edit(f / "text_encoder/config.json", architectures=["T5EncoderModel"]), "its text_encoder is a T5EncoderModel"),
        (
            lambda f: edit(f / "vae/config.json", _class_name="VQModel"),
            "its vae is a VQModel, not a AutoencoderKL or AutoencoderDC",
        ),
        (lambda f: (f / "tokenizer/tokenizer.json").write_text("{"), "tokenizer.json is damaged or truncated"),
    ],
)
def test_refused_by_weights(copy: Fetch, damage: Callable[[Path], Any], message: str) -> None:
    folder = copy("sd1")
    damage(folder)
    with pytest.raises(BadCheckpoint, match=message):
        UNetBranch(SPEC, OPTIONS, source=str(folder))


def test_pickles_only_where_the_user_says_so(copy: Fetch, checkpoint: Fetch) -> None:
    folder = copy("sd1")
    pickle_it(folder)
    options = UNetOptions(allow_pickle=True)
    theirs = Loader(open_checkpoint(str(folder), options), options).module("unet")
    ours = Loader(open_checkpoint(str(checkpoint("sd1")), OPTIONS), OPTIONS).module("unet")
    assert all(torch.equal(a, b) for a, b in zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True))


def test_variants(copy: Fetch) -> None:
    folder = copy("sd1")
    (folder / WEIGHTS).rename(folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    assert UNetBranch(SPEC, OPTIONS, source=str(folder)).unet is not None  # the only variant there is
    with pytest.raises(BadCheckpoint, match="it has no variant 'ema', but 'fp16'"):
        UNetBranch(SPEC, UNetOptions(variant="ema"), source=str(folder))


def test_both_forms_of_text_encoder_keys(copy: Fetch, checkpoint: Fetch) -> None:
    """Hub files say text_model.encoder…, transformers 5 saves encoder…"""
    folder = copy("sd1")
    with_text_prefix(folder)
    prefixed = UNetBranch(SPEC, OPTIONS, source=str(folder)).text.encode(["a red cat"]).hidden
    plain = UNetBranch(SPEC, OPTIONS, source=str(checkpoint("sd1"))).text.encode(["a red cat"]).hidden
    assert torch.equal(prefixed, plain)


def test_bad_options_and_devices(checkpoint: Fetch) -> None:
    folder = str(checkpoint("sd1"))
    with pytest.raises(BadOption, match="no dtype is called 'float17'"):
        UNetBranch(SPEC, OPTIONS, source=folder, dtype="float17")
    with pytest.raises(DeviceError, match="'abacus' is no device"):
        UNetBranch(SPEC, OPTIONS, source=folder, device="abacus")
    with pytest.raises(BadOption, match="no cross-attention in up at the latent's size divided by 8"):
        UNetBranch(SPEC, UNetOptions(map_divisor=8, places=("up",)), source=folder)


# -- sharing and digests ------------------------------------------------------------------------------------------------------


def test_equal_source_dtype_and_device_share_one_network(checkpoint: Fetch) -> None:
    folder = str(checkpoint("sd1"))
    one, two, half = (UNetBranch(SPEC, OPTIONS, source=folder, dtype=dtype) for dtype in (None, "float32", "bfloat16"))
    assert one.unet is two.unet and one.vae is two.vae and one.text.encoder is two.text.encoder
    assert half.unet is not one.unet and half.dtype == torch.bfloat16
    one.to(dtype="float64")
    assert two.dtype == torch.float64, "moved for all that share it"
    assert UNetBranch(SPEC, OPTIONS, source=folder).unet is not one.unet, "and no longer given out as float32"
    spatial = BranchSpec(id="x/z", summary="", role="spatial", options=UNetOptions)
    assert UNetBranch(spatial, OPTIONS, source=folder).vae is None
    own = Loader(open_checkpoint(folder, OPTIONS), OPTIONS, share=False)
    assert own.module("unet") is not own.module("unet")


def test_fingerprints(copy: Fetch, checkpoint: Fetch) -> None:
    folder = copy("sd1")
    first = UNetBranch(SPEC, OPTIONS, source=str(checkpoint("sd1"))).fingerprint()
    assert set(first) == {"unet", "text_encoder", "vae"} and all(len(digest) == 64 for digest in first.values())
    assert UNetBranch(SPEC, OPTIONS, source=str(folder)).fingerprint() == first
    rewrite_tensors(folder / WEIGHTS, lambda t: {k: v + 1e-3 for k, v in t.items()})
    second = UNetBranch(SPEC, OPTIONS, source=str(folder)).fingerprint()
    assert second["unet"] != first["unet"] and second["vae"] == first["vae"]
