"""Stable Diffusion 1.x and 2.x: the toolkit's branch as it stands, once the checkpoint is known to be one."""

from __future__ import annotations

from realcompo.errors import BadCheckpoint
from realcompo.toolkit import Checkpoint, UNetBranch
from realcompo.toolkit.traits import unet_config


class StableDiffusionBranch(UNetBranch):
    """A text-to-image UNet with one CLIP text encoder. v-predictions are returned as they are; the core converts."""

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        config = unet_config(checkpoint)
        for part in ("text_encoder", "tokenizer"):
            if not checkpoint.has(part):
                raise BadCheckpoint(f"it has no {part}", where=checkpoint.where, mend="choose a whole checkpoint, or put the part back")
        extra = config.get("addition_embed_type") or config.get("encoder_hid_dim_type") or config.get("class_embed_type")
        if extra is not None:
            what = "an SDXL checkpoint" if extra == "text_time" else f"conditioned on {extra!r} too"
            raise BadCheckpoint(
                f"it is {what}: {checkpoint.describe()}",
                where=checkpoint.where,
                mend="use the branch of its own family (`realcompo list`)",
            )
