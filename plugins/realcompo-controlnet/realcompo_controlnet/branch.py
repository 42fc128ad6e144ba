"""ControlNets on a UNet: a hint picture steers the base through residuals that enter after its down and mid blocks.

ε^c = UNet(z_t, t, text | Σ_n scale_n · ControlNet_n(z_t, t, text, hint)). The hint is drawn from the condition, in the colours that the
checkpoint was trained on. Whatever else the base tells its UNet (SDXL: a pooled prompt and sizes) it tells here too, and the ControlNets
hear of it what they were made for.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from realcompo.conditions import Condition, Hint
from realcompo.errors import BadCheckpoint
from realcompo.interfaces import Region, Request, Step
from realcompo.registry import installed
from realcompo.specs import BranchSpec, Options, Traits
from realcompo.toolkit import Checkpoint, Half, Loader, MapReader, UNetBranch, UNetConditioning, UNetOptions, open_checkpoint
from realcompo.toolkit.bases import check_families, find_base
from realcompo.toolkit.guard import bare, exclusive, frozen
from realcompo.toolkit.hints import draw_hint
from realcompo.toolkit.loading import file_digest, tensor_digest
from realcompo.toolkit.maps import check_places
from realcompo.toolkit.net_files import load_net_file
from realcompo.toolkit.nets import NOUN, SUFFIX, NetPlace, acts, base_source, find_nets, over_too_soon
from realcompo.toolkit.options import settled
from realcompo.toolkit.sources import weight_files
from realcompo.toolkit.steering import check_deep, check_fit, check_pixels, features, is_adapter, residuals, tasks
from realcompo.toolkit.traits import unet_config

from .options import ControlNetOptions, NetOptions

_HEARD = ("added_cond_kwargs",)
"""Arguments of a UNet's forward pass that a ControlNet which was made from that UNet takes as well."""


@dataclass(frozen=True)
class Hinted:
    """What a run's conditioning carries beside the text.

    Attributes:
        hints: (B, 3, H, W) in [0, 1].
        kinds: of each picture's hint: the condition's kind, or what its hint is of.
        added: number of a T2I-Adapter among the networks → what it adds to the levels of the UNet, (B, C, h, w) each, unscaled.
        base: the conditioning that the base made, with what it tells its UNet.
    """

    hints: Tensor
    kinds: tuple[str, ...]
    added: Mapping[int, tuple[Tensor, ...]]
    base: UNetConditioning


class ControlNetBranch(UNetBranch):
    """One or several ControlNets on the network of another branch.

    Attributes:
        base: the branch that it builds on; its network may be shared with a fidelity branch of the same checkpoint.
        nets: the ControlNets, each with how strongly and when it acts.
    """

    options_class = ControlNetOptions
    options: ControlNetOptions

    def __init__(
        self, spec: BranchSpec, options: Options | None = None, *, source: Any = None, device: Any = None, dtype: Any = None
    ) -> None:
        self.spec = spec
        self.options = settled(ControlNetOptions, spec, options)
        base, cls, told = _base(spec, self.options)
        self.places = find_nets(spec, self.options, source, weights=True)
        at = base_source(self.options, source)
        _check_base(self.places, base, told, at, self.options)
        # as a spatial branch: it needs no VAE
        self.base: UNetBranch = cls(replace(base, role="spatial"), told, source=at, device=device, dtype=dtype)
        self.checkpoint, self.loader = self.base.checkpoint, self.base.loader
        self.unet, self.text, self.vae = self.base.unet, self.base.text, None
        check_fit(self.places, self.unet.config, self.checkpoint.where)
        check_deep(self.places, self.options.deep_every, spec.id)
        self.traits = _labelled(self.base.traits, self.options)
        self.nets: list[tuple[Any, NetOptions]] = [(self._load(place), place.told) for place in self.places]
        self.reader = MapReader(self.unet, self.options.places, self.options.map_divisor)

    def _load(self, place: NetPlace) -> Any:
        if place.module is not None:
            return place.module
        if place.file is not None:
            return load_net_file(place.file, bare(self.unet), self.base.dtype).to(self.base.device)
        holder = Checkpoint(place.where, folder=place.folder)
        return Loader(holder, self.options, device=self.base.device, dtype=self.base.dtype).module("controlnet", place.folder)

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def inspect(cls, spec: BranchSpec, options: Options, source: Any = None) -> Traits:
        """The base's traits.

        Raises:
            Incompatible: the ControlNet belongs to another base. BadCheckpoint: either is missing or of another architecture.
            BadOption: the base has no maps where they are to be read.
        """
        own = settled(ControlNetOptions, spec, options)
        base, inner, told = _base(spec, own)
        at = base_source(own, source)
        try:
            places = find_nets(spec, own, source, weights=False)
        except BadCheckpoint:
            if source is not None and source != spec.source:
                raise
            places = []  # not on this machine yet: the spec's word holds
        _check_base(places, base, told, at, own)
        return _labelled(inner.inspect(base, told, at), own)

    @classmethod
    def locate(
        cls, spec: BranchSpec, options: Options, prompt: str, regions: Sequence[Region], source: Any = None
    ) -> dict[str, tuple[str, ...]] | None:
        own = settled(ControlNetOptions, spec, options)
        base, inner, told = _base(spec, own)
        return inner.locate(base, told, prompt, regions, base_source(own, source))

    @classmethod
    def unread(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> tuple[str, ...] | None:
        if isinstance(source, ControlNetBranch):
            return super().unread(spec, options, prompts, source)
        own = settled(ControlNetOptions, spec, options)
        base, inner, told = _base(spec, own)
        return inner.unread(base, told, prompts, base_source(own, source))

    @classmethod
    def check_prompts(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> None:
        if isinstance(source, ControlNetBranch):
            super().check_prompts(spec, options, prompts, source)
            return
        own = settled(ControlNetOptions, spec, options)
        base, inner, told = _base(spec, own)
        inner.check_prompts(base, told, prompts, base_source(own, source))

    @classmethod
    def remarks(cls, spec: BranchSpec, options: Options, balanced: tuple[float, float] | None) -> tuple[str, ...]:
        """A hint that is over when the balance begins leaves the base alone beside the fidelity model."""
        return over_too_soon(settled(ControlNetOptions, spec, options), balanced)

    # -- once a run -----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, request: Request) -> UNetConditioning:
        """The base's own text (and what it does with an empty negative prompt), with the hints beside it."""
        base = self.base.encode(request)
        hints = self.prepare(request)
        own = str(self.spec.condition)
        kinds = tuple(own if one is None else one.of if isinstance(one, Hint) else one.kind for one in request.conditions)
        added = {}
        for index, (net, _) in enumerate(self.nets):
            tasks(net, kinds, self.spec.id)
            if is_adapter(net):
                check_pixels(net, request.size)
                with exclusive(bare(net)):
                    added[index] = features(bare(net), hints.to(net.device, net.dtype))
        return replace(base, extra=Hinted(hints, kinds, added, base))

    def prepare(self, request: Request) -> Tensor:
        """Hints (B, 3, H, W) in [0, 1]: one drawn for each picture; black where it has no condition.

        Raises:
            BadCondition: another kind of condition, a class without a colour, or a condition of another shape than the picture.
        """
        pictures = [self.hint(condition, request.size) for condition in request.conditions]
        pixels = np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures]) / 255
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(self.device, self.dtype)

    def hint(self, condition: Condition | None, size: tuple[int, int]) -> Image.Image:
        """What the ControlNets see of a condition: RGB, (height, width) pixels."""
        return draw_hint(condition, self.spec, size, self.options.stick_width, self.options.palette)

    # -- every step -----------------------------------------------------------------------------------------------------------

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """What the base tells, and the residuals of the ControlNets that act at this step, added; none where none does."""
        extra: Hinted = conditioning.extra
        base = self.base.told(sample, step, extra.base, half)
        acting = [(index, net, told) for index, (net, told) in enumerate(self.nets) if acts(told, step)]
        if not acting:
            return base
        hints = conditioning.rows(half, extra.hints).to(sample)
        text = conditioning.text(half).to(sample)
        heard = {name: base[name] for name in _HEARD if name in base}
        kinds = extra.kinds * (len(sample) // len(extra.kinds))
        after: list[Tensor] = []
        inside: list[Tensor] = []
        for index, net, one in acting:
            if index in extra.added:
                own = [one.conditioning_scale * conditioning.rows(half, tensor).to(sample) for tensor in extra.added[index]]
                inside = _summed(inside, own)
                continue
            with exclusive(bare(net)), frozen(bare(net)):
                more = {"encoder_hidden_states": text, "conditioning_scale": one.conditioning_scale, **heard}
                after = _summed(after, residuals(net, sample, step.t, hints, tasks(bare(net), kinds, self.spec.id), **more))
        said = dict(base)
        if after:
            said |= {"down_block_additional_residuals": tuple(after[:-1]), "mid_block_additional_residual": after[-1]}
        return {**said, "down_intrablock_additional_residuals": inside} if inside else said

    def work(self, step: Step, conditioning: UNetConditioning) -> Hashable | None:
        """Which ControlNets act, the base's own work, and what every UNet branch says."""
        acting = tuple(acts(told, step) for _, told in self.nets)
        return acting, self.base.work(step, conditioning.extra.base), super().work(step, conditioning)

    # -- where it is ----------------------------------------------------------------------------------------------------------

    def networks(self) -> dict[str, Any]:
        return {**self.base.networks(), **{self._part(n): net for n, (net, _) in enumerate(self.nets)}}

    def _part(self, index: int) -> str:
        return f"controlnet_{index}" if index else "controlnet"

    def to(self, device: Any = None, dtype: Any = None) -> ControlNetBranch:
        self.base.to(device, dtype)
        for (net, _), place in zip(self.nets, self.places, strict=True):
            if place.module is None:  # a pipeline's own stay where their owner put them
                net.to(self.base.device)
                if net.dtype != self.base.dtype:
                    net.to(self.base.dtype)
        return self

    def fingerprint(self) -> dict[str, str]:
        return {**self.base.fingerprint(), **{self._part(n): self._digest(n) for n in range(len(self.nets))}}

    def _digest(self, index: int) -> str:
        folder: Path | None = self.places[index].folder
        if (file := self.places[index].file) is not None:
            return file_digest([file.file.path])
        return tensor_digest(self.nets[index][0]) if folder is None else file_digest(weight_files(folder, self.options).files)


def _summed(sums: list[Tensor], more: list[Tensor]) -> list[Tensor]:
    return [a + b for a, b in zip(sums, more, strict=True)] if sums else more


def _base(spec: BranchSpec, options: ControlNetOptions) -> tuple[BranchSpec, type[UNetBranch], UNetOptions]:
    """See `find_base`.

    Raises:
        UnknownName, BadOption: no such branch, or none that a ControlNet can steer. Incompatible: known to be of another kind.
    """
    found = find_base(installed(), spec, options, options.base, options.base_options, NOUN)
    if options.base_source is None:
        check_families(spec, found[0], SUFFIX, NOUN)
    return found


def _check_base(places: Sequence[NetPlace], base: BranchSpec, told: UNetOptions, source: Any, own: ControlNetOptions) -> None:
    """Compare the configs of ControlNets and base, where the base is on this machine in diffusers' layout: see `check_fit`, and
    `check_places` for where maps are to be read."""
    try:
        checkpoint = open_checkpoint(
            base.source if source is None else source, told, revision=base.revision, parts=("unet",), weights=False
        )
        config = unet_config(checkpoint)
    except BadCheckpoint:
        return  # the base's own class says what is wrong with it
    check_fit(places, config, checkpoint.where)
    check_deep(places, own.deep_every, checkpoint.where)
    check_places(config, own.places, own.map_divisor)


def _labelled(traits: Traits, own: ControlNetOptions) -> Traits:
    classes = None if own.palette is None else tuple(own.palette)
    return replace(traits, family=traits.family + SUFFIX, classes=classes, hints=own.hints or None)
