"""GLIGEN: a UNet whose gated self-attention sees, beside the picture's tokens, one token a box.

Padding matters: null tokens take part in that attention without a mask, so every picture is padded to `max_objects`, a
picture without boxes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from realcompo.conditions import Boxes
from realcompo.errors import BadCheckpoint, BadCondition
from realcompo.interfaces import Request, Step
from realcompo.toolkit import Checkpoint, Half, UNetBranch, UNetConditioning
from realcompo.toolkit.traits import unet_config

from .options import GligenOptions

DEFAULT_MAX_OBJECTS = 30
"""What GLIGEN's checkpoints were trained with; their configs do not say."""


@dataclass(frozen=True)
class Grounding:
    """Boxes of a batch, padded to N = max_objects.

    Attributes:
        boxes: (B, N, 4) as (x0, y0, x1, y1) in [0, 1].
        phrases: (B, N, D) pooled embeddings.
        masks: (B, N): 1 for a box, 0 for padding.
    """

    boxes: Tensor
    phrases: Tensor
    masks: Tensor


class GligenBranch(UNetBranch):
    """Drives the gated UNet itself, with boxes of their own for each picture of a batch."""

    options_class = GligenOptions
    options: GligenOptions

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        kind = unet_config(checkpoint).get("attention_type", "default")
        if kind != "gated":
            what = "has no gated attention" if kind == "default" else f"has attention of type {kind!r}"
            raise BadCheckpoint(
                f"it is no GLIGEN checkpoint for text boxes: its UNet {what}",
                where=checkpoint.where,
                mend="choose one whose unet/config.json says attention_type 'gated'",
            )

    @property
    def max_objects(self) -> int:
        """N: the boxes that every picture is padded to."""
        return self.traits.max_objects or DEFAULT_MAX_OBJECTS

    def prepare(self, request: Request) -> Grounding:
        """The batch's boxes.

        Raises:
            BadCondition: another kind of condition, or more boxes than the checkpoint takes.
        """
        count, most = len(request.conditions), self.max_objects
        layouts = [_items(condition, b, most) for b, condition in enumerate(request.conditions)]
        words = sorted({item.phrase for items in layouts for item in items})
        pooled = dict(zip(words, self.text.pool(words), strict=True)) if words else {}
        boxes = torch.zeros(count, most, 4)
        masks = torch.zeros(count, most)
        phrases = torch.zeros(count, most, self.unet.config.cross_attention_dim, device=self.device, dtype=self.dtype)
        for b, items in enumerate(layouts):
            for n, item in enumerate(items):
                boxes[b, n] = torch.tensor(item.box)
                masks[b, n] = 1
                phrases[b, n] = pooled[item.phrase].to(phrases)
        return Grounding(boxes.to(phrases), phrases, masks.to(phrases))

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """The boxes while they hold; the unconditional half sees only null tokens. Then nothing, as if the fusers were off."""
        if step.index >= int(self.options.grounding_share * step.count):
            return {}
        extra: Grounding = conditioning.extra
        grounding = {
            "boxes": conditioning.rows(half, extra.boxes),
            "positive_embeddings": conditioning.rows(half, extra.phrases),
            "masks": conditioning.rows(half, extra.masks, torch.zeros_like(extra.masks)),
        }
        return {"cross_attention_kwargs": {"gligen": {name: value.to(sample) for name, value in grounding.items()}}}

    def denoise(self, z: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Tensor:
        with _fusers_on(self.unet):
            return super().denoise(z, step, conditioning, half)


def _items(condition: Any, picture: int, most: int) -> tuple[Any, ...]:
    """The boxes of one picture; none if it has no condition."""
    if condition is None:
        return ()
    if not isinstance(condition, Boxes):
        raise BadCondition(f"GLIGEN takes boxes, not {condition.kind}", where=f"picture {picture}", mend="give it Boxes")
    if len(condition.items) > most:
        raise BadCondition(
            f"{len(condition.items)} boxes, but the checkpoint takes at most {most}",
            where=f"picture {picture}",
            mend=f"leave out {len(condition.items) - most}",
        )
    return condition.items


@contextmanager
def _fusers_on(unet: Any) -> Iterator[None]:
    """diffusers' pipeline leaves the fusers of its network switched off after a run; on while ours runs, then as they were."""
    off = [module for module in unet.modules() if type(module).__name__ == "GatedSelfAttentionDense" and not module.enabled]
    for module in off:
        module.enabled = True
    try:
        yield
    finally:
        for module in off:
            module.enabled = False
