"""GLIGEN: a UNet whose gated self-attention sees, beside the picture's tokens, one token a box. The UNet is the GLIGEN checkpoint's own,
or, with the option `base`, that of another branch, which the gated layers are put on.

Padding matters: null tokens take part in that attention without a mask, so every picture is padded to `max_objects`, a
picture without boxes too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from realcompo.conditions import Boxes, BoxItem
from realcompo.errors import BadCheckpoint, BadCondition
from realcompo.interfaces import Region, Request, Step
from realcompo.registry import installed
from realcompo.specs import BranchSpec, Options, Traits
from realcompo.toolkit import Checkpoint, Half, MapReader, UNetBranch, UNetConditioning, UNetOptions, open_checkpoint
from realcompo.toolkit.bases import check_families, find_base
from realcompo.toolkit.kinds import gate_prefix
from realcompo.toolkit.options import settled
from realcompo.toolkit.traits import unet_config

from .gates import Gates, check_gates, find_gates, graft, may_hold_gates
from .options import GligenOptions

SUFFIX = " with GLIGEN"
DEFAULT_MAX_OBJECTS = 30
"""What GLIGEN's checkpoints were trained with; their configs do not say."""


@dataclass(frozen=True)
class Grounding:
    """Boxes of a batch, padded to N = max_objects.

    Attributes:
        boxes: (B, N, 4) as (x0, y0, x1, y1) in [0, 1].
        phrases: (B, N, D) pooled embeddings.
        masks: (B, N): 1 for a box, 0 for padding.
    """

    boxes: Tensor
    phrases: Tensor
    masks: Tensor


class GligenBranch(UNetBranch):
    """Drives the gated UNet itself, with boxes of their own for each picture of a batch.

    Attributes:
        base: the branch whose network the layers were put on, whose own stays as it is; None where the checkpoint stands alone.
        gates: those layers.
    """

    options_class = GligenOptions
    options: GligenOptions
    region_prompts = ("prompt",)
    base: UNetBranch | None = None
    gates: Gates | None = None

    def __init__(
        self, spec: BranchSpec, options: Options | None = None, *, source: Any = None, device: Any = None, dtype: Any = None
    ) -> None:
        own = settled(GligenOptions, spec, options)
        if own.base is None:
            super().__init__(spec, own, source=source, device=device, dtype=dtype)
            return
        self.spec, self.options = spec, own
        base, cls, told = _base(spec, own, source)
        self.gates = find_gates(self._open(spec, own, source, weights=True), own)
        # as a spatial branch: it needs no VAE
        self.base = cls(replace(base, role="spatial"), told, source=own.base_source, device=device, dtype=dtype)
        self.checkpoint, self.loader = self.base.checkpoint, self.base.loader
        self.text, self.vae, self.seen = self.base.text, None, self.base.seen
        self.unet = graft(self.base.unet, self.gates, self.checkpoint.where)
        self.traits = _grafted(self.base.traits, spec)
        self.reader = MapReader(self.unet, own.places, own.map_divisor)

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def inspect(cls, spec: BranchSpec, options: Options, source: Any = None) -> Traits:
        """Its checkpoint's traits, or its base's.

        Raises:
            BadCheckpoint: either is missing or of another architecture. Incompatible: the layers do not fit the base.
        """
        own = settled(GligenOptions, spec, options)
        if own.base is None:
            return super().inspect(spec, own, source)
        base, inner, told = _base(spec, own, source)
        traits = inner.inspect(base, told, own.base_source)
        gates = cls._gates_at_hand(spec, own, source)
        opened = None
        with suppress(BadCheckpoint):  # the base's own checkpoint is not on this machine yet: what it declares holds
            opened = open_checkpoint(
                base.source if own.base_source is None else own.base_source, told, revision=base.revision, parts=("unet",), weights=False
            )
        if gates is not None and opened is not None:
            check_gates(gates, unet_config(opened), opened.where)
        return _grafted(traits, spec)

    @classmethod
    def _gates_at_hand(cls, spec: BranchSpec, options: GligenOptions, source: Any) -> Gates | None:
        """None where they are not on this machine yet: of the plugin's own checkpoint nothing, of another only its configs."""
        try:
            checkpoint = cls._open(spec, options, source, weights=False)
        except BadCheckpoint:
            if source is not None and source != spec.source:
                raise
            return None
        if may_hold_gates(checkpoint):
            return find_gates(checkpoint, options)
        cls.check(checkpoint)
        return None

    @classmethod
    def locate(
        cls, spec: BranchSpec, options: Options, prompt: str, regions: Sequence[Region], source: Any = None
    ) -> dict[str, tuple[str, ...]] | None:
        own = settled(GligenOptions, spec, options)
        if own.base is None:
            return super().locate(spec, own, prompt, regions, source)
        base, inner, told = _base(spec, own, source)
        return inner.locate(base, told, prompt, regions, own.base_source)

    @classmethod
    def unread(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> tuple[str, ...] | None:
        own = settled(GligenOptions, spec, options)
        if own.base is None or isinstance(source, GligenBranch):
            return super().unread(spec, own, prompts, source)
        base, inner, told = _base(spec, own, source)
        return inner.unread(base, told, prompts, own.base_source)

    @classmethod
    def check_prompts(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> None:
        own = settled(GligenOptions, spec, options)
        if own.base is None or isinstance(source, GligenBranch):
            super().check_prompts(spec, own, prompts, source)
            return
        base, inner, told = _base(spec, own, source)
        inner.check_prompts(base, told, prompts, own.base_source)

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        single = checkpoint.single
        if single is not None and single.kind.family is None and gate_prefix(single.file.shapes) is not None:
            raise BadCheckpoint(
                f"it is {single.describe()}: no text encoder goes with it",
                where=checkpoint.where,
                mend="set the option base to a branch of SD 1.x, such as 'sd/v1-4', that the gated layers are put on",
            )
        kind = unet_config(checkpoint).get("attention_type", "default")
        if kind != "gated":
            what = "has no gated attention" if kind == "default" else f"has attention of type {kind!r}"
            raise BadCheckpoint(
                f"it is no GLIGEN checkpoint for text boxes: its UNet {what}",
                where=checkpoint.where,
                mend="choose one whose unet/config.json says attention_type 'gated'",
            )

    # -- once a run -----------------------------------------------------------------------------------------------------------

    @property
    def lora_regions(self) -> tuple[str, ...]:
        return super().lora_regions if self.base is None else self.base.lora_regions

    @property
    def max_objects(self) -> int:
        """N: the boxes that every picture is padded to."""
        return self.traits.max_objects or DEFAULT_MAX_OBJECTS

    def prepare(self, request: Request) -> Grounding:
        """The batch's boxes.

        Raises:
            BadCondition: another kind of condition, or more boxes than the checkpoint takes.
        """
        count, most = len(request.conditions), self.max_objects
        layouts = [_items(condition, b, most) for b, condition in enumerate(request.conditions)]
        words = sorted({self._words_of(item) for items in layouts for item in items})
        pooled = dict(zip(words, self.text.pool(words), strict=True)) if words else {}
        boxes = torch.zeros(count, most, 4)
        masks = torch.zeros(count, most)
        phrases = torch.zeros(count, most, self.unet.config.cross_attention_dim, device=self.device, dtype=self.dtype)
        for b, items in enumerate(layouts):
            for n, item in enumerate(items):
                boxes[b, n] = torch.tensor(item.box)
                masks[b, n] = 1
                phrases[b, n] = pooled[self._words_of(item)].to(phrases)
        return Grounding(boxes.to(phrases), phrases, masks.to(phrases))

    def _words_of(self, item: BoxItem) -> str:
        """What a box is told to hold: its own prompt, where it has one."""
        return item.phrase if item.prompt is None else self.text.bare(item.prompt)

    def embeddings(self, conditioning: UNetConditioning) -> tuple[Tensor, ...]:
        return (*super().embeddings(conditioning), conditioning.extra.phrases)

    # -- every step -----------------------------------------------------------------------------------------------------------

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """The boxes while they hold; the unconditional half sees only null tokens. Then nothing, as if the fusers were off."""
        if not self._grounded(step):
            return {}
        extra: Grounding = conditioning.extra
        grounding = {
            "boxes": conditioning.rows(half, extra.boxes),
            "positive_embeddings": conditioning.rows(half, extra.phrases),
            "masks": conditioning.rows(half, extra.masks, torch.zeros_like(extra.masks)),
        }
        return {"cross_attention_kwargs": {"gligen": {name: value.to(sample) for name, value in grounding.items()}}}

    def _grounded(self, step: Step) -> bool:
        return step.index < int(self.options.grounding_share * step.count)

    def work(self, step: Step, conditioning: UNetConditioning) -> Hashable | None:
        """Whether the fusers see boxes, and what every UNet branch says."""
        return self._grounded(step), super().work(step, conditioning)

    def denoise(self, z: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Tensor:
        with _fusers_on(self.unet):
            return super().denoise(z, step, conditioning, half)

    # -- where it is ----------------------------------------------------------------------------------------------------------

    def fingerprint(self) -> dict[str, str]:
        if self.base is None or self.gates is None:
            return super().fingerprint()
        return {**self.base.fingerprint(), "gligen": self.gates.digest()}


def _base(spec: BranchSpec, options: GligenOptions, source: Any) -> tuple[BranchSpec, type[UNetBranch], UNetOptions]:
    """See `find_base`; a base that is declared to be of another kind than the plugin's own GLIGEN checkpoint is refused."""
    found = find_base(installed(), spec, options, str(options.base), options.base_options, "GLIGEN")
    if options.base_source is None and (source is None or source == spec.source):
        check_families(spec, found[0], SUFFIX, "GLIGEN")
    return found


def _grafted(traits: Traits, spec: BranchSpec) -> Traits:
    most = DEFAULT_MAX_OBJECTS if spec.traits is None else spec.traits.max_objects
    return replace(traits, family=traits.family + SUFFIX, max_objects=most)


def _items(condition: Any, picture: int, most: int) -> tuple[Any, ...]:
    """The boxes of one picture; none if it has no condition."""
    if condition is None:
        return ()
    if not isinstance(condition, Boxes):
        raise BadCondition(f"GLIGEN takes boxes, not {condition.kind}", where=f"picture {picture}", mend="give it Boxes")
    if len(condition.items) > most:
        raise BadCondition(
            f"{len(condition.items)} boxes, but the checkpoint takes at most {most}",
            where=f"picture {picture}",
            mend=f"leave out {len(condition.items) - most}",
        )
    return condition.items


@contextmanager
def _fusers_on(unet: Any) -> Iterator[None]:
    """diffusers' pipeline leaves the fusers of its network switched off after a run; on while ours runs, then as they were."""
    off = [module for module in unet.modules() if type(module).__name__ == "GatedSelfAttentionDense" and not module.enabled]
    for module in off:
        module.enabled = True
    try:
        yield
    finally:
        for module in off:
            module.enabled = False
