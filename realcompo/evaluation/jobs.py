"""What is drawn for a study, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..interfaces import Case
from ..recipes.recipe import PictureEntry

Told = Mapping[str, Any] | str
"""Of a picture: its facts (pixels and cost among them), or why there is none."""


@dataclass(frozen=True)
class Job:
    """A picture to draw: its case, what the recipe is asked, and the digest of that."""

    case: Case
    entry: PictureEntry
    request: str
