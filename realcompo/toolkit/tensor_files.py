"""A file of named tensors: names and shapes at once, tensors when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import BadCheckpoint

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
ENDINGS = (".safetensors", *PICKLES)


@dataclass(frozen=True, eq=False)
class TensorFile:
    """An opened file.

    Attributes:
        shapes: name → shape of each tensor.
        metadata: what a safetensors file says of itself.
        loaded: the tensors, in a pickle: it cannot be read piece by piece (but it is mapped, not copied, into memory).
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    loaded: Mapping[str, Any] | None = None

    @property
    def where(self) -> str:
        return str(self.path)

    def read(self, names: Iterable[str]) -> dict[str, Any]:
        """Name → tensor, on the CPU.

        Raises:
            BadCheckpoint: it has become unreadable.
        """
        if self.loaded is not None:
            return {name: self.loaded[name] for name in names}
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError) as error:
            raise BadCheckpoint(f"it cannot be read: {error}", where=self.where, mend="fetch or copy it again") from error


def open_tensors(path: Path, allow_pickle: bool = False) -> TensorFile:
    """Read a file's names and shapes.

    Args:
        path: an existing ``.safetensors`` file, or a pickle.
        allow_pickle: the user trusts its author.

    Raises:
        BadCheckpoint: pickled and not allowed, damaged, truncated, or of another kind.
    """
    if path.suffix in PICKLES:
        return _open_pickle(path, allow_pickle)
    if path.suffix != ".safetensors":
        raise BadCheckpoint("it is no file of tensors", where=str(path), mend="give a .safetensors file, or a folder in diffusers' layout")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return TensorFile(path, shapes, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(f"{path.name} is damaged or truncated ({error})", where=str(path), mend="fetch or copy it again") from error


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
        table = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise BadCheckpoint(f"it cannot be unpickled: {error}", where=str(path), mend="fetch it again, or as .safetensors") from error
    tensors = dict(_flat(table)) if isinstance(table, dict) else {}
    return TensorFile(path, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, loaded=tensors)


def _flat(table: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors of nested tables by dotted names; ``state_dict`` is no part of a name."""
    import torch

    for name, value in table.items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, Mapping):
            yield from _flat(value, prefix if name == "state_dict" else f"{prefix}{name}.")
