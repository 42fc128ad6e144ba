"""Stable Diffusion 1.x and 2.x: the toolkit's branch as it stands, once the checkpoint is known to be one."""

from __future__ import annotations

from realcompo.toolkit import Checkpoint, UNetBranch

from .checks import check_conditions, check_parts


class StableDiffusionBranch(UNetBranch):
    """A text-to-image UNet with one CLIP text encoder. v-predictions are returned as they are; the core converts."""

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        check_conditions(checkpoint, told=None)
        check_parts(checkpoint, (*cls.encoders, *cls.encoders.values()))
