"""Pairs of networks with random weights: the published architectures at their real sizes, or small ones of the same shape.

A network is made where it is to run and in its precision, so that nothing larger is ever held by the CPU. Branches find it by a folder
that holds configs, tokenizers and the seed, as they would find weights: by recipe, with offload, when a picture is drawn again.
"""

from __future__ import annotations

import gc
import importlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from realcompo.conditions import Boxes, Condition, Keypoints
from realcompo.conditions.skeletons import skeleton
from realcompo.recipes.recipe import BranchEntry
from realcompo.testing.checkpoints import Family, open_gates
from realcompo.testing.sources import small_checkpoint
from realcompo.toolkit.configs import FILES, clip_tokenizer, published
from realcompo.toolkit.loading import CLASSES, class_name, lend
from realcompo.toolkit.vae import decoding_dtype

SEED = 0
CONTROL_GAIN = 1.6
"""Of the convolutions by which a ControlNet's residuals leave: weights of this / √(inputs)."""
HOW = (
    "random, made on the device in its precision. Weights as torch and transformers begin them, of a spread of at most 1 / √(3 · inputs): "
    "no layer enlarges what it sees and all stays finite in float16. What starts at zero is opened, or a condition would not be "
    "felt: GLIGEN's gates about 0.5, its null features and linear layers 1.4 / √(inputs); of a ControlNet, the convolutions of its hint "
    f"2.4 / √(inputs), and those by which its residuals leave {CONTROL_GAIN} / √(inputs). Token embeddings have a spread of 1. Pictures "
    "are noise; times, memory and operations do not depend on the weights."
)


@dataclass(frozen=True)
class Pair:
    """A fidelity branch and a spatial one, and what is drawn with them.

    Attributes:
        family: of the published configs.
        small: the families of small checkpoints that have the shape of either.
        size: (height, width) of the real one's pictures.
    """

    name: str
    fidelity: str
    spatial: str
    family: str
    small: tuple[Family, Family]
    size: tuple[int, int]
    prompt: str
    condition: Condition


PAIRS = (
    Pair(
        *("sd15-gligen", "sd/v1-5", "gligen/box", "sd1", ("sd1", "gligen"), (512, 512)),
        "a photo of a cat and a red balloon on grass",
        Boxes({"a cat": (0.05, 0.4, 0.5, 0.95), "a red balloon": (0.55, 0.05, 0.9, 0.6)}),
    ),
    Pair(
        *("sdxl-controlnet", "sd/xl-base", "controlnet/pose-sdxl", "sdxl", ("sdxl", "controlnet-sdxl"), (1024, 1024)),
        "a photo of a cat and a dog on grass",
        Keypoints({"a cat": skeleton("standing", (0.05, 0.1, 0.5, 0.9)), "a dog": skeleton("standing", (0.5, 0.15, 0.95, 0.9))}),
    ),
)
SMALL_SIZE = (128, 128)


@dataclass(frozen=True, eq=False)
class Made:
    """The networks of a pair, which branches find by their folders while this is held.

    Attributes:
        folders: role → checkpoint.
        networks: path of a part's folder → network.
        size: (height, width) of its pictures.
    """

    pair: Pair
    folders: Mapping[str, Path]
    networks: Mapping[Path, Any]
    size: tuple[int, int]
    device: torch.device
    dtype: torch.dtype

    @property
    def entries(self) -> tuple[BranchEntry, BranchEntry]:
        """The two branches as a recipe names them."""
        spatial = {"options": {"base_source": str(self.folders["fidelity"])}} if self.pair.family == "sdxl" else {}
        return (
            BranchEntry(name=self.pair.fidelity, source=str(self.folders["fidelity"])),
            BranchEntry(name=self.pair.spatial, source=str(self.folders["spatial"]), **spatial),
        )

    @property
    def parameters(self) -> dict[str, int]:
        """Part → how many numbers."""
        return {f"{f.parent.name}/{f.name}": sum(p.numel() for p in n.parameters()) for f, n in self.networks.items()}

    def to(self, device: Any) -> None:
        """All networks elsewhere; to 'meta' they are gone, whoever still holds them."""
        for network in self.networks.values():
            network.to(device)
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def copied(self, device: torch.device, dtype: torch.dtype) -> Made:
        """The same numbers in another precision or place, found by the same folders."""
        import copy

        copies = {}
        for folder, network in self.networks.items():
            own = decoding_dtype(network.config, dtype) if folder.name == "vae" else dtype
            copies[folder] = copy.deepcopy(network).to(device, own)
            lend(folder, copies[folder])
        return Made(self.pair, self.folders, copies, self.size, device, dtype)


def make(pair: Pair, folder: Path, device: torch.device, dtype: torch.dtype, small: bool) -> Made:
    """A pair's networks, on a device and in a precision; the same seed makes the same numbers there."""
    folder = folder.resolve()
    folders = {role: folder / role for role in ("fidelity", "spatial")}
    networks: dict[Path, Any] = {}
    with _seeded(device):
        for (role, place), family in zip(folders.items(), pair.small, strict=True):
            configs, tokenizers = _small(family) if small else _real(pair.family, family)
            if "controlnet" in configs:  # it steers the other's network, and brings none of its own
                configs, tokenizers = {"controlnet": configs["controlnet"]}, {}
            _write(place, configs, tokenizers)
            for part in sorted(CLASSES.keys() & configs.keys()):  # in one order, or the seed would make other numbers
                own = decoding_dtype(configs[part], dtype) if part == "vae" else dtype
                if part == "vae" and role == "spatial":  # a spatial branch decodes nothing
                    continue
                networks[place / part] = _network(part, configs[part], device, own)
                lend(place / part, networks[place / part])
                _stub(place / part, f"{pair.name} {role} {part}, {own} on {device.type}, {'small' if small else 'real'}")
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return Made(pair, folders, networks, SMALL_SIZE if small else pair.size, device, dtype)


def _real(family: str, kind: Family) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configs of the published checkpoints, and their tokenizers."""
    configs = {part: dict(config) for part, config in published(family).items()}
    if kind == "gligen":
        configs["unet"]["attention_type"] = "gated"
    if kind == "controlnet-sdxl":
        unet = configs["unet"]
        same = ("up_block_types", "sample_size", "out_channels")
        configs["controlnet"] = {key: value for key, value in unet.items() if key not in same} | {
            "_class_name": "ControlNetModel",
            "conditioning_embedding_out_channels": [16, 32, 96, 256],
        }
    pads = {part: config["pad_token"] for part, config in configs.items() if part.startswith("tokenizer")}
    return configs, {part: clip_tokenizer(pad) for part, pad in pads.items()}


def _small(family: Family) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configs of a small checkpoint, and where its tokenizers are."""
    folder = Path(small_checkpoint(family))
    parts = {path.name: path / FILES.get(path.name, "config.json") for path in folder.iterdir() if path.is_dir()}
    configs = {part: json.loads(path.read_text(encoding="utf-8")) for part, path in sorted(parts.items())}
    configs["model_index"] = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return configs, {part: folder / part for part in configs if part.startswith("tokenizer")}


def _write(folder: Path, configs: Mapping[str, Any], tokenizers: Mapping[str, Any]) -> None:
    """A checkpoint's folder without weights."""
    folder.mkdir(parents=True)
    for part, config in configs.items():
        path = folder / "model_index.json" if part == "model_index" else folder / part / FILES.get(part, "config.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(config), encoding="utf-8")
    for part, tokenizer in tokenizers.items():
        if isinstance(tokenizer, Path):
            shutil.copytree(tokenizer, folder / part, dirs_exist_ok=True)
        else:
            tokenizer.save_pretrained(str(folder / part))


def _stub(folder: Path, what: str) -> None:
    """In place of weights, what they follow from: it is what their fingerprint is taken of."""
    name = "model" if folder.name.startswith("text") else "diffusion_pytorch_model"
    save_file({"seed": torch.tensor([SEED])}, str(folder / f"{name}.safetensors"), metadata={"format": "pt", "made": what})


def _network(part: str, config: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> Any:
    """See HOW."""
    library, name = CLASSES[part][0], class_name(config)
    cls: Any = getattr(importlib.import_module(library), name)
    with _precision(dtype), device:
        if library == "diffusers":
            network: nn.Module = cls.from_config(dict(config))
        else:
            network = cls(cls.config_class(**{**config, "dtype": str(dtype).removeprefix("torch.")}))
    open_gates(network)
    for key, parameter in network.named_parameters():
        if key.startswith(("controlnet_down_blocks", "controlnet_mid_block")) and parameter.ndim > 1:
            nn.init.normal_(parameter, std=CONTROL_GAIN / parameter[0].numel() ** 0.5)
        elif key.endswith("token_embedding.weight"):
            nn.init.normal_(parameter)
    return network.eval()


@contextmanager
def _precision(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        yield
