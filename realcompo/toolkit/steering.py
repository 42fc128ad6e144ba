"""What steers a UNet by a hint picture, each told in its own way: ControlNets, unions of several ControlNets, and T2I-Adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import BadCondition, BadOption, Incompatible
from .net_files import check_net_file, whole_config
from .nets import ADAPTER, UNION, NetPlace, check_equal
from .traits import family

TASKS: Mapping[str, int] = {
    **{"keypoints": 0, "depth": 1, "soft-edge": 2, "canny": 3, "lineart": 3, "normal": 4, "segmentation": 5},
    **{"tile": 6, "blur": 6, "lq": 6, "gray": 6},
}
"""Kind of condition, or of hint → its number in the unions of ControlNets for SDXL: of six kinds, or of eight (the last are tiles and what
is to be drawn again)."""

SHAPES = ("cross_attention_dim", "block_out_channels", "layers_per_block", "addition_embed_type", "projection_class_embeddings_input_dim")
"""What a ControlNet has in common with the UNet that it was made from."""


def check_fit(places: Sequence[NetPlace], base: Mapping[str, Any], where: str) -> None:
    """Refuse what the base cannot be steered by, from both configs and the shapes of files; see `check_equal`.

    Raises:
        Incompatible: made for another network. BadCheckpoint: a file is not whole.
    """
    for place in places:
        adapter = place.config.get("_class_name") == ADAPTER
        if not adapter:
            told = place.config if place.file is None else whole_config(place.file, base)
            check_equal(NetPlace(place.where, place.told, told), base, SHAPES, where, family)
        if place.file is not None:
            check_net_file(place.file, base)
        if adapter:  # a file of one tells its whole config, whatever the base: what is spoilt in it is named before a misfit is told
            _check_adapter(place, base, where)


def _check_adapter(place: NetPlace, base: Mapping[str, Any], where: str) -> None:
    """A T2I-Adapter adds a tensor to each level of the UNet: their widths, and of which kind it is, must be the base's."""
    kind = place.config.get("adapter_type", "full_adapter")
    widths, levels = list(place.config.get("channels", ())), list(base.get("block_out_channels", ()))
    xl = base.get("addition_embed_type") == "text_time"
    given = [*widths, widths[-1]] if kind == "light_adapter" and widths else widths
    wanted = [*levels, levels[-1]] if xl and levels else levels
    if given != wanted or (kind == "full_adapter_xl") != xl:
        raise Incompatible(
            f"the T2I-Adapter {place.where} ({kind}, widths {given}) does not fit its base {where}, which is {family(base)} (widths "
            f"{wanted})",
            mend="set the option base or base_source to the kind of checkpoint that it was trained on, or choose an adapter for this one",
        )


def check_deep(places: Sequence[NetPlace], every: int, where: str) -> None:
    """A T2I-Adapter acts inside the blocks that `deep_every` leaves out.

    Raises:
        BadOption.
    """
    if every > 1 and any(place.config.get("_class_name") == ADAPTER for place in places):
        raise BadOption(
            "a T2I-Adapter acts inside the blocks that deep_every leaves out",
            where=f"{where}, option 'deep_every'",
            mend="leave deep_every out, or steer by a ControlNet",
        )


def is_adapter(net: Any) -> bool:
    """Whether a network is a T2I-Adapter, which sees the hint alone, and once a run."""
    return type(net).__name__ == ADAPTER


def check_pixels(net: Any, size: tuple[int, int]) -> None:
    """Refuse a size that a T2I-Adapter cannot fold.

    Raises:
        Incompatible.
    """
    fold = net.config.downscale_factor
    if size[0] % fold or size[1] % fold:
        raise Incompatible(
            f"a T2I-Adapter of this kind takes pictures whose sides are multiples of {fold}, not {size[1]}×{size[0]}",
            mend=f"draw {size[1] // fold * fold}×{size[0] // fold * fold} pixels, or steer by a ControlNet",
        )


def features(net: Any, hints: Tensor) -> tuple[Tensor, ...]:
    """What a T2I-Adapter adds to the levels of a UNet, of hints (B, 3, H, W) in [0, 1]. One whose hint has a single channel sees it grey,
    with the weights that Pillow turns colours into grey by (ITU-R 601-2)."""
    if net.config.in_channels == 1:
        weights = hints.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
        hints = (hints * weights).sum(1, keepdim=True)
    return tuple(net(hints))


def tasks(net: Any, kinds: Sequence[str], where: str) -> tuple[int, ...] | None:
    """Of a union of ControlNets, which of them each picture of a batch is told; None of any other network.

    Raises:
        BadCondition: it was not trained on such a hint.
    """
    if type(net).__name__ != UNION:
        return None
    most = net.config.num_control_type
    for kind in kinds:
        if TASKS.get(kind, most) >= most:
            known = sorted(name for name, number in TASKS.items() if number < most)
            raise BadCondition(
                f"the union of ControlNets knows no hint of the kind {kind!r}", where=where, mend=f"give it one of {', '.join(known)}"
            )
    return tuple(TASKS[kind] for kind in kinds)


def residuals(net: Any, sample: Tensor, t: Any, hints: Tensor, told: tuple[int, ...] | None, **more: Any) -> list[Tensor]:
    """What a ControlNet adds after the down blocks, and last after the middle one, for rows (n, C, h, w).

    Args:
        hints: (n, 3, H, W).
        told: of `tasks`, for each row.
    """
    if told is None:
        down, mid = net(sample, t, controlnet_cond=hints, return_dict=False, **more)
        return [*down, mid]
    order = sorted(set(told))
    rows = [[row for row, task in enumerate(told) if task == one] for one in order]
    parts = [_union(net, sample, t, hints, task, own, **more) for task, own in zip(order, rows, strict=True)]
    if len(parts) == 1:
        return parts[0]
    back = torch.tensor([row for own in rows for row in own], device=sample.device).argsort()
    return [torch.cat(tensors)[back] for tensors in zip(*parts, strict=True)]


def _union(net: Any, sample: Tensor, t: Any, hints: Tensor, task: int, rows: list[int], **more: Any) -> list[Tensor]:
    """Of the rows that one of the union's ControlNets is told."""

    def of(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: of(one) for key, one in value.items()}
        return value[rows] if isinstance(value, Tensor) and len(rows) < len(sample) and len(value) == len(sample) else value

    kinds = torch.zeros(len(rows), net.config.num_control_type, device=sample.device, dtype=sample.dtype)
    kinds[:, task] = 1
    down, mid = net(
        of(sample),
        t,
        controlnet_cond=[of(hints)],
        control_type=kinds,
        control_type_idx=[task],
        return_dict=False,
        **{name: of(value) for name, value in more.items()},
    )
    return [*down, mid]
