"""A branch that draws with another branch's networks: what it does not change is that branch's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..interfaces import Branch, Region, Regions, Step
from ..specs import BranchSpec, Options, Traits
from .denoiser import DenoiserBranch
from .options import settled


class BranchUpon(Branch):
    """Inherit, name `options_class`, find the branch beneath in `beneath`, and write `encode`, `embeddings` and `predict`.

    Its conditionings keep the inner branch's in their attribute `inner`.

    Attributes:
        options_class: of its options, which a spec's may not be yet.
        inner: the branch that it builds on, whose networks other branches may share.
    """

    options_class: ClassVar[type[Options]]
    options: Any

    def __init__(
        self, spec: BranchSpec, options: Options | None = None, *, source: Any = None, device: Any = None, dtype: Any = None
    ) -> None:
        self.spec = spec
        self.options = self.own(spec, options)
        base, cls, told = self.beneath(self.options)
        # as a spatial branch: it needs no VAE
        self.inner: DenoiserBranch = cls(replace(base, role="spatial"), told, source=source, device=device, dtype=dtype)
        self.traits = self.inner.traits

    @classmethod
    def own(cls, spec: BranchSpec, options: Options | None) -> Any:
        """Its options, whatever the caller gave."""
        return settled(cls.options_class, spec, options)

    @classmethod
    @abstractmethod
    def beneath(cls, options: Any) -> tuple[BranchSpec, type[DenoiserBranch], Options]:
        """The branch beneath: its spec, class and validated options.

        Raises:
            UnknownName, BadOption: there is none of that id, or none that it can build on.
        """

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def inspect(cls, spec: BranchSpec, options: Options, source: Any = None) -> Traits:
        """The base's traits."""
        base, inner, told = cls.beneath(cls.own(spec, options))
        return inner.inspect(base, told, source)

    @classmethod
    def locate(
        cls, spec: BranchSpec, options: Options, prompt: str, regions: Sequence[Region], source: Any = None
    ) -> dict[str, tuple[str, ...]] | None:
        base, inner, told = cls.beneath(cls.own(spec, options))
        return inner.locate(base, told, prompt, regions, source)

    @classmethod
    def unread(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> tuple[str, ...] | None:
        base, inner, told = cls.beneath(cls.own(spec, options))
        return inner.unread(base, told, prompts, source.inner if isinstance(source, cls) else source)

    @classmethod
    def check_prompts(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> None:
        base, inner, told = cls.beneath(cls.own(spec, options))
        inner.check_prompts(base, told, prompts, source.inner if isinstance(source, cls) else source)

    @classmethod
    def check_regions(cls, spec: BranchSpec, options: Options, regions: Regions) -> None:
        base, inner, told = cls.beneath(cls.own(spec, options))
        inner.check_regions(base, told, regions)

    # -- every step -----------------------------------------------------------------------------------------------------------

    def attend(self, z: Tensor, step: Step, conditioning: Any) -> Tensor:
        self.check_step(step)
        return self.inner.attend(z, step, conditioning.inner)

    # -- where it is ----------------------------------------------------------------------------------------------------------

    def to(self, device: Any = None, dtype: Any = None) -> Self:
        self.inner.to(device, dtype)
        return self

    @property
    def device(self) -> torch.device:
        return self.inner.device

    @property
    def dtype(self) -> torch.dtype:
        return self.inner.dtype

    def fingerprint(self) -> dict[str, str]:
        return self.inner.fingerprint()
