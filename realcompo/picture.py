"""What a run gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .interfaces import Region, Regions
from .recipe import Recipe
from .trace import Trace

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Result:
    """Pictures and everything about them.

    Attributes:
        images: B pictures, or tensors as `output_type` asked.
        batch_regions: regions of each picture.
        trace: loss, gradients and weights a step.
        recipe: that draws the same pictures again.
        latents: (B, C, h, w) clean latents, before decoding.
        facts: what is recorded beside the recipe: fingerprints, versions.
    """

    images: Any
    batch_regions: Regions
    trace: Trace
    recipe: Recipe
    latents: Tensor
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> Any:
        """The first picture."""
        return self.images[0]

    @property
    def regions(self) -> tuple[Region, ...]:
        """Regions of the first picture."""
        return self.batch_regions.pictures[0]
