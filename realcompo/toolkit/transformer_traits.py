"""From a transformer's config files to `Traits`; and the refusal of other architectures and of settings that nobody here knows."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any

from ..errors import BadCheckpoint
from ..processes import FlowSchedule
from ..specs import BranchSpec, Traits
from .guard import bare
from .loading import Classes, class_name
from .options import CheckpointOptions
from .sources import Checkpoint
from .traits import latent_space, process_of


@dataclass(frozen=True)
class Shape:
    """What a config says of size.

    Attributes:
        channels: of the latents.
        patch: latent pixels a token is wide.
        depth: blocks.
        side: latent pixels along a side of the pictures that it was trained on; None where the config does not say.
    """

    channels: int
    patch: int
    depth: int
    side: int | None = None


def transformer_config(checkpoint: Checkpoint, classes: Classes) -> dict[str, Any]:
    """The transformer's config.

    Raises:
        BadCheckpoint: it is a checkpoint of another architecture, says of which; or a setting is on that its class does not know.
    """
    library, names = classes["transformer"]
    wanted = f"choose a checkpoint with a {names[0]} in its folder 'transformer'"
    if checkpoint.single is not None:
        raise BadCheckpoint(
            f"it is one file, {checkpoint.describe()}: it has no text encoders and configs of this architecture",
            where=checkpoint.where,
            mend=f"{wanted}, as its hub repository has it",
        )
    if not checkpoint.has("transformer"):
        what = "a UNet" if checkpoint.has("unet") else "no transformer"
        raise BadCheckpoint(f"it is {what}, not a {names[0]}: it holds {checkpoint.describe()}", where=checkpoint.where, mend=wanted)
    config = checkpoint.config("transformer")
    held = type(bare(getattr(checkpoint.pipeline, "transformer", None))).__name__
    name = class_name({"_class_name": held, **config} if checkpoint.pipeline is not None else config)
    if name not in names:
        raise BadCheckpoint(
            f"its transformer is a {name}, not a {' or '.join(names)}",
            where=checkpoint.where,
            mend="use the branch of its own family (`realcompo list`)",
        )
    import importlib

    known = inspect.signature(getattr(importlib.import_module(library), name).__init__).parameters
    strange = sorted(key for key, value in config.items() if value and key not in known and not key.startswith("_") and key not in _LEGACY)
    if strange:
        raise BadCheckpoint(
            f"its config sets {strange[0]} = {config[strange[0]]!r}, which {name} of the installed {library} does not know",
            where=checkpoint.where,
            mend=f"update {library}, or choose a checkpoint of the plain architecture",
        )
    defaults = {key: one.default for key, one in known.items() if one.default is not inspect.Parameter.empty}
    return {**defaults, **config}


_LEGACY = ("quantization_config",)
"""Settings of the loader, not of the class."""


def check_widths(checkpoint: Checkpoint, part: str, told: int, what: str) -> None:
    """Refuse a text encoder of another width than the transformer was made for, where both are there.

    Args:
        part: of the text encoder.
        told: the width that the transformer expects.
        what: that width is called in the transformer's config.

    Raises:
        BadCheckpoint.
    """
    if not checkpoint.has(part):
        return
    config = checkpoint.config(part)
    have = config.get("d_model", config.get("hidden_size"))
    if have is not None and have != told:
        raise BadCheckpoint(
            f"its {part} is {have} wide, its transformer expects {told} ({what})",
            where=checkpoint.where,
            mend=f"take transformer and {part} from one checkpoint",
        )


def read_transformer_traits(checkpoint: Checkpoint, spec: BranchSpec, options: CheckpointOptions, own: bool, shape: Shape) -> Traits:
    """Traits from config files; what they leave open is the spec's word. See `traits.read_traits`.

    Raises:
        BadCheckpoint: latents of the transformer and of its VAE differ, or nothing tells their space.
    """
    latent = latent_space(checkpoint, spec, options, shape.channels, own)
    if latent.channels != shape.channels:
        raise BadCheckpoint(
            f"its transformer takes latents of {shape.channels} channels, its VAE makes {latent.channels}",
            where=checkpoint.where,
            mend="take transformer and vae from one checkpoint of text to image",
        )
    if shape.patch & (shape.patch - 1):
        raise BadCheckpoint(
            f"its patches are {shape.patch} latent pixels wide, no power of two",
            where=checkpoint.where,
            mend="choose a checkpoint of the plain architecture",
        )
    schedule, prediction = process_of(checkpoint, spec, options)
    if isinstance(schedule, FlowSchedule):
        schedule = replace(schedule, patch=shape.patch)
    base = spec.traits or Traits(latent, class_name(checkpoint.config("transformer")))
    side = base.default_size if shape.side is None else (shape.side * latent.downscale,) * 2
    return replace(
        base,
        latent=latent,
        schedule=schedule,
        prediction_type=prediction,
        default_size=side,
        size_multiple=latent.downscale * shape.patch,
    )
