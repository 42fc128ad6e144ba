"""Regional prompts: a second set of texts, each region's own words, attended to only inside its mask; nothing is trained. A region's words
are its own prompt, or its phrase; where one has a negative prompt, the unconditional half is drawn so too.

The mechanism of Regional-Prompting-FLUX (arXiv 2411.02395) and of regional guidance in drawing programs, for UNets and transformers alike;
attention.py says how. Where those hold a region's words to its own pixels in both directions, its words read the whole picture here.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from realcompo.errors import BadOption
from realcompo.interfaces import GuidanceHalf, Prediction, Region, Request, Step, picked
from realcompo.registry import installed
from realcompo.specs import BranchSpec, Options
from realcompo.toolkit import BranchUpon, DenoiserBranch, Text, UNetConditioning
from realcompo.toolkit.guard import bare, exclusive
from realcompo_regional import RegionalOptions

from .attention import Rows, regional


@dataclass(frozen=True)
class RegionalConditioning:
    """All that belongs to a run.

    Attributes:
        inner: the conditioning of the branch beneath, for the whole prompts.
        rows: its conditioning for the pictures and their regions, one row each; None where there are no regions.
        of: which rows belong together.
    """

    inner: UNetConditioning
    rows: UNetConditioning | None = None
    of: Rows | None = None

    def pick(self, pictures: Sequence[int]) -> RegionalConditioning:
        """See `Branch.pick`: a picture's regions go with it."""
        count = len(self.inner.conditional.hidden)
        inner = picked(self.inner, pictures, count)
        if self.rows is None or self.of is None:
            return RegionalConditioning(inner)
        owners = self.of.pictures.tolist()
        chosen = [(place, n) for place, b in enumerate(pictures) for n, owner in enumerate(owners) if owner == b]
        if not chosen:
            return RegionalConditioning(inner)
        regions = [n for _, n in chosen]
        rows = picked(self.rows, [*pictures, *(count + n for n in regions)], count + len(owners))
        own = torch.tensor([place for place, _ in chosen], device=self.of.pictures.device)
        masks = {level: mask[regions] for level, mask in self.of.masks.items()}
        return RegionalConditioning(inner, rows, replace(self.of, pictures=own, count=len(pictures), masks=masks))


class RegionalBranch(BranchUpon):
    """Draws with another branch's network; everything that it does not change is that branch's.

    Attributes:
        inner: the branch that it builds on, whose networks other branches may share.
    """

    options_class = RegionalOptions
    region_prompts = ("prompt", "negative_prompt")
    options: RegionalOptions

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def beneath(cls, options: RegionalOptions) -> tuple[BranchSpec, type[DenoiserBranch], Options]:
        """The branch beneath: its spec, class and validated options.

        Raises:
            UnknownName, BadOption: there is none of that id, or none that can be drawn with.
        """
        registry = installed()
        base = registry.find(BranchSpec, options.base)
        kind = registry.load(base)
        if not issubclass(kind, DenoiserBranch) or base.role == "spatial":
            raise BadOption(
                f"regional prompts cannot build on {base.id!r}: it is no fidelity branch with a UNet or a transformer",
                where="option base",
                mend="choose a branch such as sd/xl-base or z-image/base",
            )
        return base, kind, registry.options(base, options.base_options)

    @classmethod
    def remarks(cls, spec: BranchSpec, options: Options, balanced: tuple[float, float] | None) -> tuple[str, ...]:
        """Words that act no longer when the balance begins leave a base model beside the fidelity model, and nothing to balance."""
        own = cls.own(spec, options)
        if balanced is None or own.base_ratio == 1 or own.share > balanced[0]:
            return ()
        return (
            f"its regions' words act for {own.share:.0%} of the steps, and the balance begins at {balanced[0]:.0%}: from there on it is "
            f"{own.base} as it stands; let the option share be larger or shorten the balancer's warmup",
        )

    # -- once a run -----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, request: Request) -> RegionalConditioning:
        inner = self.inner.encode(request)
        mine = self._mine(request)
        pictures = [b for b, regions in enumerate(mine) for _ in regions]
        if not pictures:
            return RegionalConditioning(inner)
        regions = [region for regions in mine for _, region in regions]
        text = self.inner.text
        words = text.encode([text.spelled(region.phrase) if region.prompt is None else region.prompt for region in regions])
        against = None
        if inner.unconditional is not None and any(region.negative_prompt is not None for region in regions):
            told = [request.negative_prompts[b] for b in pictures]
            own_words = [r.negative_prompt for r in regions]
            against = self.inner.encode_negative([his if mine is None else mine for his, mine in zip(told, own_words, strict=True)])
        count, own = len(request.prompts), torch.tensor(pictures, device=self.device)
        index = torch.cat([torch.arange(count, device=self.device), own])
        halves = [self._beside(inner.conditional, words, index), self._beside(inner.unconditional, against, index)]
        length = math.lcm(*(half.hidden.shape[1] for half in halves if half is not None))
        conditional, unconditional = (None if half is None else half.repeated(length) for half in halves)
        weights = inner.weights[index].repeat(1, 1, length // inner.weights.shape[-1])
        rows = UNetConditioning(conditional, unconditional, weights, 1.0, at_rows(inner.extra, index))
        rows = replace(
            rows, told_guidance=inner.told_guidance, images=at_rows(inner.images, index), regional=at_rows(inner.regional, index)
        )
        of = Rows(own, count, self._masks(request, mine), self.options.base_ratio, length)
        return RegionalConditioning(inner, rows, of)

    def _beside(self, whole: Text | None, words: Text | None, index: Tensor) -> Text | None:
        """The pictures' rows and then their regions'; None where the regions have no words of this half."""
        if whole is None or words is None:
            return None
        words = words.to(self.device, self.dtype)
        length = math.lcm(whole.hidden.shape[1], words.hidden.shape[1])
        return Text(
            torch.cat([whole.repeated(length).hidden, words.repeated(length).hidden]),
            None if whole.pooled is None else whole.pooled[index],  # a picture's rows have one modulation, or they would drift apart
            None if whole.mask is None or words.mask is None else torch.cat([whole.mask, words.mask]),
        )

    def _mine(self, request: Request) -> list[list[tuple[int, Region]]]:
        """(number, region) of each picture's regions that this branch's own condition brings."""
        registry, found = installed(), []
        for condition, regions in zip(request.conditions, request.regions.pictures, strict=True):
            ids = set() if condition is None else {one.id for one in registry.transfer(condition.kind)(condition, request.size)}
            found.append([(r, region) for r, region in enumerate(regions) if region.id in ids])
        return found

    def _masks(self, request: Request, mine: Sequence[Sequence[tuple[int, Region]]]) -> dict[int, Tensor]:
        h, w = (side // self.traits.latent.downscale for side in request.size)
        masks = {}
        for level in {place.level for place in self.inner.all_places()}:
            whole = request.regions.masks(-(-h // 2**level), -(-w // 2**level)).flatten(2)
            masks[level] = torch.stack([whole[b, r] for b, regions in enumerate(mine) for r, _ in regions]).to(self.device)
        return masks

    def embeddings(self, conditioning: RegionalConditioning) -> Sequence[Tensor]:
        found = list(self.inner.embeddings(conditioning.inner))
        if conditioning.rows is not None and conditioning.of is not None:  # of each picture, the sum of its regions' words
            for half in (conditioning.rows.conditional, conditioning.rows.unconditional):
                if half is not None:
                    words = half.hidden[conditioning.of.count :]
                    sums = torch.zeros(conditioning.of.count, *words.shape[1:], device=words.device, dtype=words.dtype)
                    found.append(sums.index_add(0, conditioning.of.pictures, words))
        return found

    # -- every step -----------------------------------------------------------------------------------------------------------

    def acts(self, step: Step, conditioning: RegionalConditioning) -> bool:
        """Whether the regions' words act at a step."""
        return conditioning.rows is not None and self.options.base_ratio < 1 and step.share < self.options.share

    def raw(self, z: Tensor, step: Step, conditioning: RegionalConditioning, half: GuidanceHalf = "conditional") -> Tensor:
        """A half of the raw prediction at z (B, C, h, w) with the regions' words in it; of the unconditional one, where they have some."""
        rows, of = conditioning.rows, conditioning.of
        network = bare(self.inner.network)
        with exclusive(network), regional(self.inner.placed(self.inner.all_places(), torch.cat([z, z[of.pictures]]), rows), of):
            return self.inner.denoise(torch.cat([z, z[of.pictures]]), step, rows, half)[: len(z)]

    def _unconditional(self, z: Tensor, step: Step, conditioning: RegionalConditioning) -> Tensor:
        if conditioning.rows is not None and conditioning.rows.unconditional is not None:
            return self.raw(z, step, conditioning, "unconditional")
        return self.inner.denoise(z, step, conditioning.inner, "unconditional")

    def predict(self, z: Tensor, step: Step, conditioning: RegionalConditioning, read: bool = False) -> Prediction:
        """Guided as the base guides. Maps, if read, are the whole prompt's, as `attend` sees them."""
        self.check_step(step)
        inner = conditioning.inner
        if not self.acts(step, conditioning):
            return self.inner.predict(z, step, inner, read)
        maps = self.attend(z, step, conditioning) if read else None
        with torch.no_grad():
            z = z.detach()
            found = self.raw(z, step, conditioning)
            if inner.unconditional is not None:
                found = self.inner.blended(z, found, self._unconditional(z, step, conditioning), step, inner)
        return Prediction(found, maps)

    def predict_unguided(self, z: Tensor, step: Step, conditioning: RegionalConditioning) -> Tensor:
        if not self.acts(step, conditioning):
            return self.inner.predict_unguided(z, step, conditioning.inner)
        with torch.no_grad():
            return self.raw(z, step, conditioning)

    def work(self, step: Step, conditioning: RegionalConditioning) -> Hashable | None:
        return self.acts(step, conditioning), self.inner.work(step, conditioning.inner)


def at_rows(extra: Any, index: Tensor) -> Any:
    """What a branch keeps of B pictures (`DenoiserBranch.prepare`), for the rows of `index`: tensors row by row, all else as it is."""
    if isinstance(extra, Tensor):
        return extra[index]
    if is_dataclass(extra) and not isinstance(extra, type):
        return replace(extra, **{field.name: at_rows(getattr(extra, field.name), index) for field in fields(extra)})
    return extra
