"""The branch that another one builds on, by its option `base`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ..errors import BadOption, Incompatible
from ..specs import BranchSpec
from .options import CheckpointOptions, TransformerOptions, UNetOptions
from .word_options import WORDS

if TYPE_CHECKING:
    from ..registry import Registry
    from .denoiser import DenoiserBranch

SHARED = (
    "variant",
    "download",
    "allow_pickle",
    "latent_space",
    "ema",
    "rest",
    "lora",
    "lora_scale",
    "lora_region",
    "distilled",
    "ip_adapter",
    "offload_text",
    *WORDS,
)
"""Options that hold for the base too, unless `base_options` says otherwise."""


def find_base(
    registry: Registry,
    spec: BranchSpec,
    options: CheckpointOptions,
    id: str,
    base_options: Mapping[str, Any],
    noun: str,
    network: Literal["UNet", "transformer"] = "UNet",
) -> tuple[BranchSpec, type[DenoiserBranch], Any]:
    """The base's spec, class and options. What is said of loading here holds for the base too, unless it is said for the base.

    Args:
        registry: where branches are found.
        spec, options: of the branch that builds on it.
        id: of the base: a branch of that kind in the fidelity role.
        base_options: its options, by the user.
        noun: what `spec` is, such as "a ControlNet".
        network: what the base is built on.

    Raises:
        UnknownName, BadOption: no such branch, or none that can be built on.
    """
    from .transformer import TransformerBranch
    from .unet import UNetBranch

    wanted: type[DenoiserBranch] = UNetBranch if network == "UNet" else TransformerBranch
    base = registry.find(BranchSpec, id)
    cls = registry.load(base)
    if base.role == "spatial" or not issubclass(cls, wanted):
        raise BadOption(
            f"{base.id!r} is no base for {noun}: it is {'a spatial branch' if base.role == 'spatial' else 'not built on a {network}'}",
            where=f"{spec.id}, option 'base'",
            mend=f"name a fidelity branch such as {'sd/v1-5' if network == 'UNet' else 'sd3/medium'!r}",
        )
    # A recipe may not turn these on for a branch (layers.py); hidden in a table of options they would get past that check.
    guarded = {"allow_pickle", *getattr(base.options, "guarded", ())}
    hidden = sorted(name for name in guarded if base_options.get(name))
    if hidden:
        raise BadOption(
            f"base_options turns {hidden[0]} on, which a stranger's recipe could misuse",
            where=f"{spec.id}, option 'base_options'",
            mend="if you trust the checkpoint, set allow_pickle on this branch: it holds for the base too",
        )
    shared = {name: getattr(options, name) for name in SHARED if name in options.model_fields_set}
    told = registry.options(base, {**shared, **base_options})
    if not isinstance(told, UNetOptions if network == "UNet" else TransformerOptions):
        raise BadOption(f"{base.id!r} has no options of a {network} branch", where=f"{spec.id}, option 'base'", mend="name another")
    if told.vae is not None:
        raise BadOption(
            f"{noun} decodes no picture, so a VAE of its base is never used",
            where=f"{spec.id}, option 'base_options'",
            mend="set vae for the fidelity branch",
        )
    return base, cls, told


def check_families(spec: BranchSpec, base: BranchSpec, suffix: str, noun: str) -> None:
    """Refuse a base that is known to be of another kind, from what both declare: no file is read.

    Args:
        suffix: what follows the base's kind in `spec`'s family, such as " with ControlNet".
        noun: what `spec` is, such as "a ControlNet".

    Raises:
        Incompatible: names both.
    """
    if spec.traits is None or base.traits is None:
        return
    mine, other = spec.traits.family.removesuffix(suffix), base.traits.family
    if not other.startswith(mine):
        raise Incompatible(
            f"{spec.id!r} is {noun} for {mine}, its base {base.id!r} is {other}",
            mend=f"set the option base to a branch of {mine} (`realcompo list`), or choose {noun} for {other}",
        )
