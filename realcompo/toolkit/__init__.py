"""For authors of branches with a UNet or a transformer: one loader, text encoding, guidance and map reading that all of them share.

Importing this package imports no torch, so a plugin's declaring module may take `UNetOptions` and
`TransformerOptions` from here; the rest is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .options import TransformerOptions, UNetOptions

if TYPE_CHECKING:
    from ..noise.devices import steadily
    from .conditioning import Half, UNetConditioning
    from .denoiser import DenoiserBranch
    from .loading import Loader
    from .maps import MapReader
    from .sources import Checkpoint, open_checkpoint
    from .text import Text, TextEncoding
    from .transformer import TransformerBranch
    from .unet import UNetBranch
    from .upon import BranchUpon

_LAZY = {
    "BranchUpon": ".upon",
    "Checkpoint": ".sources",
    "DenoiserBranch": ".denoiser",
    "Half": ".conditioning",
    "Loader": ".loading",
    "MapReader": ".maps",
    "Text": ".text",
    "TextEncoding": ".text",
    "TransformerBranch": ".transformer",
    "UNetBranch": ".unet",
    "UNetConditioning": ".conditioning",
    "open_checkpoint": ".sources",
    "steadily": "..noise.devices",
}

__all__ = [
    "BranchUpon",
    "Checkpoint",
    "DenoiserBranch",
    "Half",
    "Loader",
    "MapReader",
    "Text",
    "TextEncoding",
    "TransformerBranch",
    "TransformerOptions",
    "UNetBranch",
    "UNetConditioning",
    "UNetOptions",
    "open_checkpoint",
    "steadily",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name], __name__), name)
