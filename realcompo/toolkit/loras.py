"""The adapters of a branch: several at once, each at its own scale, and others in their place without loading the networks again.

W′ = W + Σₙ scaleₙ · ΔWₙ, every ΔWₙ of the weight as it was loaded: the order of the list is of no account, also where DoRA measures W.
The weights that change are kept, on the CPU, as they were loaded, so that another set or other scales are what a fresh load would be, to
the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .guard import bare, exclusive
from .loading import file_digest
from .lora import Adapter, change_of, check_lora, fit_adapter, lora_path
from .options import CheckpointOptions
from .region_loras import Change, RegionLoras, check_regional

OPTIONS = frozenset({"lora", "lora_scale", "lora_region"})
"""Options that say which adapters act."""


def check_loras(options: CheckpointOptions, source: Any = None) -> list[tuple[Path, float]]:
    """(file, scale) of each adapter, checked as far as can be without networks; see `check_lora`."""
    return [(check_lora(file, source), scale) for file, scale in options.loras]


def fit_loras(options: CheckpointOptions, networks: Mapping[str, Any]) -> None:
    """Compare those that are on this machine with networks that need no numbers; see `fit_adapter`."""
    for (file, _), region in zip(options.loras, options.lora_regions, strict=True):
        if lora_path(file).exists():
            found = fit_adapter(check_lora(file), networks)
            if region:
                check_regional(found, region)


def lora_print(options: CheckpointOptions) -> dict[str, str]:
    """The entry of a branch's fingerprint; none without adapters."""
    places = [f" in {region}" if region else "" for region in options.lora_regions]
    told = [f"{file_digest([path])} at {scale!r}{at}" for (path, scale), at in zip(check_loras(options), places, strict=True)]
    return {"lora": " + ".join(told)} if told else {}


class Loras:
    """The adapters in the weights of networks that are one branch's alone.

    Args:
        networks: by part: ``unet`` or ``transformer``, ``text_encoder`` and, in SDXL, ``text_encoder_2``; an adapter may be of any of them.
    """

    def __init__(self, networks: Mapping[str, Any]) -> None:
        self.networks = networks
        self._loaded: dict[tuple[str, str], tuple[Tensor, Tensor | None]] = {}
        self._regional = RegionLoras(bare(networks["unet"])) if "unet" in networks else None

    def put(self, chosen: Sequence[tuple[Path | str, float]], regions: Sequence[str] = ()) -> None:
        """These in place of those that were there.

        Args:
            chosen: (file, scale): scale is of the whole change, 1 is the adapter as it was trained, 0 is none of it (also of DoRA's).
            regions: in which each acts alone, "" on the whole picture, which all do where this is left out; see `RegionLoras`.

        Raises:
            BadCheckpoint: damaged, of a kind that is not applied, or for other networks; then no adapter is left in the weights.
        """
        fitting = [(fit_adapter(Path(file), self.networks), scale) for file, scale in chosen]
        adapters: list[tuple[Adapter, float]] = []
        local: dict[str, list[tuple[Adapter, float]]] = {}
        for (adapter, scale), region in zip(fitting, regions or ("",) * len(fitting), strict=True):
            (local.setdefault(region, []) if region else adapters).append((adapter, scale))
            if region:
                check_regional(adapter, region)
        with ExitStack() as stack:
            for network in self.networks.values():
                stack.enter_context(exclusive(bare(network)))
            self._restore()
            try:
                if self._regional is not None:
                    self._regional.put(self._local(local))  # first: DoRA's lengths are of the weights as they were loaded
                for part, module in dict.fromkeys(key for adapter, _ in adapters for key in adapter.modules()):
                    self._add(part, module, adapters)
            except BaseException:
                self._restore()
                raise

    @torch.no_grad()
    def _add(self, part: str, module: str, adapters: Sequence[tuple[Adapter, float]]) -> None:
        target = self.networks[part].get_submodule(module)
        sums = _sums(adapters, part, module, target)
        bias: Any = getattr(target, "bias", None)
        self._loaded[part, module] = (_aside(target.weight), None if sums[1] is None else _aside(bias))
        for own, change in ((target.weight, sums[0]), (bias, sums[1])):
            if change is not None:
                own.copy_(own.to(change.dtype) + change)

    def _local(self, chosen: Mapping[str, Sequence[tuple[Adapter, float]]]) -> dict[str, dict[str, Change]]:
        """Module → region → what is added in it, in the module's own dtype."""
        found: dict[str, dict[str, Change]] = {}
        for region, adapters in chosen.items():
            for part, module in dict.fromkeys(key for adapter, _ in adapters for key in adapter.modules()):
                target: Any = self.networks[part].get_submodule(module)
                weight, bias = (one if one is None else one.to(target.weight) for one in _sums(adapters, part, module, target))
                found.setdefault(module, {})[region] = (weight, bias)
        return found

    @torch.no_grad()
    def _restore(self) -> None:
        if self._regional is not None:
            self._regional.clear()
        while self._loaded:
            (part, module), (weight, bias) = self._loaded.popitem()
            target = self.networks[part].get_submodule(module)
            target.weight.copy_(weight)
            if bias is not None:
                target.bias.copy_(bias)


def _sums(adapters: Sequence[tuple[Adapter, float]], part: str, module: str, target: Any) -> list[Any]:
    """Σ scale · ΔW and Σ scale · Δb of a module, None for what stays."""
    sums: list[Any] = [None, None]
    for adapter, scale in adapters:
        if (part, module) in adapter.modules():
            for which, change in enumerate(change_of(adapter, part, module, target)):
                if change is not None:
                    sums[which] = scale * change + (0 if sums[which] is None else sums[which])
    return sums


def _aside(tensor: Any) -> Tensor:
    """A copy in the CPU's memory: a card has none to spare."""
    return tensor.detach().to("cpu", copy=True)  # type: ignore[no-any-return]
