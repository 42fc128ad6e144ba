"""SDXL: two text encoders side by side, and a UNet that is told a pooled prompt and six sizes as well.

The UNet sees the hidden states before the last layer of both encoders, (B, 77, 768 + 1280), and through ``added_cond_kwargs`` the
second encoder's pooled embedding and the time ids: original size, crop and target size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from realcompo.errors import BadCheckpoint
from realcompo.interfaces import Request, Step
from realcompo.toolkit import Checkpoint, Half, Text, TextEncoding, UNetBranch, UNetConditioning

from .checks import check_conditions, check_parts
from .options import SDXLOptions


@dataclass(frozen=True)
class TimeIds:
    """Sizes (B, 6) that the UNet is told, of each half."""

    conditional: Tensor
    unconditional: Tensor


class SDXLBranch(UNetBranch):
    """A text-to-image UNet of SDXL's kind: the base, its fine-tunes, or a StableDiffusionXLPipeline that the user holds."""

    options_class = SDXLOptions
    encoders: ClassVar[Mapping[str, str]] = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
    text_layer = -2
    options: SDXLOptions

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        """As in all branches; told from its numbers, an SDXL refiner is refused as such."""
        check_conditions(checkpoint, told="text_time")
        unet = checkpoint.config("unet")
        if not checkpoint.has("text_encoder") and checkpoint.has("text_encoder_2"):
            raise BadCheckpoint(
                "it is an SDXL refiner: it has the second text encoder alone, and redraws pictures of a base",
                where=checkpoint.where,
                mend="choose an SDXL base, or a fine-tune of it",
            )
        check_parts(checkpoint, (*cls.encoders, *cls.encoders.values()))
        pooled = checkpoint.config("text_encoder_2").get("projection_dim", 512)  # transformers' default, which a config leaves out
        told = pooled + 6 * unet.get("addition_time_embed_dim", 0)
        expected = unet.get("projection_class_embeddings_input_dim", told)
        if told != expected:
            raise BadCheckpoint(
                f"its UNet expects {expected} numbers beside the text; a pooled prompt of {pooled} and six sizes are {told}",
                where=checkpoint.where,
                mend="choose an SDXL base, or take unet and text_encoder_2 from one checkpoint",
            )

    def encode_negative(self, prompts: Sequence[str], text: TextEncoding | None = None) -> Text:
        """Zeros for an empty one where the checkpoint was trained so, which is what diffusers' pipeline does without a negative prompt."""
        made = super().encode_negative(prompts, text)
        forced = self.options.force_zeros_for_empty_prompt
        if forced is None:
            forced = bool(self.checkpoint.setting("force_zeros_for_empty_prompt", True))
        return made.without([prompt == "" for prompt in prompts]) if forced else made

    def prepare(self, request: Request) -> Any:
        """The time ids of B pictures; a subclass may keep more."""
        halves = [torch.tensor(ids, device=self.device, dtype=torch.float32) for ids in self.options.time_ids(request.size)]
        return TimeIds(*(ids.expand(len(request.prompts), -1) for ids in halves))

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """Pooled prompts and time ids, for the UNet and for any network beside it that was made from one."""
        ids: TimeIds = conditioning.extra
        return {
            "added_cond_kwargs": {
                "text_embeds": conditioning.pooled(half).to(sample),
                "time_ids": conditioning.rows(half, ids.conditional, ids.unconditional),
            }
        }
