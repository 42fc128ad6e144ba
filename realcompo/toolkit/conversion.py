"""Networks of a single file: built from their config, and filled by diffusers' own converters of the original layout."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadCheckpoint
from .eight_bit import FLOATS
from .file_kinds import brief
from .single_file import SingleFile
from .tensor_files import TensorFile

_DROPPED = ("position_ids", "logit_scale", "text_projection", "text_projection.weight")
"""Ends of names in text encoders' files that some classes have no place for: buffers, and a projection that is for pictures."""


def load_part(single: SingleFile, part: str, library: str, name: str, dtype: torch.dtype) -> nn.Module:
    """The network of a part, in evaluation mode on the CPU.

    Names and shapes are compared before a tensor is read: the converters run on shapes alone first.

    Args:
        part: 'unet', 'vae', 'text_encoder' or 'text_encoder_2', which the file has.
        library, name: of its class.
        dtype: of the network.

    Raises:
        BadCheckpoint: tensors are missing, too many, or of another shape.
    """
    network: nn.Module = empty_network(single.config(part), library, name)
    names = single.names(part)
    refuse_integers(single.file, names, part)
    hollow = {key: torch.empty(single.file.shapes[key], device="meta") for key in names}
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    with naming(part, single.where):
        found = _converted(single, part, hollow, network)
    compare(wanted, found, part, single.where)
    converted = _converted(single, part, single.file.read(names), network)
    fill(network, {key: converted[key] for key in wanted}, dtype)
    return network.eval()


def empty_network(config: Mapping[str, Any], library: str, name: str) -> Any:
    """A network without numbers: its parameters are on the device 'meta'."""
    from accelerate import init_empty_weights

    cls: Any = getattr(importlib.import_module(library), name)
    with init_empty_weights():
        return cls.from_config(dict(config)) if library == "diffusers" else cls(cls.config_class(**config))


@contextmanager
def naming(part: str, where: str) -> Iterator[None]:
    """diffusers' converters look for what stands in a whole file, and fall over what does not: an error of ours, with the name."""
    try:
        yield
    except BadCheckpoint:
        raise
    except Exception as error:  # KeyError, IndexError, ValueError, AttributeError …
        raise BadCheckpoint(
            f"a tensor of its {part} is missing, too many or of another shape, which names are converted by: {brief(error) or error!r}",
            where=where,
            mend="its weights are not those of this architecture, or a part of them is gone: fetch or copy it again",
        ) from error


def refuse_integers(file: TensorFile, names: Iterable[str], part: str) -> None:
    """Raise BadCheckpoint where weights are stored as whole numbers, or packed: quantised in a way that is not read here."""
    packed = [name for name in names if file.dtype(name) not in FLOATS and not name.endswith(_DROPPED)]
    if packed:
        raise BadCheckpoint(
            f"{len(packed)} tensors of its {part} are stored as {file.dtype(packed[0])}, among them {packed[0]!r}: it is quantised",
            where=file.where,
            mend="choose the file in float32, float16, bfloat16 or fp8",
        )


def fill(network: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Give a network of `empty_network` its tensors, each in `dtype`."""
    ready = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    network.load_state_dict(ready, assign=True, strict=False)


def compare(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor], part: str, where: str) -> None:
    """Raise BadCheckpoint unless `found` are the tensors of these names and shapes."""
    mend = "its weights are not those of this architecture, or a part of them is gone: fetch or copy it again"
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        raise BadCheckpoint(f"{len(missing)} tensors of its {part} are missing, among them {missing[0]!r}", where=where, mend=mend)
    other = sorted(key for key, shape in wanted.items() if tuple(found[key].shape) != shape)
    if other:
        key = other[0]
        raise BadCheckpoint(
            f"{len(other)} tensors of its {part} are of another shape: {key!r} is {tuple(found[key].shape)}, not {wanted[key]}",
            where=where,
            mend=mend,
        )
    more = sorted(found.keys() - wanted.keys())
    if more and part == "unet":
        raise BadCheckpoint(f"its {part} has {len(more)} tensors too many, among them {more[0]!r}", where=where, mend=mend)


def _converted(single: SingleFile, part: str, tensors: dict[str, Tensor], network: Any) -> dict[str, Tensor]:
    """Tensors by the names of diffusers and transformers. Prefixes become those that the converters know."""
    from diffusers.loaders import single_file_utils

    library: Any = single_file_utils  # not typed
    prefix = single.kind.parts[part]
    bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if part == "unet" and single.kind.modern:
        return bare
    if part == "unet":
        named = {library.LDM_UNET_KEY + name: tensor for name, tensor in bare.items()}
        found = _present(library.convert_ldm_unet_checkpoint(named, config=network.config))
        found |= {name: tensor for name, tensor in bare.items() if name.startswith("position_net.")}
        taken = set(map(id, found.values()))  # the converter leaves out what it does not know: a network that lacks it draws otherwise
        return found | {name: tensor for name, tensor in bare.items() if id(tensor) not in taken}
    if part == "vae":
        return vae_tensors(bare, network, original=True)
    inside = hasattr(network, "text_model")  # transformers 5 has it in the class with a projection, no longer in the plain one
    if f"{prefix}token_embedding.weight" in single.file.shapes:
        bare = library.convert_open_clip_checkpoint(network, tensors, prefix=prefix)
    plain = {name.removeprefix("text_model."): tensor for name, tensor in bare.items()}
    if len(plain) < len(bare):
        twice = next(name for name in sorted(bare) if f"text_model.{name}" in bare)
        raise BadCheckpoint(
            f"two of its tensors, {prefix + twice!r} and '{prefix}text_model.{twice}', are one",
            where=single.where,
            mend="two text encoders were merged into one file: choose the file that it was made of",
        )
    wanted = network.state_dict()
    kept = {name: tensor for name, tensor in plain.items() if name in wanted or not name.endswith(_DROPPED)}
    return {f"text_model.{name}" if inside and name not in wanted else name: tensor for name, tensor in kept.items()}


def vae_tensors(tensors: Mapping[str, Tensor], network: Any, original: bool) -> dict[str, Tensor]:
    """A VAE's tensors, without a prefix, by diffusers' names; `original` says that they are in the original layout."""
    from diffusers.loaders import single_file_utils

    library: Any = single_file_utils  # not typed
    if not original:
        return dict(tensors)
    named = {library.LDM_VAE_KEYS[0] + name: tensor for name, tensor in tensors.items()}
    return _present(library.convert_ldm_vae_checkpoint(named, config=network.config))


def _present(converted: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Without the names to which diffusers' converters give None, because the file lacks their tensor (those of downsampling are popped
    with a default): `compare` calls them missing, by name."""
    return {name: tensor for name, tensor in converted.items() if tensor is not None}
