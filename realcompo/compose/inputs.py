"""From a call's arguments, with diffusers' names, to one entry a picture."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..conditions import Condition
from ..errors import BadOption
from ..plans.planning import PlannedPicture
from ..recipes.recipe import PictureEntry, read_condition


@dataclass(frozen=True, eq=False)
class PictureInputs:
    """B pictures, each with a generator of its own; `latents` (B, C, h, w) in place of drawn noise."""

    pictures: tuple[PictureEntry, ...]
    generators: tuple[torch.Generator, ...]
    latents: Tensor | None = None
    transcripts: tuple[list[dict[str, Any]], ...] = ()

    @classmethod
    def of(cls, pictures: Sequence[PictureEntry | PlannedPicture]) -> PictureInputs:
        """Entries of a recipe; a missing seed is drawn, and written down."""
        ready = [p if isinstance(p, PlannedPicture) else PlannedPicture(p) for p in pictures]
        entries = [p.picture for p in ready]
        seeded = tuple(p if p.seed is not None else p.model_copy(update={"seed": secrets.randbits(32)}) for p in entries)
        generators = tuple(torch.Generator().manual_seed(p.seed or 0) for p in seeded)
        return cls(seeded, generators, transcripts=tuple(list(p.transcript) for p in ready))

    def noise(self, shape: tuple[int, int, int]) -> Tensor:
        """Unit noise (B, C, h, w), each picture's from its own generator.

        Raises:
            BadOption: latents of another shape.
        """
        wanted = (len(self.pictures), *shape)
        if self.latents is not None:
            if tuple(self.latents.shape) != wanted:
                raise BadOption(
                    f"latents of shape {tuple(self.latents.shape)}, expected {wanted}",
                    mend="draw them as torch.randn(expected)",
                )
            return self.latents.clone()
        draws = [torch.randn(shape, generator=g, device=g.device).cpu() for g in self.generators]
        return torch.stack(draws)

    def planned(self, plans: Sequence[PlannedPicture]) -> PictureInputs:
        """The same with conditions filled in, and what their planner said, after what was said of them before."""
        before = self.transcripts or ([],) * len(plans)
        said = tuple([*old, *plan.transcript] for old, plan in zip(before, plans, strict=True))
        return replace(self, pictures=tuple(plan.picture for plan in plans), transcripts=said)

    def unseeded(self) -> PictureInputs:
        """The same without seeds to write down: something else than the seed decides the pictures."""
        return replace(self, pictures=tuple(p.model_copy(update={"seed": None}) for p in self.pictures))


def picture_entries(
    prompt: str | Sequence[str],
    condition: Any,
    negative_prompt: str | Sequence[str] | None,
    seed: int | Sequence[int] | None,
    generator: torch.Generator | Sequence[torch.Generator] | None,
    latents: Tensor | None,
    num_images_per_prompt: int,
) -> PictureInputs:
    """The arguments of `Composer.__call__` as B = prompts × num_images_per_prompt pictures.

    Raises:
        BadOption: lists of different lengths, seed beside generator.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts:
        raise BadOption("no prompt", mend="give at least one")
    count, n = len(prompts), num_images_per_prompt
    if n < 1:
        raise BadOption(f"num_images_per_prompt = {n}", mend="1 or more")
    conditions = _spread("condition", condition, count, single=condition is None or isinstance(condition, (Condition, Mapping)))
    negatives = _spread(
        "negative_prompt",
        negative_prompt or "",
        count,
        single=negative_prompt is None or isinstance(negative_prompt, str),
    )
    seeds, generators = _randomness(seed, generator, count * n)
    pictures = []
    for index in range(count * n):
        p = index // n
        pictures.append(
            PictureEntry(
                prompt=prompts[p],
                negative_prompt=negatives[p],
                seed=seeds[index],
                conditions=_conditions(conditions[p]),
            )
        )
    return PictureInputs(tuple(pictures), generators, latents)


def _spread(name: str, value: Any, count: int, single: bool) -> list[Any]:
    if single:
        return [value] * count
    if not isinstance(value, Sequence):
        raise BadOption(f"{name} cannot be a {type(value).__name__}", mend="see help(realcompo.Composer.__call__)")
    values = list(value)
    if len(values) != count:
        raise BadOption(f"{len(values)} values of {name} for {count} prompts", mend="give one for all, or one a prompt")
    return values


def _conditions(value: Any) -> dict[str, Condition]:
    if value is None:
        return {}
    if isinstance(value, Condition):
        return {value.kind: value}
    if not isinstance(value, Mapping):
        raise BadOption(
            f"a condition cannot be a {type(value).__name__}",
            mend="give rc.Boxes({phrase: (x0, y0, x1, y1)})",
        )
    return {key: read_condition(key, one) for key, one in value.items()}


def _randomness(seed: Any, generator: Any, count: int) -> tuple[list[int | None], tuple[torch.Generator, ...]]:
    """A seed and a generator a picture. A generator that was already drawn from has no seed that would draw the same again."""
    if generator is not None:
        if seed is not None:
            raise BadOption("both seed and generator are given", mend="give one")
        if isinstance(generator, torch.Generator):
            fresh = count == 1 and bool(
                (generator.get_state() == torch.Generator(generator.device).manual_seed(generator.initial_seed()).get_state()).all()
            )
            return [generator.initial_seed() if fresh else None] * count, (generator,) * count
        if len(generator) != count:
            raise BadOption(f"{len(generator)} generators for {count} pictures", mend="give one a picture")
        return [one.initial_seed() for one in generator], tuple(generator)
    if seed is None:
        seeds = [secrets.randbits(32) for _ in range(count)]
    elif isinstance(seed, int):
        seeds = [seed + index for index in range(count)]
    else:
        seeds = list(seed)
        if len(seeds) != count:
            raise BadOption(f"{len(seeds)} seeds for {count} pictures", mend="give one for the first, or one a picture")
    return list(seeds), tuple(torch.Generator().manual_seed(one) for one in seeds)
