"""The pairs that are measured: what plugins declare for `realcompo bench`, with what the parts of the run here ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from realcompo.conditions import Condition
from realcompo.recipes.recipe import BranchEntry, Recipe
from realcompo.registry import installed
from realcompo.specs import BranchSpec, SyntheticSpec
from realcompo.testing import synthetic
from realcompo.testing.synthetic import HOW

__all__ = ["HOW", "PAIRS", "Made", "Pair", "make"]


@dataclass(frozen=True)
class Pair:
    """A fidelity branch and a spatial one, and what is drawn with them."""

    spec: SyntheticSpec

    @property
    def name(self) -> str:
        return self.spec.id.split("/")[1]

    @cached_property
    def recipe(self) -> Recipe:
        return Recipe.model_validate(self.spec.recipe)

    @property
    def fidelity(self) -> str:
        return self.recipe.branches[0].name

    @property
    def spatial(self) -> str:
        return self.recipe.branches[1].name

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the real ones' pictures."""
        traits = installed().find(BranchSpec, self.fidelity).traits
        return (512, 512) if traits is None else traits.default_size

    @property
    def prompt(self) -> str:
        return self.recipe.pictures[0].prompt

    @property
    def condition(self) -> Condition:
        return next(iter(self.recipe.pictures[0].conditions.values()))


PAIRS = tuple(Pair(installed().find(SyntheticSpec, name)) for name in ("sd15-gligen", "sdxl-controlnet"))


@dataclass(frozen=True, eq=False)
class Made:
    """The networks of a pair, which branches find by their folders while this is held."""

    pair: Pair
    networks_made: synthetic.Made

    @property
    def networks(self) -> Any:
        return self.networks_made.networks

    @property
    def parameters(self) -> dict[str, int]:
        return self.networks_made.parameters

    @property
    def device(self) -> torch.device:
        return self.networks_made.device

    @property
    def dtype(self) -> torch.dtype:
        return self.networks_made.dtype

    @property
    def recipe(self) -> Recipe:
        return Recipe.model_validate(self.networks_made.recipe)

    @property
    def entries(self) -> tuple[BranchEntry, ...]:
        """The two branches as a recipe names them."""
        return self.recipe.branches

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its pictures."""
        height, width = self.recipe.height, self.recipe.width
        return self.pair.size if height is None or width is None else (height, width)

    def to(self, device: Any) -> None:
        self.networks_made.to(device)

    def copied(self, device: torch.device, dtype: torch.dtype) -> Made:
        return Made(self.pair, self.networks_made.copied(device, dtype))


def make(pair: Pair, folder: Path, device: torch.device, dtype: torch.dtype, small: bool) -> Made:
    """A pair's networks, on a device and in a precision."""
    return Made(pair, synthetic.make(pair.spec, folder, device, dtype, small, installed()))
