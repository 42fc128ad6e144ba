"""The option `ip_adapter`; no torch here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ..recipes.copies import PictureCopy
from ..specs import Options


def _copied(value: Any) -> Any:
    """A path, or a picture, as the copy that a recipe holds; a copy's own table as it is."""
    return value if isinstance(value, dict) else PictureCopy.of(value, name="ip_adapter image")


Shown = Annotated[PictureCopy, BeforeValidator(_copied)]


class IpAdapterOptions(Options):
    """An IP-Adapter: its files, and the pictures that it shows the network."""

    source: str = Field(description="The adapter's file (.safetensors): a path, or package://module/path.")
    image_encoder: str | None = Field(
        None,
        description="Folder of the CLIP image encoder that it was trained with (config.json and weights). Left out: a folder "
        "'image_encoder' beside the adapter's file, where the published ones have it.",
    )
    scale: Annotated[float, Field(allow_inf_nan=False)] = Field(
        1.0, description="How strongly its pictures are attended to; 0 is not at all."
    )
    image: Shown | None = Field(None, description="The picture to show it: a path, or a picture; a recipe keeps its digest and a copy.")
    regions: dict[str, Shown] = Field(
        default_factory=dict,
        description="Phrase or id of a region → its own picture, which is seen inside the region's mask alone; `image` is then seen "
        "outside of them all.",
    )
