"""Tensors from a file of the user's: safetensors, or a .pth that is read as tensors only, so that nothing in it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realcompo.errors import BadCheckpoint
from realcompo_suites.files import named

if TYPE_CHECKING:
    from torch import Tensor


def tensors(path: str | None, option: str, what: str) -> dict[str, Tensor]:
    """Name → tensor.

    Raises:
        BadOption: no file is named, or none is there. BadCheckpoint: it holds something else.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    place = named(path, option, what)
    try:
        found = load_file(place) if place.suffix == ".safetensors" else torch.load(place, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        said = str(error).strip().splitlines()
        raise BadCheckpoint(f"it holds no plain tensors: {said[0] if said else error}", where=str(place), mend="fetch it again") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise BadCheckpoint("it is no table of tensors", where=str(place), mend=f"is it the {what}?")
    return dict(found)
