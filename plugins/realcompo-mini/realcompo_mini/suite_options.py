"""Options of the suite; importing them imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from realcompo.specs import Options


class SceneOptions(Options):
    """Of `mini/scenes`."""

    split: Literal["tune", "test"] = Field("tune", description="of the scenes: tune for choosing settings, test for telling of them")
    count: int = Field(100, ge=1, description="scenes")
    noises: int = Field(1, ge=1, description="noises a scene")
    scene_seed: int = Field(0, description="another number draws other scenes")
    shuffled: bool = Field(False, description="tell each scene the boxes of the next one, for its own words: a control of the layout")
