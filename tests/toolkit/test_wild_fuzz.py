"""Names and shapes of every layout, spoilt one at a time: dropped, doubled, prefixed, of another shape, of whole numbers. A file is either
loaded equal to the bit or refused by an error of ours that names a tensor: never a traceback, never a network that is half loaded."""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
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


def try_all(checkpoint: Fetch, tmp_path: Path, name: str, rounds: int, seed: int) -> set[str]:
    """Outcomes of a layout's spoilt files: 'equal' and 'refused'."""
    layout, chance = LAYOUTS[name], random.Random(seed)
    folder = checkpoint(layout.family)
    tensors = {key: tensor.clone().contiguous() for key, tensor in layout.write(folder).items()}
    file = tmp_path / "file.safetensors"
    save_file(tensors, str(file))
    want = loaded(layout, folder, file)
    outcomes = set()
    for turn in range(rounds):
        how, key = HOW[turn % len(HOW)], chance.choice(sorted(tensors))
        save_file(spoilt(tensors, how, key), str(file))
        told = f"{name}: {key} {how} (seed {seed})"
        try:
            mine = loaded(layout, folder, file)
        except (BadCheckpoint, Incompatible) as error:
            text = str(error)
            assert ("'" in text or "T2I-Adapter" in text) and "mend:" in text and len(text) < 1200, f"{told}: {text}"
            outcomes.add("refused")
        except Exception as error:
            raise AssertionError(f"{told}: {type(error).__name__}: {error}") from error
        else:
            assert equal(mine, want), f"{told}: loaded, but another network"
            outcomes.add("equal")
    return outcomes


@pytest.mark.parametrize("name", LAYOUTS)
def test_spoilt_names(checkpoint: Fetch, tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Mended)
        assert "refused" in try_all(checkpoint, tmp_path, name, rounds=6, seed=1)


@pytest.mark.deep
@pytest.mark.parametrize("name", LAYOUTS)
def test_spoilt_names_for_long(checkpoint: Fetch, tmp_path: Path, name: str) -> None:
    seed = int(os.environ.get("REALCOMPO_FUZZ_SEED") or random.randrange(10**6))
    print(f"REALCOMPO_FUZZ_SEED={seed}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Mended)
        assert "refused" in try_all(checkpoint, tmp_path, name, rounds=120, seed=seed)


def test_the_fuzz_sees_a_network_that_is_half_loaded(checkpoint: Fetch, tmp_path: Path) -> None:
    """The control: one tensor that is other than it was is not equal."""
    layout, folder = LAYOUTS["SD 1.x"], checkpoint("sd1")
    tensors = original_tensors(folder)
    file = tmp_path / "file.safetensors"
    save_file({name: x.contiguous() for name, x in tensors.items()}, str(file))
    want = loaded(layout, folder, file)
    shutil.copy(file, tmp_path / "copy.safetensors")
    name = UNET + "out.2.bias"
    save_file({**{key: x.contiguous() for key, x in tensors.items()}, name: tensors[name] + 1}, str(file))
    assert not equal(loaded(layout, folder, file), want)
    assert equal(loaded(layout, folder, tmp_path / "copy.safetensors"), want)
