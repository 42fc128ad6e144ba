"""From a call's arguments, with diffusers' names, to one entry a picture."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..arguments import MAX_PICTURES, MAX_SIDE, plain_number, real, shown, side, text, whole
from ..arguments import seed as a_seed
from ..conditions import Condition
from ..errors import BadOption
from ..plans.planning import PlannedPicture
from ..recipes.copies import PictureCopy
from ..recipes.recipe import MAX_FEATHER, PICTURES, PictureEntry, read_condition, read_part
from ..specs import LatentSpace


@dataclass(frozen=True, eq=False)
class PictureInputs:
    """B pictures, each with a generator of its own; `latents` (B, C, h, w) in place of drawn noise."""

    pictures: tuple[PictureEntry, ...]
    generators: tuple[torch.Generator, ...]
    latents: Tensor | None = None
    transcripts: tuple[list[dict[str, Any]], ...] = ()

    @classmethod
    def of(cls, pictures: Sequence[PictureEntry | PlannedPicture]) -> PictureInputs:
        """Entries of a recipe; a missing seed is drawn, and written down.

        Raises:
            BadOption: no pictures, or something that is none.
        """
        ready = [_planned(one) for one in ([pictures] if isinstance(pictures, (PictureEntry, PlannedPicture)) else _list(pictures))]
        entries = [p.picture for p in ready]
        seeded = tuple(p if p.seed is not None else p.model_copy(update={"seed": secrets.randbits(32)}) for p in entries)
        generators = tuple(torch.Generator().manual_seed(p.seed or 0) for p in seeded)
        return cls(seeded, generators, transcripts=tuple(list(p.transcript) for p in ready))

    def check(self, space: LatentSpace, size: tuple[int, int], device: torch.device) -> None:
        """Before weights are loaded: latents that a run can start from, generators that draw where it runs.

        Raises:
            BadOption: latents of another shape or type, generators of another device.
        """
        for generator in self.generators:
            if generator.device.type not in ("cpu", device.type):
                raise BadOption(
                    f"a generator on {generator.device}, the run is on {device}",
                    mend="make it on the CPU: torch.Generator().manual_seed(0) draws the same on every device",
                )
        if self.latents is None:
            return
        given = self.latents
        wanted = (len(self.pictures), space.channels, size[0] // space.downscale, size[1] // space.downscale)
        mend = f"draw them as torch.randn{wanted}"
        if not isinstance(given, Tensor):
            raise BadOption(f"latents cannot be {shown(given)}", mend="give a tensor (torch.from_numpy makes one of an array)")
        if tuple(given.shape) != wanted:
            raise BadOption(f"latents of shape {tuple(given.shape)}, expected {wanted}", mend=mend)
        if not given.is_floating_point():
            raise BadOption(f"latents of {str(given.dtype).removeprefix('torch.')}, expected floats", mend=mend)

    def noise(self, shape: tuple[int, int, int]) -> Tensor:
        """Unit noise (B, C, h, w), each picture's from its own generator."""
        if self.latents is not None:
            return self.latents.detach().clone()
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
    **drawn_over: Any,
) -> PictureInputs:
    """The arguments of `Composer.__call__` as B = prompts × num_images_per_prompt pictures.

    Args:
        drawn_over: image, strength and what goes with them, by the names of `PictureEntry`; image and mask may be one a prompt.

    Raises:
        BadOption: lists of different lengths, seed beside generator; see `PictureEntry`. BadPicture: an image that cannot be read.
    """
    prompts = [prompt] if isinstance(prompt, str) else _texts("prompt", prompt)
    if not prompts:
        raise BadOption("no prompt", mend="give at least one")
    count, n = len(prompts), whole("num_images_per_prompt", num_images_per_prompt, 1, MAX_PICTURES)
    if count * n > MAX_PICTURES:
        raise BadOption(f"{count * n} pictures in one batch", mend=f"draw at most {MAX_PICTURES} at once, or a recipe with realcompo run")
    conditions = _spread("condition", condition, count, single=condition is None or isinstance(condition, (Condition, Mapping)))
    negatives = [""] if negative_prompt is None else [negative_prompt]
    if negative_prompt is None or isinstance(negative_prompt, str):
        negatives *= count
    else:
        negatives = _spread("negative_prompt", _texts("negative_prompt", negative_prompt), count, single=False)
    seeds, generators = _randomness(seed, generator, count * n)
    over = _drawn_over(drawn_over, count)
    pictures = []
    for index in range(count * n):
        p = index // n
        pictures.append(
            PictureEntry(
                prompt=prompts[p],
                negative_prompt=negatives[p],
                seed=seeds[index],
                conditions=_conditions(conditions[p]),
                **over[p],
            )
        )
    return PictureInputs(tuple(pictures), generators, latents)


def _drawn_over(told: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Of each prompt: its image and mask as copies, and the numbers that go with them."""
    found: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    if "strength" in found:
        found["strength"] = real("strength", found["strength"])
        if not 0 < found["strength"] <= 1:
            raise BadOption(
                f"strength = {found['strength']:g} is out of bounds",
                mend="write more than 0 (nothing drawn) and at most 1 (all of it)",
            )
    for name, most in (("mask_feather", MAX_FEATHER), ("padding_mask_crop", MAX_SIDE)):
        if name in found:
            found[name] = whole(name, found[name], 0, most)
    rows: list[dict[str, Any]] = [dict(found) for _ in range(count)]
    for name, mode in PICTURES:
        if name in found:
            several = isinstance(found[name], (list, tuple))
            copies = [PictureCopy.of(one, mode, name) for one in (found[name] if several else [found[name]])]
            for row, copy in zip(rows, _spread(name, copies, count, single=False) if several else copies * count, strict=True):
                row[name] = copy
    return rows


def size_asked(height: Any, width: Any, default: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a call, or the default where it says none."""
    return (default[0] if height is None else side("height", height), default[1] if width is None else side("width", width))


def _list(value: Any) -> list[Any]:
    """The elements of a list, an array …; BadOption where it is none, or empty."""
    try:
        found = [] if isinstance(value, (str, bytes, Mapping)) else list(value)
    except TypeError:
        found = []
    if not found:
        raise BadOption(f"no pictures: {shown(value)}", mend="give a list of PictureEntry(prompt=…), as a recipe's pictures are")
    return found


def _planned(one: Any) -> PlannedPicture:
    if isinstance(one, PlannedPicture):
        return one
    if isinstance(one, Mapping):
        one = read_part(PictureEntry, one, "a picture")
    if not isinstance(one, PictureEntry):
        raise BadOption(f"a picture cannot be {shown(one)}", mend='give PictureEntry(prompt="a cat", seed=0)')
    return PlannedPicture(one)


def _texts(name: str, value: Any) -> list[str]:
    """A list of texts."""
    if isinstance(value, (bytes, Mapping)) or not hasattr(value, "__iter__"):
        raise BadOption(f"{name} = {shown(value)} is no text", mend="give a text, or a list of texts")
    return [text(f"{name} {index}", plain_number(one)) for index, one in enumerate(value)]


def _spread(name: str, value: Any, count: int, single: bool) -> list[Any]:
    if single:
        return [value] * count
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise BadOption(f"{name} cannot be a {type(value).__name__}", mend="see help(realcompo.Composer.__call__)")
    values = list(value)
    if len(values) != count:
        mend = "give one for all, or one a prompt"
        if len({one.kind for one in values if isinstance(one, Condition)}) > 1:  # meant for one picture
            mend += "; several kinds for a picture are a table: " + "{" + ", ".join(f"{one.kind!r}: …" for one in values) + "}"
        raise BadOption(f"{len(values)} values of {name} for {count} prompts", mend=mend)
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
    """A seed and a generator a picture. A generator that was already drawn from, or that draws several pictures, has no seed that would
    draw the same again."""
    if generator is not None:
        if seed is not None:
            raise BadOption("both seed and generator are given", mend="give one")
        one_for_all = isinstance(generator, torch.Generator)
        if not one_for_all and not (isinstance(generator, Sequence) and all(isinstance(one, torch.Generator) for one in generator)):
            raise BadOption(f"generator cannot be {shown(generator)}", mend="give a torch.Generator, or a list of one a picture")
        given = (generator,) * count if one_for_all else tuple(generator)
        if len(given) != count:
            raise BadOption(f"{len(given)} generators for {count} pictures", mend="give one a picture")
        return [one.initial_seed() if _fresh(one) and sum(one is other for other in given) == 1 else None for one in given], given
    if seed is None:
        seeds = [secrets.randbits(32) for _ in range(count)]
    elif isinstance(seed, (str, bytes, Mapping)) or not hasattr(seed, "__iter__") or getattr(seed, "ndim", None) == 0:
        first = a_seed(seed)
        seeds = [a_seed(first + index, f"seed of picture {index}") for index in range(count)]
    else:
        seeds = [a_seed(one, f"seed of picture {index}") for index, one in enumerate(seed)]
        if len(seeds) != count:
            raise BadOption(f"{len(seeds)} seeds for {count} pictures", mend="give one for the first, or one a picture")
    return list(seeds), tuple(torch.Generator().manual_seed(one) for one in seeds)


def _fresh(generator: torch.Generator) -> bool:
    """Whether nothing was drawn from it since it was seeded."""
    again = torch.Generator(generator.device).manual_seed(generator.initial_seed())
    return bool((generator.get_state() == again.get_state()).all())
