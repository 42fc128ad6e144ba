"""Several noises a picture for the first steps, of which the one whose layout stands best goes on.

Where things will stand is decided in the first steps, and by the noise as much as by the branches: what stands badly then hardly answers to
more of the same, and another noise is cheaper than more moves. The rows of a batch are noises, those of a picture side by side. All are
drawn up to the choice, by the same text, which is encoded once. Then the fidelity branch's maps tell how each stands, by its worst region,
and of the others no branch is asked anything more.

The first noise is the one that the seed draws without candidates; the others have seeds of their own (`noise_seed`), so that what was
chosen can be drawn alone, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..arguments import MAX_PICTURES, plain_number
from ..errors import BadOption
from ..interfaces import Step
from ..recipes.recipe import Candidates, PictureEntry, read_part
from .decided import Decided
from .inputs import PictureInputs
from .rows import Rows

T = TypeVar("T")


def read_candidates(value: Any) -> Candidates | None:
    """What a caller gave as candidates: how many, a table, or the model; None for one noise a picture.

    Raises:
        BadOption, BadRecipe: none of these; see `Candidates`.
    """
    if value is None or isinstance(value, Candidates):
        return value
    return read_part(Candidates, value if isinstance(value, Mapping) else {"count": plain_number(value)}, "candidates")


def noise_seed(seed: int, number: int) -> int:
    """The seed of a picture's candidate: its own of the first, of the others 32 bits that follow from both."""
    if number == 0:
        return seed
    return int.from_bytes(hashlib.blake2b(f"{seed} {number}".encode(), digest_size=4).digest(), "big")


@dataclass
class Noises:
    """The rows of a batch of B pictures, N noises each.

    Attributes:
        pictures: B.
        asked: how many noises, and when one is chosen; None for one.
        going: the rows that are drawn.
        chosen: of each picture, the number of the noise that went on, () before the choice.
        worst: B × N, the λ of each noise at the choice (see `Setting.relative`), () where none was asked.
    """

    pictures: int
    asked: Candidates | None = None
    going: Rows = field(init=False)
    chosen: tuple[int, ...] = ()
    worst: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        self.going = Rows.all(self.pictures * self.count)

    @property
    def count(self) -> int:
        """N."""
        return 1 if self.asked is None else self.asked.count

    @property
    def several(self) -> bool:
        """Whether a picture has more than one."""
        return self.count > 1

    @property
    def owners(self) -> list[int]:
        """Of each row, its picture."""
        return [row // self.count for row in range(self.pictures * self.count)]

    @property
    def heads(self) -> list[int]:
        """The first row of each picture."""
        return list(range(0, self.pictures * self.count, self.count))

    @property
    def rows(self) -> list[int]:
        """Of each picture the row that it is shown by: its first noise, and once one is chosen that."""
        return [head + number for head, number in zip(self.heads, self.chosen or [0] * self.pictures, strict=True)]

    def spread(self, values: Sequence[T]) -> tuple[T, ...]:
        """What pictures have, of each row."""
        return tuple(values[b] for b in self.owners)

    def shown(self, values: Tensor) -> Tensor:
        """(B, …) of (B·N, …): of each picture the row that it is shown by."""
        return values[self.rows] if self.several else values

    def spare(self, placed: Sequence[bool]) -> None:
        """Draw only the first noise of pictures that have no regions, for no map can tell their noises apart."""
        self.going = Rows.where(placed[b] or row in self.heads for row, b in enumerate(self.owners))

    def due(self, step: Step) -> bool:
        """Whether one is to be chosen before this step."""
        return self.asked is not None and self.several and not self.chosen and step.index >= self.asked.before(step.count)

    def choose(self, worst: Tensor, told: Sequence[Decided | None] = ()) -> None:
        """Of each picture, the noise of the least λ goes on.

        Args:
            worst: (B·N,) λ of each row; infinity of one that cannot go on.
            told: of each row what was decided of its picture when it was drawn first.
        """
        table = worst.reshape(self.pictures, self.count).tolist()
        self.worst = tuple(tuple(of) for of in table)
        drawn = [told[head] if told else None for head in self.heads]
        before = [None if one is None else one.candidate for one in drawn]
        own = [min(range(self.count), key=of.__getitem__) for of in table]
        self.chosen = tuple(n if was is None or was >= self.count else was for n, was in zip(own, before, strict=True))
        rows = self.rows
        self.going = Rows.where(row in rows for row in range(self.pictures * self.count))


def check_seeds(inputs: PictureInputs, candidates: Candidates | None) -> None:
    """Before weights are loaded: noises that can be drawn.

    Raises:
        BadOption: latents are given, or a generator that has been drawn from, or that draws several pictures; too many rows.
    """
    if candidates is None or candidates.count == 1:
        return
    if inputs.latents is not None or any(picture.seed is None for picture in inputs.pictures):
        what = "latents" if inputs.latents is not None else "a generator that has no seed for each picture"
        raise BadOption(
            f"{candidates.count} candidates beside {what}", where="candidates", mend="give seeds: each candidate draws its noise by one"
        )
    if (rows := candidates.count * len(inputs.pictures)) > MAX_PICTURES:
        raise BadOption(
            f"{candidates.count} candidates of {len(inputs.pictures)} pictures are {rows} noises in one batch",
            where="candidates",
            mend=f"draw at most {MAX_PICTURES} at once",
        )


def noises_of(inputs: PictureInputs, noises: Noises) -> PictureInputs:
    """The inputs of all rows."""
    if not noises.several:
        return inputs
    pictures, generators = list[PictureEntry](), list[torch.Generator]()
    for entry, own in zip(inputs.pictures, inputs.generators, strict=True):
        seeds = [noise_seed(entry.seed or 0, number) for number in range(noises.count)]
        pictures += [entry.model_copy(update={"seed": seed}) for seed in seeds]
        generators += [own, *(torch.Generator(own.device).manual_seed(seed) for seed in seeds[1:])]
    return replace(inputs, pictures=tuple(pictures), generators=tuple(generators))


def candidate_remarks(candidates: Candidates | None, pictures: Sequence[PictureEntry], planned: bool) -> list[str]:
    """One where pictures have nothing that candidates could be told apart by.

    Args:
        planned: conditions that are lacking are still to come.
    """
    if candidates is None or candidates.count == 1 or planned or all(picture.conditions for picture in pictures):
        return []
    return ["candidates are chosen by where regions stand: of a picture without a condition the first noise is drawn, and no other"]
