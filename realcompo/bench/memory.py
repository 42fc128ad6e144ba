"""The most memory that a block held: as torch's allocator counts it on CUDA, by the tensors that lived elsewhere."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..interfaces import Branch

ALLOCATOR = "the most that torch's allocator had given out on the device"
TENSORS = "the most that the networks' weights and all tensors made by the run held at once; what a kernel takes for itself is not seen"


class Living(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the tensors that were made inside it and are still held by anyone, a graph too.

    Attributes:
        now, most: bytes at present, and the most so far.
    """

    def __init__(self, known: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._seen = {_address(one) for one in known}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """As in `OperationCount`."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor):
                self._add(one)
        return out

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if not size or address in self._seen:
            return
        self._seen.add(address)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, address, size).atexit = False

    def _gone(self, address: int, size: int) -> None:
        self._seen.discard(address)
        self.now -= size


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def weights(branches: Iterable[Branch]) -> list[torch.Tensor]:
    """The tensors of the branches' networks, each once."""
    found: dict[int, torch.Tensor] = {}
    for branch in branches:
        networks: dict[str, torch.nn.Module] = getattr(branch, "networks", dict)()
        for network in networks.values():
            for tensor in (*network.parameters(), *network.buffers()):
                found.setdefault(_address(tensor), tensor)
    return list(found.values())


class Peak:
    """The most that a block held on a device, the weights of the branches included.

    Attributes:
        weights: bytes of the branches' networks.
        most: bytes, when the block is over.
        how: what was counted.
    """

    def __init__(self, device: torch.device, branches: Iterable[Branch]) -> None:
        self.device = device
        known = weights(branches)
        self.weights = sum({_address(one): one.untyped_storage().nbytes() for one in known}.values())
        self.most = 0
        self.how = ALLOCATOR if device.type == "cuda" else TENSORS
        self._known = known
        self._others = 0  # bytes on the device that are not of these branches, such as the other side's networks
        self._stack = ExitStack()

    def __enter__(self) -> Peak:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            here = {_address(one): one.untyped_storage().nbytes() for one in self._known if one.device.type == "cuda"}
            self._others = torch.cuda.memory_allocated(self.device) - sum(here.values())
        else:
            self._living = self._stack.enter_context(Living(self._known))
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.most = torch.cuda.max_memory_allocated(self.device) - self._others
        else:
            self._stack.close()
            self.most = self.weights + self._living.most

    def told(self) -> dict[str, Any]:
        """For a record."""
        return {"weights_bytes": self.weights, "peak_bytes": self.most, "how": self.how}
