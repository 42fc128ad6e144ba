"""Where ControlNets lie, and whether they fit their base, and when they act: from config files, before any weight is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadCheckpoint, Incompatible
from ..interfaces import Step
from ..specs import BranchSpec
from .control_options import ControlOptions, NetOptions
from .net_files import NetFile, read_net
from .sources import Checkpoint, is_pipeline, open_checkpoint

PARTS = ("", "controlnet", "controlnet_1", "controlnet_2", "controlnet_3", "adapter", "t2i_adapter")
"""Where a checkpoint holds ControlNets: at its top, or in folders as diffusers' pipeline saves several."""

SUFFIX = " with ControlNet"
NOUN = "a ControlNet"

ADAPTER, UNION = "T2IAdapter", "ControlNetUnionModel"
UNETS = ("ControlNetModel", UNION, ADAPTER)
"""The classes of what steers a UNet by a hint picture."""


@dataclass(frozen=True, eq=False)
class NetPlace:
    """One ControlNet that was found: a folder, a file, or a module of a pipeline that the user holds.

    Attributes:
        where: its name in messages.
        told: how strongly and when it acts.
        config: its config; of a file, what its shapes tell.
    """

    where: str
    told: NetOptions
    config: Mapping[str, Any]
    folder: Path | None = None
    module: Any = None
    file: NetFile | None = None


def base_source(options: Any, source: Any) -> Any:
    """Where the base's checkpoint is: what the options say, a whole pipeline that is the branch's source, or (None) the base's own."""
    if options.base_source is not None:
        return options.base_source
    return source if source is not None and holds_base(source) else None


def holds_base(source: Any) -> bool:
    """Whether a source is a whole pipeline (an object, or a folder with a UNet in it), and so brings the base too."""
    if is_pipeline(source):
        return True
    path = Path(str(source)).expanduser() if isinstance(source, str | Path) else None
    return path is not None and any((path / part).is_dir() for part in ("unet", "transformer"))


def find_nets(spec: BranchSpec, options: ControlOptions, source: Any, weights: bool, classes: Sequence[str] = UNETS) -> list[NetPlace]:
    """The branch's ControlNets, its own first.

    Args:
        source: a hub id, a folder, or a pipeline; one that holds a base and no ControlNet leaves the spec's own in place.
        classes: that they may be of.

    Raises:
        BadCheckpoint: missing, or no ControlNet that a hint picture steers.
    """
    source = spec.source if source is None else source
    opened = _open(source, options, spec.revision if source == spec.source else None, weights)
    found = list(_inside(opened, classes))
    if not found and holds_base(source) and spec.source is not None and source != spec.source:
        opened = _open(spec.source, options, spec.revision, weights)
        found = list(_inside(opened, classes))
    if not found:
        raise BadCheckpoint(
            f"it holds no ControlNet: it is {opened.describe()}",
            where=opened.where,
            mend=f"name a repository or folder whose config.json says {classes[0]}, at its top or in a folder 'controlnet'",
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
            parts = list(_inside(other, classes))
            if len(parts) != 1:
                raise BadCheckpoint(f"it holds {len(parts)} ControlNets", where=other.where, mend="name one that holds a single ControlNet")
            places.append(_place(*parts[0], one))
    for place in places:
        _check(place, classes)
    return places


def _open(source: Any, options: ControlOptions, revision: str | None, weights: bool) -> Checkpoint:
    told = options.model_copy(update={name: value for name, value in _BASES.items() if hasattr(options, name)})
    return open_checkpoint(source, told, revision=revision, parts=PARTS, weights=weights)


_BASES = {"ema": False, "rest": None}
"""Options that are of the base's file alone, and what they are for the ControlNet's."""


def _inside(checkpoint: Checkpoint, classes: Sequence[str]) -> Iterable[tuple[str, Any]]:
    """(name in messages, folder, file or module) of each ControlNet in a checkpoint."""
    if checkpoint.single is not None:
        if classes == UNETS:
            yield checkpoint.where, read_net(checkpoint.single.file)
            return
        raise BadCheckpoint(
            f"it is {checkpoint.describe()}",
            where=checkpoint.where,
            mend="a ControlNet is loaded from a folder in diffusers' layout; a single file can be the option base_source",
        )
    if checkpoint.folder is None:
        for kind, several in (("controlnet", "nets"), ("adapter", "adapters")):
            held = getattr(checkpoint.pipeline, kind, None)
            for index, module in enumerate(getattr(held, several, [held] if held is not None else [])):
                yield f"{'ControlNet' if kind == 'controlnet' else 'T2I-Adapter'} {index} of {checkpoint.where}", module
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
    if isinstance(part, NetFile):
        return NetPlace(where, told, part.config, file=part)
    return NetPlace(where, told, {"_class_name": type(part).__name__, **dict(part.config)}, module=part)


def _check(place: NetPlace, classes: Sequence[str]) -> None:
    """Refuse networks of another kind.

    Raises:
        BadCheckpoint.
    """
    name = place.config.get("_class_name", "network of an unnamed class")
    if name not in classes:
        raise BadCheckpoint(f"it is a {name}, not a {classes[0]}", where=place.where, mend="choose a ControlNet in diffusers' layout")
    if name == ADAPTER:
        _check_adapter(place)
        return
    channels = place.config.get("conditioning_channels", 3)
    if channels != 3:
        raise BadCheckpoint(f"its hint has {channels} channels, not 3", where=place.where, mend="choose one that takes an RGB picture")
    if place.config.get("global_pool_conditions"):
        raise BadCheckpoint(
            "it pools its hint to one vector: nothing of it has a place", where=place.where, mend="choose a pose or segmentation ControlNet"
        )


def _check_adapter(place: NetPlace) -> None:
    if place.config.get("in_channels", 3) not in (1, 3):
        raise BadCheckpoint(
            f"its hint has {place.config['in_channels']} channels, not 1 or 3", where=place.where, mend="choose one that takes a picture"
        )


def acts(told: NetOptions, step: Step) -> bool:
    """Whether a ControlNet acts at a step: as in diffusers, one that begins at `start` or later and is over at `end` or before."""
    return told.conditioning_scale > 0 and step.index / step.count >= told.start and (step.index + 1) / step.count <= told.end


def over_too_soon(options: ControlOptions, balanced: tuple[float, float] | None) -> tuple[str, ...]:
    """A remark on a hint that is over when the balance begins, and so leaves the base alone beside the fidelity model; see
    `Branch.remarks`."""
    nets = [one for one in (options.first, *options.more) if one.conditioning_scale > 0]
    end = max((one.end for one in nets), default=0.0)
    if balanced is None or end > balanced[0]:
        return ()
    return (
        f"its hint acts no longer than {end:.0%} of the steps, and the balance begins at {balanced[0]:.0%}: from there on it is "
        f"{options.base} as it stands; let it end later or shorten the balancer's warmup",
    )


def check_equal(place: NetPlace, base: Mapping[str, Any], keys: Sequence[str], where: str, kind: Any) -> None:
    """Refuse a ControlNet that was made for another network than its base, from both configs.

    Args:
        keys: of the configs, which must be equal.
        where: the base's name in messages.
        kind: config → what kind of network it is of.

    Raises:
        Incompatible: names the ControlNet and its base, and what each is.
    """
    for key in keys:
        mine, other = _plain(place.config.get(key)), _plain(base.get(key))
        if mine != other:
            kinds = (kind(place.config), kind(base))
            raise Incompatible(
                f"the ControlNet {place.where} is for {kinds[0]} ({key} {mine}), its base {where} is {kinds[1]} ({key} {other})",
                mend=f"set the option base or base_source to a checkpoint of {kinds[0]}, or choose a ControlNet for {kinds[1]}",
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
