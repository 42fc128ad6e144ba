"""PixArt-α (arXiv 2310.00426) and PixArt-Σ (2403.04692): a transformer with cross-attention to T5's tokens, in the latents of SD or SDXL.

Prompts are read in lower case, as diffusers' pipelines do where the packages that clean captions are not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from realcompo.interfaces import Request, Step
from realcompo.toolkit import Checkpoint, Half, Loader, TextEncoding, TransformerBranch, UNetConditioning
from realcompo.toolkit.loading import Classes
from realcompo.toolkit.sequences import T5Encoding
from realcompo.toolkit.transformer_traits import check_widths, transformer_config

from .options import PixArtOptions


class PixArtBranch(TransformerBranch):
    """The transformer of both; α's 1024-pixel checkpoints are told the picture's size and shape as well."""

    options_class = PixArtOptions
    classes: ClassVar[Classes] = {
        "transformer": ("diffusers", ("PixArtTransformer2DModel",)),
        "text_encoder": ("transformers", ("T5EncoderModel",)),
    }
    encodings: ClassVar[Mapping[str, type[TextEncoding]]] = {"text_encoder": T5Encoding}
    options: PixArtOptions

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        config = transformer_config(checkpoint, cls.classes)
        check_widths(checkpoint, "text_encoder", config["caption_channels"], "caption_channels")

    @classmethod
    def read_text(cls, checkpoint: Checkpoint, options: Any, loader: Loader | None = None) -> TextEncoding:
        encoder = None if loader is None else loader.module("text_encoder")
        return T5Encoding(cls.words(checkpoint, "text_encoder"), encoder, length=options.text_length, masked=True, lower=True)

    def prepare(self, request: Request) -> Tensor | None:
        """(B, 3) height, width and their quotient, where the network is told of them."""
        config = self.transformer.config
        told = config.use_additional_conditions
        if not (config.sample_size == 128 if told is None else told):
            return None
        height, width = request.size
        return torch.tensor([height, width, height / width], device=self.device).expand(len(request.prompts), 3)

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """Which tokens are read, and the micro-conditions."""
        size = None if conditioning.extra is None else conditioning.rows(half, conditioning.extra).to(sample)
        told = {"resolution": None, "aspect_ratio": None} if size is None else {"resolution": size[:, :2], "aspect_ratio": size[:, 2:]}
        return {**super().told(sample, step, conditioning, half), "added_cond_kwargs": told}
