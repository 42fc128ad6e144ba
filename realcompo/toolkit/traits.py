"""From config files to `Traits`: latent space, noise schedule, prediction type, size; and the refusal of other architectures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import BadCheckpoint, nearest
from ..processes import PREDICTIONS, NoiseSchedule, PredictionType, Schedule, read_process
from ..specs import BranchSpec, LatentSpace, Traits
from .guard import bare
from .options import CheckpointOptions
from .sources import Checkpoint

SPACES = {
    "sd": LatentSpace("sd", 4, 8, 0.18215),
    "sdxl": LatentSpace("sdxl", 4, 8, 0.13025),
    "sd3": LatentSpace("sd3", 16, 8, 1.5305, 0.0609),
    "flux": LatentSpace("flux", 16, 8, 0.3611, 0.1159),
}
"""Latent spaces known by their numbers; SD 1.x, 2.x and PixArt-α share one, SDXL and PixArt-Σ another, FLUX.1, Z-Image, Chroma and
Lumina 2 a third."""

_FAMILIES = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL"}
_ENCODERS = ("text_encoder", "text_encoder_2")


def unet_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The UNet's config.

    Raises:
        BadCheckpoint: it is a checkpoint of another architecture; says of which.
    """
    if checkpoint.single is not None:
        checkpoint.single.refuse()
    if not checkpoint.has("unet"):
        what = "a transformer" if checkpoint.has("transformer") else "no UNet"
        raise BadCheckpoint(
            f"it is {what}, not a Stable Diffusion UNet: it holds {checkpoint.describe()}",
            where=checkpoint.where,
            mend="choose a checkpoint with a UNet2DConditionModel in its folder 'unet'",
        )
    config = checkpoint.config("unet")
    name = config.get("_class_name") or type(bare(getattr(checkpoint.pipeline, "unet", None))).__name__
    if name != "UNet2DConditionModel":
        raise BadCheckpoint(
            f"its network is a {name}, not a UNet2DConditionModel",
            where=checkpoint.where,
            mend="choose a Stable Diffusion checkpoint",
        )
    return config


def family(config: Mapping[str, Any]) -> str:
    """An architecture's name from its UNet's config."""
    width = config.get("cross_attention_dim", 1280)
    text_time = config.get("addition_embed_type") == "text_time"
    if text_time and width != 2048:
        return f"SDXL-shaped, cross-attention width {width}"
    return _FAMILIES.get(width, f"UNet of cross-attention width {width}") if isinstance(width, int) else f"UNet of widths {width}"


def read_traits(checkpoint: Checkpoint, spec: BranchSpec, options: CheckpointOptions, own: bool = True) -> Traits:
    """Traits from config files; what they leave open is the spec's word.

    Args:
        checkpoint: opened; its weights are not read.
        spec: of the branch.
        options: of the branch.
        own: the checkpoint is the one that the spec names, so that the spec's word on its latent space holds.

    Raises:
        BadCheckpoint: another architecture, parts that do not fit together, or a latent space that nothing tells.
    """
    unet = unet_config(checkpoint)
    latent = latent_space(checkpoint, spec, options, unet["out_channels"], own)
    inpaints = spec.role != "spatial" and unet["in_channels"] == 2 * latent.channels + 1 and unet["out_channels"] == latent.channels
    for end in ("in_channels", "out_channels"):
        if unet[end] != latent.channels and not inpaints:
            raise BadCheckpoint(
                f"its UNet has {unet[end]} {end.replace('_', ' ')}, its latents {latent.channels}: it inpaints or upscales",
                where=checkpoint.where,
                mend="choose a text-to-image checkpoint; one that inpaints can be a fidelity branch",
            )
    encoders = [part for part in _ENCODERS if checkpoint.has(part)]
    widths: list[Any] = [checkpoint.config(part).get("hidden_size") for part in encoders]  # side by side, where there are several
    if widths and None not in widths and unet.get("encoder_hid_dim_type") is None and sum(widths) != unet.get("cross_attention_dim"):
        raise BadCheckpoint(
            f"its text encoder{'s are' if len(widths) > 1 else ' is'} {' + '.join(map(str, widths))} wide, "
            f"its UNet expects {unet.get('cross_attention_dim')}",
            where=checkpoint.where,
            mend=f"take unet and {' and '.join(encoders)} from one checkpoint",
        )
    schedule, prediction = process_of(checkpoint, spec, options)
    sample = unet.get("sample_size") or 64
    side = sample if isinstance(sample, list | tuple) else (sample, sample)
    base = spec.traits or Traits(latent, "")
    return replace(
        base,
        latent=latent,
        family=family(unet) if spec.traits is None or not own else base.family,
        schedule=schedule,
        prediction_type=prediction,
        default_size=(side[0] * latent.downscale, side[1] * latent.downscale),
        size_multiple=latent.downscale,
        inpaints=inpaints,
        guidance="embedded" if unet.get("time_cond_proj_dim") is not None else "passes",
    )


def latent_space(checkpoint: Checkpoint, spec: BranchSpec, options: CheckpointOptions, channels: int, own: bool) -> LatentSpace:
    """Of the checkpoint's autoencoder, by its factors and channels, under the name that they have in `SPACES`.

    Raises:
        BadCheckpoint: nothing tells it, or it has numbers of its own for each channel.
    """
    stated = spec.traits.latent if spec.traits is not None else None
    named = options.latent_space
    if not checkpoint.has("vae"):
        if named is None and stated is not None and (own or stated.channels == channels):
            return stated
        if named is None:
            raise BadCheckpoint(
                "it has no VAE, so nothing tells its latent space", where=checkpoint.where, mend="set the option latent_space"
            )
        if stated is not None and stated.name == named:
            return stated
        if named not in SPACES:
            raise BadCheckpoint(f"no latent space is called {named!r}", where=checkpoint.where, mend=nearest(named, SPACES))
        return SPACES[named]
    vae = checkpoint.config("vae")
    kind = vae.get("_class_name") or type(bare(getattr(checkpoint.pipeline, "vae", None))).__name__
    if vae.get("latents_mean") is not None or vae.get("latents_std") is not None:
        raise BadCheckpoint(
            "its VAE shifts and scales each channel by numbers of its own (latents_mean, latents_std)",
            where=checkpoint.where,
            mend="choose a checkpoint whose latents have one scaling_factor",
        )
    widths = vae.get("encoder_block_out_channels") or vae.get("block_out_channels") or ()
    space = LatentSpace(
        name=kind,
        channels=vae.get("latent_channels", 4),
        downscale=2 ** (len(widths) - 1) if widths else 8,
        scaling_factor=vae.get("scaling_factor", 0.18215 if kind == "AutoencoderKL" else 1.0),
        shift_factor=vae.get("shift_factor") or 0.0,
    )
    for known in (*SPACES.values(), *([stated] if stated is not None else [])):
        if kind.startswith("Autoencoder") and replace(space, name=known.name) == known:
            space = known
    return replace(space, name=named) if named is not None else space


def process_of(checkpoint: Checkpoint, spec: BranchSpec, options: CheckpointOptions) -> tuple[Schedule, PredictionType]:
    """The forward process and what the network predicts.

    Raises:
        BadCheckpoint: it predicts what nobody here knows.
    """
    stated = options.prediction_type
    if not checkpoint.has("scheduler"):
        base = spec.traits
        found: tuple[Schedule, PredictionType] = (base.schedule, base.prediction_type) if base is not None else (NoiseSchedule(), "epsilon")
        return found[0], stated or found[1]
    schedule, said = read_process(checkpoint.config("scheduler"))
    told = next((one for one in PREDICTIONS if one == (stated or said)), None)
    if told is None:
        raise BadCheckpoint(f"it predicts {said!r}", where=checkpoint.where, mend=f"choose one that predicts {' or '.join(PREDICTIONS)}")
    return schedule, told
