"""What a checkpoint is, told from its config files: which conditions its UNet is told of, and whether the parts for them are there."""

from __future__ import annotations

from collections.abc import Iterable

from realcompo.errors import BadCheckpoint
from realcompo.toolkit import Checkpoint
from realcompo.toolkit.traits import unet_config


def check_conditions(checkpoint: Checkpoint, told: str | None) -> None:
    """Refuse a UNet that is told of other things than text and `told`, the ``addition_embed_type`` of its config.

    Raises:
        BadCheckpoint: another architecture; says of which.
    """
    config = unet_config(checkpoint)
    added = config.get("addition_embed_type")
    if added == told and config.get("encoder_hid_dim_type") is None and config.get("class_embed_type") is None:
        return
    elif added == "text_time" != told:
        what = "an SDXL checkpoint"
    elif added is None and told == "text_time":
        what = "no SDXL checkpoint: its UNet is told of text alone, as in Stable Diffusion 1.x and 2.x"
    else:
        extra = [config.get(key) for key in ("addition_embed_type", "encoder_hid_dim_type", "class_embed_type")]
        what = f"conditioned on {', '.join(repr(one) for one in extra if one not in (None, told))} too"
    raise BadCheckpoint(
        f"it is {what}: {checkpoint.describe()}",
        where=checkpoint.where,
        mend="use the branch of its own family (`realcompo list`)",
    )


def check_parts(checkpoint: Checkpoint, parts: Iterable[str]) -> None:
    """Refuse a checkpoint without one of the parts.

    Raises:
        BadCheckpoint: names the first that is missing.
    """
    for part in parts:
        if not checkpoint.has(part):
            raise BadCheckpoint(f"it has no {part}", where=checkpoint.where, mend="choose a whole checkpoint, or put the part back")
