"""Which members fit together, and what each is told of a picture: all that can be known before a weight is loaded is checked here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..conditions import Condition, Hint
from ..errors import BadCondition, BadOption, Incompatible
from ..interfaces import Balancer, Branch, Region, Regions
from ..noise.diffusion import FEW, Solver
from ..recipes.members import Member
from ..recipes.recipe import PictureEntry
from ..registry import Registry
from .levels import acting_at

FEW_STEPS = 8
"""Distilled networks draw in so many steps, or fewer."""

REGION_PROMPTS = ("prompt", "negative_prompt")
"""A region's own words, by their names in an item of a condition."""


def check_compatible(members: Sequence[Member], size: tuple[int, int]) -> None:
    """Raise Incompatible where the members cannot be blended, name by name: they need one latent space. Their processes may differ, as
    they meet by noise level (levels.py)."""
    first = members[0]
    for other in members[1:]:
        pair = f"cannot compose {first.name!r} with {other.name!r}"
        if other.traits.latent != first.traits.latent:
            raise Incompatible(
                f"{pair}: latent spaces differ ({_space(first, other)} / {_space(other, first)})",
                mend=_rebased(first, other, members.index(other))
                + "choose branches of one latent space, or set the option latent_space of a checkpoint of unknown origin",
            )
    for m in members:
        multiple = m.traits.size_multiple
        if size[0] % multiple or size[1] % multiple:
            near = tuple(max(multiple, round(side / multiple) * multiple) for side in size)
            raise Incompatible(
                f"{m.name!r} cannot take {size[1]}×{size[0]} pixels: both must be multiples of {multiple}",
                mend=f"nearest: {near[1]}×{near[0]}",
            )
        m.traits.check_side(repr(m.name), size)


def _space(one: Member, other: Member) -> str:
    """A latent space by its name and channels; whole, where that does not tell it from the other's."""
    latent, rival = one.traits.latent, other.traits.latent
    short = f"{latent.name!r}, {latent.channels} channels"
    return short if (latent.name, latent.channels) != (rival.name, rival.channels) else str(latent)


def _rebased(first: Member, other: Member, place: int) -> str:
    """How a branch that has its checkpoint from another (option base) comes into the fidelity branch's space; empty for one whose own
    weights were trained in theirs."""
    if other.spec.source is not None or other.spec.options is None or "base" not in other.spec.options.model_fields:
        return ""
    if first.ready is not None or not isinstance(first.source, (str, type(None))):  # an object in memory, which no recipe names
        return ""
    return f"build it on the same: its option base = {first.spec.id!r} (--set branches.{place}.options.base={first.spec.id}); or "


def check_guidance(members: Sequence[Member]) -> None:
    """Raise BadOption where guidance is asked of a branch that knows none."""
    for m in members:
        if m.traits.guidance == "none" and m.guidance_scale > 1:
            raise BadOption(
                f"{m.name!r} is distilled: it draws without guidance, and guidance_scale is {m.guidance_scale:g}",
                where=m.name,
                mend="set its guidance_scale to 1; some have an option for guidance by a second pass (`realcompo show`, true_cfg_scale)",
            )


def check_few_steps(members: Sequence[Member], balancer: Balancer, solver: Solver) -> None:
    """Raise Incompatible where a run in few steps (of LCM's or TCD's scheduler, or of 8 or fewer steps with a branch that was distilled for
    them) is one of a branch that was not: its predictions lead to a picture in many steps only."""
    others = [m for m in members if not m.traits.distilled]
    few = solver.name in FEW or (len(others) < len(members) and len(solver.steps) <= FEW_STEPS)
    if not others or not few:
        return
    acting = acting_at(members, balancer, len(solver.steps))
    for m in others:
        if any(acts[members.index(m)] for acts in acting):
            partner = next((f"{one.name!r} is" for one in members if one.traits.distilled), f"{solver.name} asks for it")
            raise Incompatible(
                f"{m.name!r} is not distilled, and this run draws in {len(solver.steps)} steps ({partner})",
                where=m.name,
                mend="put a LoRA of the same kind on it too (LCM, TCD, Lightning …: options lora and distilled = true), say "
                "distilled = true if its checkpoint is, or take another scheduler and more steps",
            )


def check_prompts(members: Sequence[Member], pictures: Sequence[PictureEntry], registry: Registry) -> None:
    """Raise what a branch raises of prompts that it cannot draw; see `Branch.check_prompts`."""
    for m in members:
        texts = dict.fromkeys(m.own_prompt(picture.prompt) for picture in pictures)
        if m.guidance_scale > 1:
            negative = m.entry.negative_prompt
            texts |= dict.fromkeys(picture.negative_prompt if negative is None else negative for picture in pictures)
        for name in REGION_PROMPTS:
            own = (region_words([m], picture, registry, name) for picture in pictures)
            texts |= dict.fromkeys(getattr(item, name) for items in own for _, item in items)
        cls: type[Branch] = type(m.ready) if m.ready is not None else registry.load(m.spec)
        cls.check_prompts(m.spec, m.options(registry), tuple(texts), m.source if m.ready is None else m.ready)


def check_regions(members: Sequence[Member], regions: Regions, registry: Registry) -> None:
    """Raise what a branch raises of regions that it cannot draw; see `Branch.check_regions`."""
    for m in members:
        cls: type[Branch] = type(m.ready) if m.ready is not None else registry.load(m.spec)
        cls.check_regions(m.spec, m.options(registry), regions)


def region_words(
    members: Sequence[Member], picture: PictureEntry, registry: Registry, name: str, used: bool = True
) -> list[tuple[Member, Any]]:
    """(member, item of its condition) for each region with such words of its own.

    Args:
        name: of `REGION_PROMPTS`.
        used: only where the member draws by them.
    """
    found = []
    for m in members:
        condition = m.condition(picture) if m.role == "spatial" else None
        own = [item for item in getattr(condition, "items", ()) if getattr(item, name, None)]
        if own and used:
            cls: type[Branch] = type(m.ready) if m.ready is not None else registry.load(m.spec)
            own = own if name in cls.region_prompts else []
        found += [(m, item) for item in own]
    return found


def _give(kind: str) -> str:
    """How a condition that is missing is given."""
    here = "boxes (--box PHRASE=X0,Y0,X1,Y1)" if kind == "boxes" else kind
    return f"give the picture {here}, or name a planner that makes them"


def picture_regions(
    members: Sequence[Member], picture: PictureEntry, size: tuple[int, int], registry: Registry, where: str
) -> list[tuple[Region, ...]]:
    """Regions of one picture, one tuple a member (the fidelity branch brings none).

    Raises:
        BadCondition: a spatial branch without its condition, or more regions than it takes.
    """
    parts: list[tuple[Region, ...]] = []
    for m in members:
        condition = m.condition(picture) if m.role == "spatial" else None
        if m.role == "spatial" and m.spec.condition is not None and condition is None:
            raise BadCondition(
                f"{m.name!r} has no {m.spec.condition}"
                + (f"; the picture brings {', '.join(sorted(picture.conditions))}" if picture.conditions else ""),
                where=where,
                mend=_give(m.spec.condition),
            )
        if isinstance(condition, Hint) and m.traits.hints is not None and condition.of not in m.traits.hints:
            raise BadCondition(
                f"{m.name!r} knows hints of {', '.join(m.traits.hints)}, not of {condition.of}",
                where=where,
                mend="give it one of those, or a ControlNet that was trained on this kind (options source and hints)",
            )
        regions = _transferred(m, condition, size, registry) if condition is not None else ()
        limit = m.traits.max_objects
        if limit is not None and len(regions) > limit:
            raise BadCondition(
                f"{len(regions)} objects, but {m.name!r} takes at most {limit}",
                where=where,
                mend=f"leave out {len(regions) - limit}",
            )
        parts.append(regions)
    return parts


def _transferred(m: Member, condition: Condition, size: tuple[int, int], registry: Registry) -> tuple[Region, ...]:
    """f(C): by the transfer that the recipe names for the branch, or by its kind's own."""
    asked = m.entry.transfer
    if asked is None:
        return registry.transfer(condition.kind)(condition, size)
    transfer = registry.transfer(asked.name, asked.options)
    if transfer.kind != condition.kind:
        raise BadOption(
            f"{asked.name!r} takes {transfer.kind}, its condition is {condition.kind}",
            where=f"{m.name!r}, transfer",
            mend=f"name a transfer of {condition.kind}, or leave it out",
        )
    return transfer(condition, size)


def unite(per_picture: Sequence[Sequence[tuple[Region, ...]]]) -> tuple[Regions, list[list[set[str]]]]:
    """Pictures × members × regions to their union, and owned[k][b]: ids that member k brought to picture b."""
    count = len(per_picture[0])
    columns = [Regions(tuple(parts[k] for parts in per_picture)) for k in range(count)]
    owned = [[{region.id for region in regions} for regions in column.pictures] for column in columns]
    return Regions.union(columns), owned
