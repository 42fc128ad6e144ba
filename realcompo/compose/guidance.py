"""Classifier-free guidance u + g·(c − u) as a run asks for it: at which noise levels it acts, and on which branches the run decides it."""

from __future__ import annotations

from collections.abc import Sequence

from ..interfaces import Branch, Step, gives_halves
from ..noise.diffusion import Solver
from ..recipes.members import Member
from ..recipes.recipe import GuidanceOptions
from ..registry import Registry


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
    """Branches that do as they always do because they give no half of their prediction, and an interval that no step lies in."""
    if options.interval is None:
        return []
    classes = [type(m.ready) if m.ready is not None else registry.load(m.spec) for m in members]
    whole = [m.name for m, cls in zip(members, classes, strict=True) if twice(m) and not gives_halves(cls)]
    told = []
    if whole:
        told.append(f"{', '.join(whole)}: guided at every noise level, as its plugin offers no half of a prediction (Branch.predict_half)")
    if not any(acts(options, step) for step in solver.steps):
        first, last = solver.steps[0].sigma, solver.steps[-1].sigma
        told.append(
            f"guidance acts at no step: its interval is {options.interval[0]:g} < σ ≤ {options.interval[1]:g}, and the run's σ goes from "
            f"{first:.3g} to {last:.3g}"
        )
    return told
