"""Where ControlNets lie, and whether they fit their base: from config files, before any weight is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realcompo.errors import BadCheckpoint, Incompatible
from realcompo.specs import BranchSpec
from realcompo.toolkit import Checkpoint, open_checkpoint
from realcompo.toolkit.traits import family

from .options import ControlNetOptions, NetOptions

PARTS = ("", "controlnet", "controlnet_1", "controlnet_2", "controlnet_3")
"""Where a checkpoint holds ControlNets: at its top, or in folders as diffusers' pipeline saves several."""

SUFFIX = " with ControlNet"
NOUN = "a ControlNet"

_SHAPES = (
    "cross_attention_dim",
    "block_out_channels",
    "layers_per_block",
    "addition_embed_type",
    "projection_class_embeddings_input_dim",
)
"""What a ControlNet has in common with the UNet that it was made from."""


@dataclass(frozen=True, eq=False)
class NetPlace:
    """One ControlNet that was found: a folder, or a module of a pipeline that the user holds.

    Attributes:
        where: its name in messages.
        told: how strongly and when it acts.
        config: its config.
    """

    where: str
    told: NetOptions
    config: Mapping[str, Any]
    folder: Path | None = None
    module: Any = None


def holds_base(source: Any, options: ControlNetOptions) -> bool:
    """Whether a source is a whole pipeline (an object, or a folder with a UNet in it), and so brings the base too."""
    if hasattr(source, "unet"):
        return True
    path = Path(str(source)).expanduser() if isinstance(source, str | Path) else None
    return path is not None and (path / "unet").is_dir()


def find_nets(spec: BranchSpec, options: ControlNetOptions, source: Any, weights: bool) -> list[NetPlace]:
    """The branch's ControlNets, its own first.

    Args:
        source: a hub id, a folder, or a pipeline; one that holds a base and no ControlNet leaves the spec's own in place.

    Raises:
        BadCheckpoint: missing, or no ControlNet that a hint picture steers.
    """
    source = spec.source if source is None else source
    opened = _open(source, options, spec.revision if source == spec.source else None, weights)
    found = list(_inside(opened))
    if not found and holds_base(source, options) and spec.source is not None and source != spec.source:
        opened = _open(spec.source, options, spec.revision, weights)
        found = list(_inside(opened))
    if not found:
        raise BadCheckpoint(
            f"it holds no ControlNet: it is {opened.describe()}",
            where=opened.where,
            mend="name a repository or folder whose config.json says ControlNetModel, at its top or in a folder 'controlnet'",
        )
    told = [options.first, *(one for one in options.more if one.source is None)]
    if len(told) > len(found):
        raise BadCheckpoint(
            f"it holds {len(found)} ControlNets, the option more speaks of {len(told)}",
            where=opened.where,
            mend="give the others a source",
        )
    told += [options.first] * (len(found) - len(told))
    places = [_place(where, part, one) for (where, part), one in zip(found, told, strict=True)]
    for one in options.more:
        if one.source is not None:
            other = _open(one.source, options.model_copy(update={"revision": one.revision}), None, weights)
            parts = list(_inside(other))
            if len(parts) != 1:
                raise BadCheckpoint(f"it holds {len(parts)} ControlNets", where=other.where, mend="name one that holds a single ControlNet")
            places.append(_place(*parts[0], one))
    for place in places:
        _check(place)
    return places


def _open(source: Any, options: ControlNetOptions, revision: str | None, weights: bool) -> Checkpoint:
    return open_checkpoint(source, options, revision=revision, parts=PARTS, weights=weights)


def _inside(checkpoint: Checkpoint) -> Iterable[tuple[str, Any]]:
    """(name in messages, folder or module) of each ControlNet in a checkpoint."""
    if checkpoint.single is not None:
        raise BadCheckpoint(
            f"it is {checkpoint.describe()}",
            where=checkpoint.where,
            mend="a ControlNet is loaded from a folder in diffusers' layout; a single file can be the option base_source",
        )
    if checkpoint.folder is None:
        held = getattr(checkpoint.pipeline, "controlnet", None)
        for index, module in enumerate(getattr(held, "nets", [held] if held is not None else [])):
            yield f"ControlNet {index} of {checkpoint.where}", module
        return
    top = checkpoint.folder / "config.json"
    if top.is_file() and not checkpoint.has("controlnet"):
        yield checkpoint.where, checkpoint.folder
    for part in PARTS[1:]:
        if checkpoint.has(part):
            yield f"{checkpoint.where}/{part}", checkpoint.folder / part


def _place(where: str, part: Any, told: NetOptions) -> NetPlace:
    if isinstance(part, Path):
        config = Checkpoint(where, folder=part.parent).config(part.name)
        return NetPlace(where, told, config, folder=part)
    return NetPlace(where, told, {"_class_name": type(part).__name__, **dict(part.config)}, module=part)


def _check(place: NetPlace) -> None:
    """Refuse networks of another kind.

    Raises:
        BadCheckpoint.
    """
    name = place.config.get("_class_name", "network of an unnamed class")
    if name != "ControlNetModel":
        raise BadCheckpoint(f"it is a {name}, not a ControlNetModel", where=place.where, mend="choose a ControlNet in diffusers' layout")
    channels = place.config.get("conditioning_channels", 3)
    if channels != 3:
        raise BadCheckpoint(f"its hint has {channels} channels, not 3", where=place.where, mend="choose one that takes an RGB picture")
    if place.config.get("global_pool_conditions"):
        raise BadCheckpoint(
            "it pools its hint to one vector: nothing of it has a place", where=place.where, mend="choose a pose or segmentation ControlNet"
        )


def check_fit(places: Sequence[NetPlace], base: Mapping[str, Any], where: str) -> None:
    """Refuse ControlNets whose residuals the base cannot take, from both configs.

    Raises:
        Incompatible: names the ControlNet and its base, and what each is.
    """
    for place in places:
        for key in _SHAPES:
            mine, other = _plain(place.config.get(key)), _plain(base.get(key))
            if mine != other:
                kinds = (family(place.config), family(base))
                raise Incompatible(
                    f"the ControlNet {place.where} is for {kinds[0]} ({key} {mine}), its base {where} is {kinds[1]} ({key} {other})",
                    mend=f"set the option base or base_source to a checkpoint of {kinds[0]}, or choose a ControlNet for {kinds[1]}",
                )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
