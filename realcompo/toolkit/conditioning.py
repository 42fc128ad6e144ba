"""What the branches of the toolkit keep of a run: text of both halves of guidance, and the tokens of each region."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ..interfaces import Inpainting
from .deep import DeepFeatures
from .ip_adapter import ImagePrompt
from .region_loras import RegionMasks
from .text import Text

Half = Literal["both", "conditional", "unconditional"]
"""The rows of a forward pass: the 2B of guidance, unconditional ones first as in diffusers' pipelines, or B of one kind."""


@dataclass(frozen=True)
class UNetConditioning:
    """All that belongs to a run, of a UNet's or of a transformer's.

    Attributes:
        conditional, unconditional: text of B prompts; no unconditional text where there is no guidance.
        weights: (B, R, L) of each region's tokens.
        guidance_scale: of the blend u + g·(c − u).
        extra: what `DenoiserBranch.prepare` made.
        told_guidance: the scale that a network is told as a number, of UNets that are.
        inpainting: what an inpainting network is told beside z.
        images: what an IP-Adapter shows, of branches that have one.
        regional: where the LoRAs of regions act, of branches that have some.
        deep: what a UNet's run keeps between steps where the option `deep_every` says so; empty otherwise.
    """

    conditional: Text
    unconditional: Text | None
    weights: Tensor
    guidance_scale: float
    extra: Any = None
    inpainting: Inpainting | None = None
    told_guidance: float | None = None
    images: ImagePrompt | None = None
    regional: RegionMasks | None = None
    deep: DeepFeatures = field(default_factory=DeepFeatures, compare=False, repr=False)

    def beside(self, sample: Tensor, half: Half) -> Tensor:
        """The sample (rows, C, h, w) with the mask and what stands around it as further channels, of networks that inpaint."""
        if self.inpainting is None:
            return sample
        more = torch.cat([self.inpainting.mask.to(sample), self.inpainting.around.to(sample)], dim=1)
        return torch.cat([sample, self.rows(half, more)], dim=1)

    def rows(self, half: Half, conditional: Tensor, unconditional: Tensor | None = None) -> Tensor:
        """B conditional rows and B unconditional ones (the same, if None) as the rows of a half."""
        other = conditional if unconditional is None else unconditional
        return {
            "both": lambda: torch.cat([other, conditional]),
            "conditional": lambda: conditional,
            "unconditional": lambda: other,
        }[half]()

    def text(self, half: Half) -> Tensor:
        """The hidden states of a half, (rows, L, D)."""
        return self.rows(half, self.conditional.hidden, None if self.unconditional is None else self.unconditional.hidden)

    def pooled(self, half: Half) -> Tensor:
        """The pooled embeddings of a half, (rows, P); only of encoders that have some."""
        other = None if self.unconditional is None else self.unconditional.pooled
        if self.conditional.pooled is None:
            raise ValueError("its text encoders pool no prompt")
        return self.rows(half, self.conditional.pooled, other)

    def mask(self, half: Half) -> Tensor | None:
        """Which tokens of a half are read, (rows, L): 1, or 0 for padding; None of encoders whose padding is read too."""
        other = None if self.unconditional is None else self.unconditional.mask
        return None if self.conditional.mask is None else self.rows(half, self.conditional.mask, other)
