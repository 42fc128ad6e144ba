"""A file of named tensors: names and shapes at once, tensors when they are asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import BadCheckpoint
from .eight_bit import find_scales, widened
from .file_kinds import UNFINISHED, brief, is_pickle, looks_like_safetensors, not_weights

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
ENDINGS = (".safetensors", *PICKLES)
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""What wrappers of networks (DataParallel, torch.compile, FSDP) put into the names of tensors."""


@dataclass(frozen=True, eq=False)
class TensorFile:
    """An opened file.

    Attributes:
        shapes: name → shape of each tensor.
        metadata: what a safetensors file says of itself.
        stored: name → the one that it has in the file, where they differ; see `unwrapped`.
        dtypes: name in the file → how its numbers are stored, as safetensors call it ('F16', 'BF16', 'F8_E4M3' …).
        scales: name in the file of a tensor in eight bits → that of the scale which it is multiplied by; see `eight_bit`.
        loaded: the tensors, in a pickle: it cannot be read piece by piece (but it is mapped, not copied, into memory).
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    loaded: Mapping[str, Any] | None = None
    stored: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    dtypes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    scales: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def where(self) -> str:
        return str(self.path)

    def renamed(self, names: Mapping[str, str]) -> TensorFile:
        """The same by other names: new → present."""
        stored = {new: self.stored.get(old, old) for new, old in names.items()}
        return replace(self, shapes={new: self.shapes[old] for new, old in names.items()}, stored=stored)

    def dtype(self, name: str) -> str:
        """How a tensor's numbers are stored; "" where nothing tells, as in a pickle."""
        return self.dtypes.get(self.stored.get(name, name), "")

    def read(self, names: Iterable[str]) -> dict[str, Any]:
        """Name → tensor, on the CPU; what is stored in eight bits is widened.

        Raises:
            BadCheckpoint: it has become unreadable.
        """
        inside = {name: self.stored.get(name, name) for name in names}
        if self.loaded is not None:
            return {name: widened(self.loaded[old]) for name, old in inside.items()}
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                scales = {old: file.get_tensor(self.scales[old]) for old in inside.values() if old in self.scales}
                return {name: widened(file.get_tensor(old), scales.get(old)) for name, old in inside.items()}
        except (SafetensorError, OSError) as error:
            raise not_weights(self.path, error=error) from error


def open_tensors(path: Path, allow_pickle: bool = False) -> TensorFile:
    """Read a file's names and shapes. What a file is, its first bytes tell, not its name.

    Args:
        path: an existing file.
        allow_pickle: the user trusts its author.

    Raises:
        BadCheckpoint: pickled and not allowed, damaged, truncated, or of another kind; says what it is.
    """
    try:
        if looks_like_safetensors(path) and path.suffix.lower() not in UNFINISHED:
            return _open_safetensors(path)
        pickled = path.suffix.lower() in PICKLES and is_pickle(path)
    except OSError as error:
        raise not_weights(path, error=error) from error
    if pickled:
        return _open_pickle(path, allow_pickle)
    raise not_weights(path)


def check_tensors(path: Path) -> None:
    """Raise BadCheckpoint unless a file is whole, as far as can be told without reading tensors."""
    try:
        if looks_like_safetensors(path):
            _open_safetensors(path)
            return
        if path.suffix.lower() in PICKLES and is_pickle(path):
            return
    except OSError as error:
        raise not_weights(path, error=error) from error
    raise not_weights(path)


def _open_safetensors(path: Path) -> TensorFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(one.get_shape()) for name, one in slices.items()}
            dtypes = {name: str(one.get_dtype()) for name, one in slices.items()}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise not_weights(path, error=error) from error
    scales, marks = find_scales(shapes, dtypes, str(path))
    bare = {name: shape for name, shape in shapes.items() if name not in marks}
    return unwrapped(TensorFile(path, bare, metadata, dtypes=dtypes, scales=scales))


def _open_pickle(path: Path, allowed: bool) -> TensorFile:
    if not allowed:
        raise BadCheckpoint(
            f"it is pickled ({path.suffix}): reading it could run any code",
            where=str(path),
            mend="choose or convert to a .safetensors file, or set allow_pickle = true if you trust its author",
        )
    import pickle

    import torch

    try:
        with torch.serialization.safe_globals([torch.nn.ParameterDict]):  # of the first textual inversions; it holds tensors alone
            table = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise BadCheckpoint(
            f"it cannot be unpickled: {brief(error)}", where=str(path), mend="fetch it again, or as .safetensors"
        ) from error
    tensors = dict(_flat(table)) if isinstance(table, Mapping) else {}
    return unwrapped(TensorFile(path, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, loaded=tensors))


def unwrapped(file: TensorFile) -> TensorFile:
    """The same under the names that its tensors had before a trainer, or torch.compile, wrapped their network: ``state_dict.`` in front,
    ``module.`` and ``_orig_mod.`` anywhere are no part of a name. Where that would make one name of two, they stay."""
    names = {_plain(name): name for name in file.shapes}
    return file if len(names) != len(file.shapes) else file.renamed(names)


def _plain(name: str) -> str:
    while name.startswith("state_dict."):
        name = name.removeprefix("state_dict.")
    plain = ".".join(word for word in name.split(".") if word not in _WRAPPERS)
    return plain if plain == name else _plain(plain)


def _flat(table: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors of nested tables by dotted names; ``state_dict`` is no part of a name."""
    import torch

    for name, value in table.items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, torch.nn.ParameterDict):
            yield from _flat(value._parameters, f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            yield from _flat(value, prefix if name == "state_dict" else f"{prefix}{name}.")
