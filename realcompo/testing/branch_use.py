"""How the checks of branches use one: what is asked of it, built, encoded and predicted. No check is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from ..conditions import Condition, Hint
from ..interfaces import Branch, Conditioning, Prediction, Region, Regions, Request, Step
from ..noise.diffusion import Solver
from ..recipes.recipe import read_condition
from ..specs import BranchSpec
from .common import SAMPLE, ComponentContract
from .sources import small_source


@dataclass(frozen=True)
class Asked:
    """One picture of a request."""

    prompt: str
    regions: tuple[Region, ...]
    condition: Condition | None


class BranchUse(ComponentContract[BranchSpec]):
    """A branch as the checks of `BranchContract`, which says what may be overridden, use it."""

    kind = BranchSpec
    sample: ClassVar[Mapping[str, Any] | None] = None
    size: ClassVar[tuple[int, int] | None] = None
    guidance_scale: ClassVar[float] = 3.0
    double: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-4
    _cached: ClassVar[Branch | None] = None

    @classmethod
    def source(cls) -> Any:
        """Where the checkpoint of the test is."""
        try:
            return small_source(cls.spec())
        except LookupError as error:
            pytest.fail(str(error))

    @classmethod
    def build(cls, dtype: torch.dtype = torch.float32) -> Branch:
        """A fresh branch on the CPU."""
        return cls.host().branch(cls.component, cls.options, source=cls.source(), device="cpu", dtype=dtype)

    @classmethod
    def branch(cls) -> Branch:
        """The branch that the checks share."""
        if "_cached" not in cls.__dict__ or cls._cached is None:
            cls._cached = cls.build()
        return cls._cached

    @classmethod
    def picture_size(cls) -> tuple[int, int]:
        return cls.size or cls.branch().traits.default_size

    @classmethod
    def pictures(cls) -> tuple[Asked, Asked]:
        """The sample, and a picture with one region less (and so another prompt): a ragged batch."""
        spec = cls.spec()
        sample = cls.sample or spec.sample or SAMPLE
        kind = spec.condition or "boxes"
        if kind not in sample:
            pytest.fail(f"{spec.id} takes {kind}, but neither its spec's sample nor the test's has an entry {kind!r}")
        condition = read_condition(kind, sample[kind])
        fewer = cls.fewer(condition)
        phrases = dict.fromkeys(region.phrase for region in cls._regions(fewer))
        return cls._asked(sample["prompt"], condition), cls._asked(" and ".join(phrases) or sample["prompt"], fewer)

    @classmethod
    def fewer(cls, condition: Condition) -> Condition:
        """The condition without its last item."""
        items = getattr(condition, "items", ())
        if isinstance(condition, Hint):
            return condition.only(len(items) - 1)
        return condition.model_copy(update={"items": items[:-1]}) if items else condition

    @classmethod
    def _regions(cls, condition: Condition) -> tuple[Region, ...]:
        return cls.host().transfer(condition.kind)(condition, cls.picture_size())

    @classmethod
    def _asked(cls, prompt: str, condition: Condition) -> Asked:
        return Asked(prompt, cls._regions(condition), condition if cls.spec().role == "spatial" else None)

    @classmethod
    def request(cls, *pictures: Asked) -> Request:
        return Request(
            prompts=tuple(picture.prompt for picture in pictures),
            negative_prompts=("",) * len(pictures),
            regions=Regions(tuple(picture.regions for picture in pictures)),
            conditions=tuple(picture.condition for picture in pictures),
            size=cls.picture_size(),
            guidance_scale=cls.guidance_scale,
        )

    @classmethod
    def latents(cls, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        """Noise (count, C, h, w), the same at each call."""
        latent = cls.branch().traits.latent
        h, w = (side // latent.downscale for side in cls.picture_size())
        return torch.randn(count, latent.channels, h, w, generator=torch.Generator().manual_seed(5), dtype=dtype)

    @classmethod
    def step(cls) -> Step:
        """The third of ten: early enough for branches that act only at first."""
        schedule = cls.branch().traits.schedule
        return Solver("ddim", schedule, 10, "v_prediction").steps[2].seen_by(schedule)

    @classmethod
    def encoded(cls, branch: Branch | None = None) -> Conditioning:
        """The conditioning of the ragged batch of two."""
        with torch.no_grad():
            return (branch or cls.branch()).encode(cls.request(*cls.pictures()))

    @classmethod
    def predicted(cls, *pictures: Asked, z: Tensor | None = None, read: bool = False) -> Prediction:
        """A prediction as the composer asks for it: without a graph, unless it is to be read."""
        pictures = pictures or cls.pictures()
        with torch.no_grad():
            conditioning = cls.branch().encode(cls.request(*pictures))
        z = cls.latents(len(pictures)) if z is None else z.clone()
        with torch.set_grad_enabled(read):
            return cls.branch().predict(z, cls.step(), conditioning, read)

    @classmethod
    def attended(cls, *pictures: Asked, z: Tensor | None = None) -> Tensor:
        """Maps without a graph."""
        pictures = pictures or cls.pictures()
        with torch.no_grad():
            conditioning = cls.branch().encode(cls.request(*pictures))
            return cls.branch().attend(cls.latents(len(pictures)) if z is None else z.clone(), cls.step(), conditioning)

    @classmethod
    def use(cls, branch: Branch, conditioning: Conditioning) -> None:
        """Everything that a run may call, once."""
        step = cls.step()
        with torch.no_grad():
            branch.predict(cls.latents(), step, conditioning)
        branch.predict(cls.latents().requires_grad_(), step, conditioning, read=True)
        branch.attend(cls.latents().requires_grad_(), step, conditioning)
