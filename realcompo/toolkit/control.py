"""ControlNets on a transformer: a hint picture steers the base through residuals that are added after its blocks.

u^c = Transformer(z_t, t, text | Σ_n scale_n · ControlNet_n(z_t, t, text, hint)). What the ControlNets of UNets are told as pixels, those of
transformers are mostly told as latents of the hint, of the base's own autoencoder: their mean, so that one hint is one picture.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditions import Condition, Hint
from ..errors import BadCheckpoint, BadOption, Incompatible
from ..interfaces import Region, Request, Step, picked
from ..registry import installed
from ..specs import BranchSpec, Options, Traits
from .bases import check_families, find_base
from .conditioning import Half, UNetConditioning
from .control_options import NetOptions, TransformerControlOptions
from .guard import bare, exclusive, frozen
from .hints import draw_hint
from .joint import Columns
from .loading import Loader, class_name, file_digest, tensor_digest
from .maps import MapPlace
from .nets import NOUN, SUFFIX, NetPlace, acts, base_source, check_equal, find_nets, over_too_soon
from .options import CheckpointOptions
from .sources import Checkpoint, open_checkpoint, weight_files
from .transformer import TransformerBranch, chosen_blocks
from .transformer_traits import transformer_config


@dataclass(frozen=True)
class Hinted:
    """What a run's conditioning carries beside the text.

    Attributes:
        hints: of each ControlNet, (B, …), as it is told them.
        kinds: of each picture's: the condition's kind, or what its hint is of.
        base: the conditioning that the base made.
    """

    hints: tuple[Tensor, ...]
    kinds: tuple[str, ...]
    base: UNetConditioning

    def pick(self, pictures: Sequence[int]) -> Hinted:
        """See `Branch.pick`."""
        hints, base = (picked(one, pictures, len(self.kinds)) for one in (self.hints, self.base))
        return Hinted(hints, tuple(self.kinds[b] for b in pictures), base)


class ControlledTransformer(TransformerBranch):
    """One or several ControlNets on the transformer of another branch. Subclasses say how theirs are called (`residuals`).

    Attributes:
        net_classes: what a ControlNet may be.
        shared_shapes: keys that the configs of ControlNet and transformer have in common.
        base: the branch that it builds on; its networks may be shared with a fidelity branch of the same checkpoint.
        nets: the ControlNets, each with how strongly and when it acts.
    """

    options_class: ClassVar[type[CheckpointOptions]] = TransformerControlOptions
    net_classes: ClassVar[tuple[str, ...]]
    shared_shapes: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, spec: BranchSpec, options: Options | None = None, *, source: Any = None, device: Any = None, dtype: Any = None
    ) -> None:
        self.spec = spec
        self.options = self._own(spec, options)
        base, cls, told = self._base(spec, self.options)
        self.places = find_nets(spec, self.options, source, True, self.net_classes)
        at = base_source(self.options, source)
        self._check_base(self.places, base, cls, told, at, self.options)
        # as a spatial branch: it decodes nothing
        made: Any = cls(replace(base, role="spatial"), told, source=at, device=device, dtype=dtype)
        self.base: TransformerBranch = made
        self.checkpoint, self.loader = self.base.checkpoint, self.base.loader
        self.transformer, self.text, self.vae = self.base.transformer, self.base.text, None
        self.encoder: Any = self.loader.module("vae")
        self.traits = _labelled(self.base.traits, self.options)
        self.nets: list[tuple[Any, NetOptions]] = [(self._load(place), place.told) for place in self.places]
        self.reader = self._reader()

    def _load(self, place: NetPlace) -> Any:
        if place.module is not None:
            return place.module
        holder = Checkpoint(place.where, folder=place.folder)
        classes = {"controlnet": ("diffusers", self.net_classes)}
        return Loader(holder, self.options, device=self.base.device, dtype=self.base.dtype, classes=classes).module(
            "controlnet", place.folder
        )

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def _base(cls, spec: BranchSpec, options: Any) -> tuple[BranchSpec, Any, Any]:
        if options.network is not None:
            raise BadOption(
                "the network that a ControlNet steers is its base's", where="option network", mend="set it in the option base_options"
            )
        found = find_base(installed(), spec, options, options.base, options.base_options, NOUN, "transformer")
        if options.base_source is None:
            check_families(spec, found[0], SUFFIX, NOUN)
        return found

    @classmethod
    def _check_base(cls, places: Sequence[NetPlace], base: BranchSpec, inner: Any, told: Any, source: Any, own: Any) -> None:
        """Compare the configs of ControlNets and base, where the base is on this machine: see `check_net`."""
        try:
            checkpoint = open_checkpoint(
                base.source if source is None else source, told, revision=base.revision, parts=("transformer",), weights=False
            )
        except BadCheckpoint:
            return  # the base's own class says what is wrong with it
        config = transformer_config(checkpoint, inner.classes)
        for place in places:
            cls.check_net(place, config, checkpoint.where)
            for key in ("num_layers", "num_single_layers"):
                if place.config.get(key) != places[0].config.get(key):
                    raise Incompatible(
                        f"the ControlNets {places[0].where} and {place.where} have {places[0].config.get(key)} and {place.config.get(key)} "
                        f"blocks ({key}), so their residuals cannot be added",
                        mend="give each a branch of its own, or choose ControlNets of one depth",
                    )
        chosen_blocks(inner.shape(config).depth, own)

    @classmethod
    def check_net(cls, place: NetPlace, base: Mapping[str, Any], where: str) -> None:
        """Refuse a ControlNet that does not fit the base, from both configs. Subclasses add to it.

        Raises:
            Incompatible.
        """
        check_equal(place, base, cls.shared_shapes, where, _kind)
        have, most = place.config.get("num_layers", 0), base.get("num_layers", 0)
        if have > most:
            raise Incompatible(
                f"the ControlNet {place.where} has {have} blocks, its base {where} {most}: it is for a larger one",
                mend="set the option base or base_source to the network that it was trained on, or choose a ControlNet for this one",
            )

    @classmethod
    def inspect(cls, spec: BranchSpec, options: Options, source: Any = None) -> Traits:
        """The base's traits.

        Raises:
            Incompatible: the ControlNet belongs to another base. BadCheckpoint: either is missing or of another architecture.
        """
        own = cls._own(spec, options)
        base, inner, told = cls._base(spec, own)
        at = base_source(own, source)
        try:
            places = find_nets(spec, own, source, False, cls.net_classes)
        except BadCheckpoint:
            if source is not None and source != spec.source:
                raise
            places = []  # not on this machine yet: the spec's word holds
        cls._check_base(places, base, inner, told, at, own)
        return _labelled(inner.inspect(base, told, at), own)

    @classmethod
    def locate(
        cls, spec: BranchSpec, options: Options, prompt: str, regions: Sequence[Region], source: Any = None
    ) -> dict[str, tuple[str, ...]] | None:
        own = cls._own(spec, options)
        base, inner, told = cls._base(spec, own)
        found: dict[str, tuple[str, ...]] | None = inner.locate(base, told, prompt, regions, base_source(own, source))
        return found

    @classmethod
    def unread(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> tuple[str, ...] | None:
        if isinstance(source, ControlledTransformer):
            return super().unread(spec, options, prompts, source)
        own = cls._own(spec, options)
        base, inner, told = cls._base(spec, own)
        found: tuple[str, ...] | None = inner.unread(base, told, prompts, base_source(own, source))
        return found

    @classmethod
    def remarks(cls, spec: BranchSpec, options: Options, balanced: tuple[float, float] | None) -> tuple[str, ...]:
        return over_too_soon(cls._own(spec, options), balanced)

    # -- once a run -----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, request: Request) -> UNetConditioning:
        """The base's own text, with the hints beside it."""
        base = self.base.encode(request)
        pixels = self.pixels(request)
        own = str(self.spec.condition)
        kinds = tuple(own if one is None else one.of if isinstance(one, Hint) else one.kind for one in request.conditions)
        return replace(base, extra=Hinted(tuple(self.hint(net, pixels) for net, _ in self.nets), kinds, base))

    def pixels(self, request: Request) -> Tensor:
        """(B, 3, H, W) in [0, 1]: what is drawn of each picture's condition; black where it has none."""
        drawn = [self.picture(condition, request.size) for condition in request.conditions]
        stacked = np.stack([np.asarray(picture, dtype=np.float32) for picture in drawn]) / 255
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous().to(self.device, self.dtype)

    def picture(self, condition: Condition | None, size: tuple[int, int]) -> Image.Image:
        """What the ControlNets see of a condition, before it becomes latents: RGB, (height, width) pixels."""
        return draw_hint(condition, self.spec, size, self.options.stick_width)

    def hint(self, net: Any, pixels: Tensor) -> Tensor:
        """What a ControlNet is told of pixels (B, 3, H, W) in [0, 1]: here, their scaled latents (B, C, h, w)."""
        latent = self.traits.latent
        return (self.encoded(pixels) - latent.shift_factor) * latent.scaling_factor

    def encoded(self, pixels: Tensor) -> Tensor:
        """Unscaled latents (B, C, h, w) of pixels in [0, 1]: the mean of what the autoencoder gives, which a sample would add noise to."""
        vae = self.encoder
        with exclusive(vae):
            found: Tensor = vae.encode((2 * pixels - 1).to(vae.device, vae.dtype)).latent_dist.mode()
        return found.to(pixels)

    def blend_scale(self, request: Request) -> float:
        return self.base.blend_scale(request)

    def columns(self) -> Columns:
        return self.base.columns()

    def all_places(self) -> list[MapPlace]:
        return self.base.all_places()

    def placed(self, places: Sequence[MapPlace], z: Tensor, conditioning: UNetConditioning) -> Sequence[MapPlace]:
        return self.base.placed(places, z, conditioning)

    # -- every step -----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def residuals(
        self,
        net: Any,
        sample: Tensor,
        step: Step,
        text: Tensor,
        told: Mapping[str, Any],
        hint: Tensor,
        kinds: Sequence[str],
        scale: float,
    ) -> Mapping[str, Any]:
        """What one ControlNet adds: arguments of the transformer, whose tensors are summed over ControlNets.

        Args:
            sample: (rows, C, h, w), as the base sees it.
            told: what the base tells its transformer.
            hint, kinds: of `hint` and `Hinted`, for the same rows.
        """

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """What the base tells, and the residuals of the ControlNets that act at this step, added; none where none does."""
        extra: Hinted = conditioning.extra
        base = self.base.told(sample, step, extra.base, half)
        text = conditioning.text(half).to(sample)
        sums: Any = None
        for (net, told), hints in zip(self.nets, extra.hints, strict=True):
            if acts(told, step):
                hint = conditioning.rows(half, hints).to(sample)
                with exclusive(bare(net)), frozen(bare(net)):
                    kinds = extra.kinds * (len(sample) // len(extra.kinds))
                    sums = added(sums, self.residuals(net, sample, step, text, base, hint, kinds, told.conditioning_scale))
        return {**base, **(sums or {})}

    def forward(self, sample: Tensor, step: Step, text: Tensor, told: Mapping[str, Any]) -> Tensor:
        return self.base.forward(sample, step, text, told)

    def time(self, sample: Tensor, step: Step) -> Tensor:
        return self.base.time(sample, step)

    def blended(self, z: Tensor, conditional: Tensor, unconditional: Tensor, step: Step, conditioning: UNetConditioning) -> Tensor:
        return self.base.blended(z, conditional, unconditional, step, conditioning.extra.base)

    def work(self, step: Step, conditioning: UNetConditioning) -> Hashable | None:
        """Which ControlNets act, and the base's own work."""
        return tuple(acts(told, step) for _, told in self.nets), self.base.work(step, conditioning.extra.base)

    # -- where it is ----------------------------------------------------------------------------------------------------------

    def networks(self) -> dict[str, Any]:
        return {**self.base.networks(), "vae": self.encoder, **{self._part(n): net for n, (net, _) in enumerate(self.nets)}}

    def _part(self, index: int) -> str:
        return f"controlnet_{index}" if index else "controlnet"

    def to(self, device: Any = None, dtype: Any = None) -> ControlledTransformer:
        self.base.to(device, dtype)
        for (net, _), place in zip(self.nets, self.places, strict=True):
            if place.module is None:  # a pipeline's own stay where their owner put them
                net.to(self.base.device)
                if net.dtype != self.base.dtype:
                    net.to(self.base.dtype)
        if self.checkpoint.pipeline is None:
            self.encoder.to(self.base.device)
        return self

    def fingerprint(self) -> dict[str, str]:
        own = {self._part(n): self._digest(n) for n in range(len(self.nets))}
        return {**self.base.fingerprint(), **self.loader.fingerprint(["vae"]), **own}

    def _digest(self, index: int) -> str:
        folder: Path | None = self.places[index].folder
        return tensor_digest(self.nets[index][0]) if folder is None else file_digest(weight_files(folder, self.options).files)


def added(sums: Any, more: Any) -> Any:
    """Residuals of two ControlNets: tensors are added, lists and tables entry by entry; what one of them lacks is the other's."""
    if sums is None or more is None:
        return more if sums is None else sums
    if isinstance(sums, bool):
        return sums or more
    if isinstance(sums, Mapping):
        return {key: added(sums.get(key), more.get(key)) for key in {**sums, **more}}
    if isinstance(sums, (list, tuple)):
        return [added(a, b) for a, b in zip(sums, more, strict=True)]
    return sums + more


def _labelled(traits: Traits, own: Any) -> Traits:
    return replace(traits, family=traits.family + SUFFIX, hints=own.hints or None)


def _kind(config: Mapping[str, Any]) -> str:
    """A network's size, for messages."""
    heads, width = config.get("num_attention_heads"), config.get("attention_head_dim")
    name = class_name(config).removesuffix("2DModel").removesuffix("Model")
    return f"{name} {heads}×{width} wide" if heads is not None else name
