"""Names and shapes of every layout, spoilt one at a time: dropped, doubled, prefixed, of another shape, of whole numbers. A file is either
loaded equal to the bit or refused by an error of ours that names a tensor: never a traceback, never a network that is half loaded."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from realcompo.errors import BadCheckpoint, Incompatible, Mended
from realcompo.registry import Registry
from realcompo.testing.originals import UNET, original_tensors, vae_tensors
from realcompo.testing.wild import adapter_tensors, control_lora, controlnet_tensors, in_eight_bits, with_average
from tests import sliced

Fetch = Callable[[str], Path]
Tensors = dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """How a file of one layout is made of a family's folder, and given to a branch.

    Attributes:
        write: folder → tensors of the file.
        id: of the branch; place: what the file is given as: 'source', or an option.
        options: folder → options beside it.
    """

    family: str
    write: Callable[[Path], Tensors]
    id: str = "sd/v1-5"
    place: str = "source"
    options: Callable[[Path], dict[str, Any]] = lambda folder: {"config": str(folder)}


def part(folder: Path, name: str) -> Tensors:
    return load_file(str(next((folder / name).glob("*.safetensors"))))


def config(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / name / "config.json").read_text()))


def ranked(folder: Path) -> Tensors:
    changed = {name: x + 0.1 for name, x in part(folder, "controlnet").items()}
    return control_lora(changed, part(folder, "unet"), config(folder, "controlnet"), rank=2)[0]


def adapter(folder: Path) -> Tensors:
    from diffusers import T2IAdapter

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cls: Any = T2IAdapter
        return dict(cls(channels=[8, 16, 16, 16]).state_dict())


def gates(folder: Path) -> Tensors:
    return {name.removeprefix(UNET): x for name, x in original_tensors(folder).items() if ".fuser." in name or "position_net." in name}


def rest(folder: Path) -> dict[str, Any]:
    return {"rest": str(folder)}


def based(folder: Path) -> dict[str, Any]:
    return {"base_source": str(folder)}


LAYOUTS = {
    "SD 1.x": Layout("sd1", original_tensors),
    "SD 2.x": Layout("sd2-v", original_tensors, "sd/v2-1"),
    "SDXL": Layout("sdxl", original_tensors, "sd/xl-base"),
    "average alone": Layout("sd1", lambda folder: with_average(original_tensors(folder), original_tensors(folder), alone=True)),
    "eight bits": Layout("sd1", lambda folder: in_eight_bits(original_tensors(folder), UNET, "scale_weight")[0]),
    "UNet alone": Layout("sd1", lambda folder: {n: x for n, x in original_tensors(folder).items() if n.startswith(UNET)}, options=rest),
    "UNet alone, diffusers": Layout("sdxl", lambda folder: part(folder, "unet"), "sd/xl-base", options=rest),
    "VAE, original": Layout("sd1", lambda f: vae_tensors(part(f, "vae"), config(f, "vae")), place="vae", options=lambda _: {}),
    "VAE, diffusers": Layout("sd1", lambda folder: part(folder, "vae"), place="vae", options=lambda _: {}),
    "ControlNet, original": Layout(
        "controlnet-sd1",
        lambda f: controlnet_tensors(part(f, "controlnet"), config(f, "controlnet")),
        "controlnet/pose-sd15",
        options=based,
    ),
    "ControlNet, diffusers": Layout("controlnet-sdxl", lambda f: part(f, "controlnet"), "controlnet/pose-sdxl", options=based),
    "control-LoRA": Layout("controlnet-sdxl", ranked, "controlnet/pose-sdxl", options=based),
    "T2I-Adapter, original": Layout("controlnet-sd1", lambda f: adapter_tensors(adapter(f)), "controlnet/pose-sd15", options=based),
    "T2I-Adapter, diffusers": Layout("controlnet-sd1", adapter, "controlnet/pose-sd15", options=based),
    "GLIGEN": Layout("gligen", original_tensors, "gligen/box"),
    "GLIGEN, gates alone": Layout("gligen", gates, "gligen/box", options=lambda f: {"base": "sd/v1-5", "base_source": str(f)}),
}


def spoilt(tensors: Tensors, how: str, name: str) -> Tensors:
    x = tensors[name]
    if how == "dropped":
        return {key: tensor for key, tensor in tensors.items() if key != name}
    if how == "doubled":
        return {**tensors, f"text_model.{name}": x.clone(), f"{name}_copy": x.clone()}
    if how == "prefixed":
        return {f"other.{key}" if key == name else key: tensor for key, tensor in tensors.items()}
    if how == "renamed":
        return {key[:-1] if key == name else key: tensor for key, tensor in tensors.items()}
    if how == "shaped":
        return {**tensors, name: torch.cat([x, x]).clone() if x.ndim else torch.zeros(2)}
    return {**tensors, name: torch.zeros(x.shape, dtype=torch.int8)}


HOW = ("dropped", "doubled", "prefixed", "renamed", "shaped", "whole numbers")


def loaded(layout: Layout, folder: Path, file: Path) -> dict[str, Any]:
    options = layout.options(folder)
    source = file if layout.place == "source" else folder
    more = {} if layout.place == "source" else {layout.place: str(file)}
    branch = Registry().branch(layout.id, {**options, **more}, source=str(source))
    return {name: network.state_dict() for name, network in branch.networks().items()}


def equal(mine: Any, theirs: Any) -> bool:
    return mine.keys() == theirs.keys() and all(
        mine[part].keys() == theirs[part].keys() and all(torch.equal(mine[part][name], theirs[part][name]) for name in theirs[part])
        for part in theirs
    )


NAMED = re.compile(r"'\w+(\.\w+)+'|'\w+_\w+' of shape")
WHOLE = ("but of another shape than the",)
"""What is said of a file as a whole, without a tensor's name: of its UNet's first convolution, whose rows tell the architecture."""


def refusal(error: Exception, told: str) -> str:
    """The message of a refusal that says what, where and the mend."""
    text = str(error)
    assert NAMED.search(text) or any(part in text for part in WHOLE), f"{told}: no tensor is named: {text}"
    assert "file.safetensors" in text and "mend:" in text and len(text) < 1200, f"{told}: {text}"
    return text


def try_all(checkpoint: Fetch, tmp_path: Path, name: str, hows: Iterable[str], seed: int) -> set[str]:
    """Outcomes of a layout's files, one spoilt in each way: 'equal' and 'refused'."""
    layout, chance = LAYOUTS[name], random.Random(seed)
    folder = checkpoint(layout.family)
    tensors = {key: tensor.clone().contiguous() for key, tensor in layout.write(folder).items()}
    file = tmp_path / "file.safetensors"
    save_file(tensors, str(file))
    want = loaded(layout, folder, file)
    outcomes = set()
    for how in hows:
        key = chance.choice(sorted(tensors))
        save_file(spoilt(tensors, how, key), str(file))
        told = f"{name}: {key} {how} (seed {seed})"
        try:
            mine = loaded(layout, folder, file)
        except (BadCheckpoint, Incompatible) as error:
            refusal(error, told)
            outcomes.add("refused")
        except Exception as error:
            raise AssertionError(f"{told}: {type(error).__name__}: {error}") from error
        else:
            assert equal(mine, want), f"{told}: loaded, but another network"
            outcomes.add("equal")
    return outcomes


@pytest.mark.parametrize("name", sliced([(name,) for name in LAYOUTS], 3))
def test_spoilt_names(checkpoint: Fetch, tmp_path: Path, name: str) -> None:
    """Two of the six ways for each layout, of which one at least cannot be loaded."""
    at = 2 * list(LAYOUTS).index(name) % len(HOW)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Mended)
        assert "refused" in try_all(checkpoint, tmp_path, name, HOW[at : at + 2], seed=1)


@pytest.mark.deep
@pytest.mark.parametrize("name", LAYOUTS)
def test_spoilt_names_for_long(checkpoint: Fetch, tmp_path: Path, name: str) -> None:
    seed = int(os.environ.get("REALCOMPO_FUZZ_SEED") or random.randrange(10**6))
    print(f"REALCOMPO_FUZZ_SEED={seed}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Mended)
        assert "refused" in try_all(checkpoint, tmp_path, name, HOW * 5, seed)


KNOWN_BY = {
    "UNet": ("SD 1.x", UNET + "input_blocks.0.0.weight", "it is a checkpoint whose UNet lacks '{key}'"),
    "downsampling": ("SDXL", UNET + "input_blocks.2.0.op.bias", "among them 'down_blocks.0.downsamplers.0.conv.bias'"),
    "words": (
        "SD 1.x",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
        r"it is the UNet of .* alone, in the original layout \(its text encoder lacks '{key}'\)",
    ),
    "words of OpenCLIP": ("SD 2.x", "cond_stage_model.model.token_embedding.weight", "its text encoder lacks '{key}'"),
    "VAE within": ("SD 2.x", "first_stage_model.decoder.conv_in.weight", "1 tensors of its vae are missing, .*'decoder.conv_in.weight'"),
    "UNet, diffusers": ("UNet alone, diffusers", "conv_in.weight", "whose UNet lacks '{key}'"),
    "VAE": ("VAE, original", "decoder.conv_in.weight", "1 tensors of its vae are missing, among them '{key}'"),
    "VAE's downsampling": ("VAE, original", "encoder.down.0.downsample.conv.bias", "'encoder.down_blocks.0.downsamplers.0.conv.bias'"),
    "VAE's widths": (
        "VAE, diffusers",
        "decoder.up_blocks.0.resnets.0.conv2.weight",
        "1 tensors of its vae are missing, among them '{key}'",
    ),
    "ControlNet": ("ControlNet, diffusers", "add_embedding.linear_1.weight", "1 tensors of the ControlNet are missing, among them '{key}'"),
    "T2I-Adapter": ("T2I-Adapter, diffusers", "adapter.conv_in.weight", "it is a T2I-Adapter without '{key}'"),
}
"""Case → (layout, tensor that tells what a file is or how wide, what is said of a file without it)."""


@pytest.mark.parametrize("case", KNOWN_BY)
def test_tensors_that_a_file_is_known_by(checkpoint: Fetch, tmp_path: Path, case: str) -> None:
    """Without one, it is not called something else: what is missing is named."""
    name, key, said = KNOWN_BY[case]
    layout = LAYOUTS[name]
    folder, file = checkpoint(layout.family), tmp_path / "file.safetensors"
    tensors = {one: tensor.contiguous() for one, tensor in layout.write(folder).items()}
    save_file(spoilt(tensors, "dropped", key), str(file))
    with pytest.raises(BadCheckpoint, match=said.format(key=re.escape(key))) as caught:
        loaded(layout, folder, file)
    refusal(caught.value, case)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("T2I-Adapter, original", "body.0.block1.weight"),
        ("T2I-Adapter, diffusers", "adapter.body.1.in_conv.weight"),
        ("control-LoRA", "input_blocks.5.0.in_layers.2.up"),
        ("VAE, original", "decoder.up.0.block.0.conv2.weight"),
    ],
)
def test_one_tensor_of_another_width(checkpoint: Fetch, tmp_path: Path, name: str, key: str) -> None:
    """The others tell how wide a network is: it is not refused as one for another base, and one tensor is said to be wrong."""
    layout = LAYOUTS[name]
    folder, file = checkpoint(layout.family), tmp_path / "file.safetensors"
    save_file(spoilt({one: x.clone().contiguous() for one, x in layout.write(folder).items()}, "shaped", key), str(file))
    with pytest.raises(BadCheckpoint, match=r"1 (tensors )?of its (vae|tensors) are of another shape: '[\w.]+' is"):
        loaded(layout, folder, file)


def test_the_fuzz_sees_a_network_that_is_half_loaded(checkpoint: Fetch, tmp_path: Path) -> None:
    """The control: one tensor that is other than it was is not equal."""
    layout = LAYOUTS["T2I-Adapter, original"]
    folder, file = checkpoint(layout.family), tmp_path / "file.safetensors"
    tensors = {name: x.contiguous() for name, x in layout.write(folder).items()}
    save_file(tensors, str(file))
    want = loaded(layout, folder, file)
    shutil.copy(file, tmp_path / "copy.safetensors")
    save_file({**tensors, "body.0.block1.bias": tensors["body.0.block1.bias"] + 1}, str(file))
    assert not equal(loaded(layout, folder, file), want)
    assert equal(loaded(layout, folder, tmp_path / "copy.safetensors"), want)
