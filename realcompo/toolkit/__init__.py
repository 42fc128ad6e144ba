"""For authors of UNet branches: one loader, text encoding, guidance and map reading that all of them share.

Importing this package imports no torch, so a plugin's declaring module may take `UNetOptions` from here; the rest is imported
on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .options import UNetOptions

if TYPE_CHECKING:
    from ..noise.devices import steadily
    from .loading import Loader
    from .maps import MapReader
    from .sources import Checkpoint, open_checkpoint
    from .text import Text, TextEncoding
    from .unet import Half, UNetBranch, UNetConditioning

_LAZY = {
    "Checkpoint": ".sources",
    "Half": ".unet",
    "Loader": ".loading",
    "MapReader": ".maps",
    "Text": ".text",
    "TextEncoding": ".text",
    "UNetBranch": ".unet",
    "UNetConditioning": ".unet",
    "open_checkpoint": ".sources",
    "steadily": "..noise.devices",
}

__all__ = [
    "Checkpoint",
    "Half",
    "Loader",
    "MapReader",
    "Text",
    "TextEncoding",
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
