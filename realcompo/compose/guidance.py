"""Classifier-free guidance u + g·(c − u) as a run asks for it: at which noise levels it acts, and on which branches the run decides it."""

from __future__ import annotations

from collections.abc import Sequence

from ..interfaces import Branch, Step, gives_halves
from ..noise.diffusion import Solver
from ..recipes.members import Member
from ..recipes.recipe import GuidanceOptions
from ..registry import Registry

MOST_DISTILLED = 2.5
"""Guidance that a network which was distilled for few steps bears."""


def acts(options: GuidanceOptions, step: Step) -> bool:
    """Whether branches are guided at this step: low < σ ≤ high (Kynkäänniemi et al. 2024, "Applying guidance in a limited interval")."""
    return options.interval is None or options.interval[0] < step.sigma <= options.interval[1]


def twice(member: Member) -> bool:
    """Whether a branch is guided by a second pass: not by a number that its network is told."""
    return member.guidance_scale > 1 and member.traits.guidance == "passes"


def halved(member: Member, cls: type[Branch]) -> bool:
    """Whether a branch of this class is guided, and the run can leave its unconditional half out."""
    return twice(member) and gives_halves(cls)


def guidance_remarks(options: GuidanceOptions, members: Sequence[Member], registry: Registry, solver: Solver) -> list[str]:
    """Branches that do as they always do because they give no half of their prediction, negative prompts that nobody asks, and an interval
    that no step lies in."""
    told = [
        f"{m.name}: it is distilled to draw without guidance, and its guidance_scale is {m.guidance_scale:g}, which over-saturates: 1 is "
        "what it was made for (1.5 to 2 where a negative prompt matters)"
        for m in members
        if m.traits.distilled and twice(m) and m.guidance_scale > MOST_DISTILLED
    ]
    classes = [type(m.ready) if m.ready is not None else registry.load(m.spec) for m in members]
    guided = [(m, gives_halves(cls)) for m, cls in zip(members, classes, strict=True) if twice(m)]
    whole = ", ".join(m.name for m, halves in guided if not halves)
    shared = options.unconditional == "shared" and len(members) > 1
    does = ["guided at every noise level"] if options.interval is not None else []
    does += ["guided by its own unconditional half"] if shared else []
    if whole and does:
        told.append(f"{whole}: {' and '.join(does)}, as its plugin offers no half of a prediction (Branch.predict_half)")
    if shared and guided:
        first = guided[0][0]
        others = [m for m, halves in guided[1:] if halves and m.entry.negative_prompt not in (None, first.entry.negative_prompt)]
        if others:
            names = ", ".join(m.name for m in others)
            told.append(f"{names}: its own negative prompt does nothing beside {first.name}, whose unconditional half is shared")
    if options.interval is not None and not any(acts(options, step) for step in solver.steps):
        low, high, begin, end = *options.interval, solver.steps[0].sigma, solver.steps[-1].sigma
        told.append(f"guidance acts at no step: its interval is {low:g} < σ ≤ {high:g}, and the run's σ goes from {begin:.3g} to {end:.3g}")
    return told
