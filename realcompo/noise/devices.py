"""Devices and precisions, with errors that say what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..errors import BadOption, DeviceError, nearest

T = TypeVar("T")

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}

_INSTEAD = "leave runtime.compile out (--set runtime.compile=none)"


def default_device(device: Any = None) -> torch.device:
    """The device asked for, or the best there is.

    Raises:
        DeviceError: it is not there.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise DeviceError(f"{device!r} is no device", mend="write cpu, cuda, cuda:1 or mps") from error
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            raise DeviceError(
                f"no device {device} here ({count} CUDA devices)",
                mend="use device='cpu', or a torch build with CUDA",
            )
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no MPS device here", mend="use device='cpu'")
    return found


def accelerators() -> list[tuple[str, str, tuple[int, int] | None]]:
    """(name for `device`, what it is, (free, all) bytes of its memory, or None where it has none of its own) of each that torch can use."""
    found: list[tuple[str, str, tuple[int, int] | None]] = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        told = f"{torch.cuda.get_device_name(index)} (torch for CUDA {torch.version.cuda})"
        found.append((f"cuda:{index}", told, torch.cuda.mem_get_info(index)))
    if torch.backends.mps.is_available():
        found.append(("mps", "Apple's GPU", None))
    return found


def cuda_devices() -> int:
    """How many CUDA devices this process sees."""
    return torch.cuda.device_count()


def torch_dtype(dtype: Any = None) -> torch.dtype:
    """A torch dtype from its name (float32 if None).

    Raises:
        BadOption: unknown.
    """
    if dtype is None:
        return torch.float32
    if isinstance(dtype, torch.dtype):
        return dtype
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise BadOption(f"no dtype is called {dtype!r}", mend=nearest(str(dtype), DTYPES))
    return DTYPES[dtype]


@contextmanager
def explain_memory() -> Iterator[None]:
    """Turn a full device into an error that says what to turn on."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"the device's memory is full: {str(error).splitlines()[0]}",
            mend="turn on offload=True and dtype='float16', draw fewer pictures at once, or a smaller height and width",
        ) from error


def steadily(device: torch.device, call: Callable[[], T]) -> T:
    """What `call` returns, a gradient that it takes being the same at every run.

    On a CUDA device the fused attentions' backward passes add up in whatever order their threads end unless torch is told otherwise: on an
    H100 a picture that was drawn twice differed. Where an operation has no steady form, the call is made again as it comes.
    """
    if device.type != "cuda":
        return call()
    from torch.utils import deterministic

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by torch, which otherwise refuses matrix products here
    asked, only_warned, filled = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )
    try:
        # not `warn_only`: told so, the attentions warn and stay as they are
        torch.use_deterministic_algorithms(True)
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        return call()
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
    finally:
        torch.use_deterministic_algorithms(asked, warn_only=only_warned)
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
    return call()


def versions(distributions: Iterable[str] = ()) -> dict[str, str]:
    """Versions of what decides the pixels."""
    found = {"python": platform.python_version()}
    for name in ("realcompo", "torch", "diffusers", "transformers", *sorted(set(distributions))):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def check_compiler(device: torch.device) -> None:
    """Whether torch.compile can make code for a device: on a CPU by a C++ compiler and Python's headers, on CUDA by Triton.

    Raises:
        DeviceError: it cannot; says what is missing.
    """
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise DeviceError("torch.compile needs Triton on CUDA, which is not installed", where="runtime.compile", mend=_INSTEAD)
        return
    wanted = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    if shutil.which(wanted) is None:
        raise DeviceError(
            f"torch.compile needs a C++ compiler on {device.type}, and {wanted!r} is not found",
            where="runtime.compile",
            mend=f"install one (Debian: apt install g++) or name it in the environment as CXX, or {_INSTEAD}",
        )
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if not headers.is_file():
        raise DeviceError(
            f"torch.compile needs Python's headers, and {headers} is missing",
            where="runtime.compile",
            mend=f"install them (Debian: apt install python3-dev), or {_INSTEAD}",
        )


@contextmanager
def explain_compiler() -> Iterator[None]:
    """Turn what torch's compiler cannot do into an error that says what to leave out."""
    try:
        yield
    except Exception as error:
        of_compiler = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
        if not of_compiler:
            raise
        raise DeviceError(
            f"the networks cannot be compiled here: {str(error).strip().splitlines()[0]}", where="runtime.compile", mend=_INSTEAD
        ) from error
