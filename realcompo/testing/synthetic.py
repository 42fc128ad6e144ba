"""Networks with random weights for measuring: the published architectures at their real sizes, or small ones of the same shape.

A network is made where it is to run and in its precision, so that nothing larger is ever held by the CPU. Branches find it by a folder
that holds configs, tokenizers and the seed, as they would find weights: by recipe, with offload, when a picture is drawn again.
"""

from __future__ import annotations

import copy
import gc
import importlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ..registry import Registry
from ..specs import SyntheticSpec
from ..toolkit.configs import FILES, clip_tokenizer, published
from ..toolkit.loading import CLASSES, class_name, lend
from ..toolkit.vae import decoding_dtype
from .checkpoints import Family, open_gates
from .sources import small_checkpoint

SEED = 0
SCHEME = "synthetic://"
"""Before the name of a checkpoint, in the sources and options of a `SyntheticSpec`'s recipe."""

CONTROL_GAIN = 1.6
"""Of the convolutions by which a ControlNet's residuals leave: weights of this / √(inputs)."""
HOW = (
    "random, made on the device in its precision. Weights as torch and transformers begin them, of a spread of at most 1 / √(3 · inputs): "
    "no layer enlarges what it sees and all stays finite in float16. What starts at zero is opened, or a condition would not be "
    "felt: GLIGEN's gates about 0.5, its null features and linear layers 1.4 / √(inputs); of a ControlNet, the convolutions of its hint "
    f"2.4 / √(inputs), and those by which its residuals leave {CONTROL_GAIN} / √(inputs). Token embeddings have a spread of 1. Pictures "
    "are noise; times, memory and operations do not depend on the weights."
)

T5_XXL: dict[str, Any] = {
    "architectures": ["T5EncoderModel"],
    "model_type": "t5",
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.0,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
"""Config of the text encoder that transformers share."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What a checkpoint's folder holds, without weights.

    Attributes:
        configs: part → config; ``model_index`` is the pipeline's own.
        tokenizers: part → a tokenizer, or the folder of one.
        hollow: parts that have a config and no network: a spatial branch decodes nothing.
        classes: part → library and class names, where the branch is of another architecture than those of `loading.CLASSES`.
    """

    configs: Mapping[str, Mapping[str, Any]]
    tokenizers: Mapping[str, Any]
    hollow: tuple[str, ...] = ()
    classes: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    def changed(self, part: str, **keys: Any) -> Parts:
        """With other values in a part's config."""
        return replace(self, configs={**self.configs, part: {**self.configs[part], **keys}})

    def without(self, *parts: str) -> Parts:
        """With no network for these parts, whose configs stay."""
        return replace(self, hollow=(*self.hollow, *parts))

    def only(self, *parts: str) -> Parts:
        """These parts alone."""
        tokenizers = {part: one for part, one in self.tokenizers.items() if part in parts}
        return replace(self, configs={part: self.configs[part] for part in parts}, tokenizers=tokenizers)


def published_parts(family: str) -> Parts:
    """Configs and tokenizers of the published checkpoints of a family, as they ship with us ('sd1', 'sd2', 'sdxl')."""
    configs = published(family)
    pads = {part: config["pad_token"] for part, config in configs.items() if part.startswith("tokenizer")}
    return Parts(configs, {part: clip_tokenizer(pad) for part, pad in pads.items()})


def small_parts(family: Family) -> Parts:
    """Of the small checkpoint of a family."""
    folder = Path(small_checkpoint(family))
    parts = {path.name: path / _file(path.name) for path in folder.iterdir() if path.is_dir()}
    configs = {part: json.loads(path.read_text(encoding="utf-8")) for part, path in sorted(parts.items())}
    configs["model_index"] = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return Parts(configs, {part: folder / part for part in configs if part.startswith("tokenizer")})


@dataclass(frozen=True, eq=False)
class Made:
    """The networks of a spec, which branches find by their folders while this is held.

    Attributes:
        recipe: plain data of the spec's recipe, with the folders in it.
        folders: checkpoint's name → its folder.
        networks: path of a part's folder → network.
        small: not at their real sizes.
    """

    spec: SyntheticSpec
    recipe: Mapping[str, Any]
    folders: Mapping[str, Path]
    networks: Mapping[Path, Any]
    device: torch.device
    dtype: torch.dtype
    small: bool

    @property
    def parameters(self) -> dict[str, int]:
        """Checkpoint and part → how many numbers."""
        return {f"{f.parent.name}/{f.name}": sum(p.numel() for p in n.parameters()) for f, n in self.networks.items()}

    def named(self, value: Any) -> Any:
        """Plain data with the checkpoints' names in place of their folders, which nobody finds again."""
        folders = {str(folder): f"{SCHEME}{name}" for name, folder in self.folders.items()}
        return _mapped(value, lambda text: folders.get(text, text))

    def to(self, device: Any) -> None:
        """All networks elsewhere; to 'meta' they are gone, whoever still holds them."""
        for network in self.networks.values():
            network.to(device)
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def copied(self, device: torch.device, dtype: torch.dtype) -> Made:
        """The same numbers in another precision or place, found by the same folders."""
        copies = {}
        for folder, network in self.networks.items():
            own = decoding_dtype(network.config, dtype) if folder.name == "vae" else dtype
            copies[folder] = copy.deepcopy(network).to(device, own)
            lend(folder, copies[folder])
        return replace(self, networks=copies, device=device, dtype=dtype)


def make(spec: SyntheticSpec, folder: Path, device: torch.device, dtype: torch.dtype, small: bool, registry: Registry) -> Made:
    """A spec's networks, on a device and in a precision; the same seed makes the same numbers there.

    Args:
        folder: an empty one, where the checkpoints' folders are written: configs, tokenizers and stubs, no weights.

    Raises:
        PluginProblem: the spec's target cannot be imported.
    """
    folder = folder.resolve()
    checkpoints: Mapping[str, Parts] = registry.load(spec)(small)
    networks: dict[Path, Any] = {}
    with _seeded(device):
        for name, parts in checkpoints.items():
            place = folder / name
            _write(place, parts)
            classes = {**CLASSES, **parts.classes}
            for part in sorted(classes.keys() & parts.configs.keys()):  # in one order, or the seed would make other numbers
                if part in parts.hollow:
                    continue
                own = decoding_dtype(parts.configs[part], dtype) if part == "vae" else dtype
                networks[place / part] = _network(classes[part][0], parts.configs[part], device, own)
                lend(place / part, networks[place / part])
                _stub(place / part, f"{spec.id} {name} {part}, {own} on {device.type}, {'small' if small else 'real'}")
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    folders = {name: folder / name for name in checkpoints}
    recipe = {**spec.recipe, **(spec.small if small else {})}
    return Made(spec, _placed(recipe, folders), folders, networks, device, dtype, small)


def _placed(value: Any, folders: Mapping[str, Path]) -> Any:
    """Plain data with the folders of checkpoints in place of their names."""
    return _mapped(value, lambda text: str(folders[text.removeprefix(SCHEME)]) if text.startswith(SCHEME) else text)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Plain data with every text changed."""
    if isinstance(value, Mapping):
        return {key: _mapped(one, change) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(one, change) for one in value]
    return change(value) if isinstance(value, str) else value


def _file(part: str) -> str:
    """The name of a part's config file, also of a third tokenizer."""
    return FILES.get(part, "tokenizer_config.json" if part.startswith("tokenizer") else "config.json")


def _write(folder: Path, parts: Parts) -> None:
    """A checkpoint's folder without weights."""
    folder.mkdir(parents=True)
    for part, config in parts.configs.items():
        path = folder / "model_index.json" if part == "model_index" else folder / part / _file(part)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(config), encoding="utf-8")
    for part, tokenizer in parts.tokenizers.items():
        if isinstance(tokenizer, Path):
            shutil.copytree(tokenizer, folder / part, dirs_exist_ok=True)
        else:
            tokenizer.save_pretrained(str(folder / part))


def _stub(folder: Path, what: str) -> None:
    """In place of weights, what they follow from: it is what their fingerprint is taken of."""
    name = "model" if folder.name.startswith("text") else "diffusion_pytorch_model"
    save_file({"seed": torch.tensor([SEED])}, str(folder / f"{name}.safetensors"), metadata={"format": "pt", "made": what})


def _network(library: str, config: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> Any:
    """See HOW."""
    cls: Any = getattr(importlib.import_module(library), class_name(config))
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
