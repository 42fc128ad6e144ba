"""What a picture's parts are called across branches: a region, and the regions of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..conditions import Box

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a picture that belongs to a phrase of its prompt.

    Attributes:
        id: names the region across branches; unique in a picture.
        phrase: words of the prompt.
        box: (x0, y0, x1, y1) in [0, 1], or
        mask: (H, W) array in [0, 1] of any resolution with the picture's aspect ratio.
        span: (start, end) characters of the prompt; overrides the search for the phrase.
        prompt, negative_prompt: words of its own, for branches that draw a region by them (`Branch.region_prompts`).
    """

    id: str
    phrase: str
    box: Box | None = None
    mask: np.ndarray[Any, Any] | None = None
    span: tuple[int, int] | None = None
    prompt: str | None = None
    negative_prompt: str | None = None


@dataclass(frozen=True)
class Regions:
    """The regions of a batch: `pictures[i]` are those of picture i. Ragged: pictures may have different numbers.

    Attributes:
        least: R where no picture has as many: of pictures that were taken out of a larger batch.
    """

    pictures: tuple[tuple[Region, ...], ...]
    least: int = 0

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def most(self) -> int:
        """R: the most regions of any picture."""
        return max(self.least, max((len(picture) for picture in self.pictures), default=0))

    def only(self, pictures: Sequence[int]) -> Regions:
        """Of these pictures, any order, repeats allowed; R stays as it is."""
        return Regions(tuple(self.pictures[b] for b in pictures), self.most)

    def masks(self, h: int, w: int) -> Tensor:
        """(B, R, h, w) fractional coverage in [0, 1]; never empty for a region with area; zeros where a picture has no such region."""
        from ..masks import rasterise

        return rasterise(self.pictures, h, w, self.least)

    def present(self) -> Tensor:
        """(B, R) bool: which regions exist. Guard with it before any division."""
        from ..masks import presence

        return presence(self.pictures, self.least)

    @staticmethod
    def union(parts: Sequence[Regions]) -> Regions:
        """Regions of several spatial branches by id: each id counts once, the first to bring it wins."""
        pictures = []
        for per_branch in zip(*(part.pictures for part in parts), strict=True):
            merged: dict[str, Region] = {}
            for regions in per_branch:
                for region in regions:
                    merged.setdefault(region.id, region)
            pictures.append(tuple(merged.values()))
        return Regions(tuple(pictures))
