"""What the option `vae` means for a branch: where it would never be used, and the checkpoint with that VAE in place of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import BadCheckpoint, BadOption
from ..specs import BranchSpec
from .options import CheckpointOptions
from .own_vae import find_vae
from .sources import Checkpoint, is_pipeline, locate_part
from .traits import SPACES, unet_config


def check_own_vae(spec: BranchSpec, options: CheckpointOptions, source: Any) -> None:
    """Refuse a VAE that would never be used, or that would stand beside a pipeline's own."""
    if options.vae is None:
        return
    if is_pipeline(source):
        raise BadCheckpoint("the option vae would change a pipeline that you hold", where=options.vae, mend="set pipe.vae yourself")
    if spec.role == "spatial":
        raise BadOption(
            "a spatial branch decodes no picture, so its VAE is never used",
            where=f"{spec.id}, option 'vae'",
            mend="set it for the fidelity branch",
        )


def with_own_vae(checkpoint: Checkpoint, spec: BranchSpec, options: CheckpointOptions) -> Checkpoint:
    """The checkpoint with the VAE of the option `vae`, whose latents are checked against those of its own, or of its kind."""
    if options.vae is None:
        return checkpoint
    own = checkpoint.config("vae") if checkpoint.has("vae") else None
    known = spec.traits is None or spec.traits.latent.name in SPACES
    if own is None and not checkpoint.has("unet"):
        raise BadCheckpoint("it has no VAE, so nothing tells which VAE fits it", where=checkpoint.where, mend="leave the option vae out")
    xl = checkpoint.has("unet") and unet_config(checkpoint).get("addition_embed_type") == "text_time"
    family = ("sdxl" if xl else "sd1") if known else None
    vouched = own is None and options.latent_space is not None
    return replace(
        checkpoint, vae=find_vae(options.vae, locate_part(options.vae, options), options, own, family, check_latents=not vouched)
    )
