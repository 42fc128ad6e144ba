"""A transformer from a file of its own (option `network`): safetensors in diffusers' or the original layout, or GGUF, as people with cards
of 8 to 24 GB have them. All else of the checkpoint is its folder's.

GGUF stays quantised in memory; each layer's weights are widened when it runs, in plain torch, so that maps have their gradient. fp8 is
widened to the branch's dtype when it is read.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BadCheckpoint, BadOption
from .file_kinds import brief, unfinished
from .options import TransformerOptions
from .sources import Checkpoint, named_path
from .tensor_files import open_tensors

_KERNELS = "DIFFUSERS_GGUF_CUDA_KERNELS"


def find_network(options: TransformerOptions, name: str, library: str = "diffusers") -> Path | None:
    """The file that the option names, checked as far as can be without reading tensors; None where there is none.

    Args:
        name: the class of the network.

    Raises:
        BadCheckpoint: not there, pickled, damaged, or of a class that diffusers reads from folders only.
        BadOption: what it needs is not installed, or with what it does not go.
    """
    if options.network is None:
        return None
    where = options.network
    path = named_path(where, options.allow_pickle)
    if not path.is_file():
        raise BadCheckpoint(f"there is no such file{unfinished(path.parent, path.stem)}", where=where, mend="check the option network")
    module: Any = importlib.import_module(f"{library}.loaders.single_file_model")
    if name not in module.SINGLE_FILE_LOADABLE_CLASSES:
        raise BadCheckpoint(f"{library} reads no {name} from a single file", where=where, mend="leave the option network out")
    if not is_gguf(path):
        open_tensors(path)
        return path
    if find_spec("gguf") is None:
        raise BadOption("a GGUF file needs the package gguf", where="option network", mend="pip install gguf (the extra realcompo[gguf])")
    if options.loras:
        raise BadOption(
            "a LoRA is merged into weights, and those of a GGUF file stay quantised",
            where="option lora",
            mend="merge the LoRA before the file is quantised, or draw from the safetensors",
        )
    if os.getenv(_KERNELS, "").lower() in ("1", "true", "yes"):
        raise BadOption(
            f"{_KERNELS} is set: fused kernels have no gradient to what comes in, which the balance follows",
            where="environment",
            mend=f"unset {_KERNELS}",
        )
    return path


def is_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF does, whatever its name."""
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def load_network(path: Path, checkpoint: Checkpoint, library: str, name: str, dtype: torch.dtype) -> nn.Module:
    """The network of a file, in evaluation mode on the CPU, by the config of the checkpoint's folder.

    Raises:
        BadCheckpoint: its tensors are not those of this architecture.
    """
    diffusers: Any = importlib.import_module(library)
    cls = getattr(diffusers, name)
    quantised = {"quantization_config": diffusers.GGUFQuantizationConfig(compute_dtype=dtype)} if is_gguf(path) else {}
    mend = "choose a file of the transformer that the checkpoint's config describes, or another checkpoint for it"
    if checkpoint.folder is None:
        raise BadCheckpoint("its config stands in no folder", where=checkpoint.where, mend="set pipe.transformer yourself")
    try:
        network = cls.from_single_file(
            _link(path), config=str(checkpoint.folder), subfolder="transformer", local_files_only=True, torch_dtype=dtype, **quantised
        )
    except Exception as error:  # diffusers' converters raise KeyError, ValueError, RuntimeError …
        raise BadCheckpoint(f"it cannot be read as a {name}: {brief(error)}", where=str(path), mend=mend) from error
    lost = [key for key, tensor in network.state_dict().items() if tensor.is_meta]
    if lost:
        raise BadCheckpoint(f"{len(lost)} of its tensors are missing, among them {lost[0]!r}", where=str(path), mend=mend)
    found: nn.Module = network.eval()
    return found


def _link(path: Path) -> str:
    """diffusers knows a file by the end of its name."""
    endings: Sequence[str] = (".gguf",) if is_gguf(path) else (".safetensors",)
    if path.suffix not in endings:
        raise BadCheckpoint(f"it is a {endings[0]} file of another name", where=str(path), mend=f"rename it to end in {endings[0]}")
    return str(path)
