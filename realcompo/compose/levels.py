"""The list of noise levels that a run goes through, and whether each branch knows those at which it acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..errors import WrongLevel
from ..interfaces import Balancer, Setting, Step
from ..noise.diffusion import Solver
from ..recipes.members import Member
from ..specs import FlowSchedule, NoiseSchedule, Schedule


def acting_at(members: Sequence[Member], balancer: Balancer, steps: int) -> list[tuple[bool, ...]]:
    """Which branches act at each of so many steps: the balancer is asked, of a picture without regions, which tells it nothing."""
    setting = Setting(
        names=tuple(m.name for m in members),
        roles=tuple(m.role for m in members),
        masks=torch.zeros(1, 1, 1, 1),
        owners=torch.zeros(len(members), 1, 1, dtype=torch.bool),
        generators=(torch.Generator(),),
        kinds=tuple(m.spec.condition if m.role == "spatial" else None for m in members),
    )
    state = balancer.start(setting)
    return [balancer.needs(state, Step(i, steps, 0.0, 0.0, 0.5, 0.5)).each() for i in range(steps)]


def one_process(members: Sequence[Member]) -> bool:
    """Whether all branches count their timesteps alike."""
    return len({m.traits.schedule.process for m in members}) == 1


def run_levels(made: Callable[[float | None], Solver], members: Sequence[Member], balancer: Balancer, hold: bool) -> Solver:
    """The solver of a run: its list begins at the highest level that every branch acting there knows, or, where branches are held at their
    last timestep, where the process of the fidelity branch (of a flow's scheduler: the flow) begins.

    Args:
        made: the most noise that the list may begin with, as ᾱ, to a solver (None: that of the fidelity branch's process).

    Raises:
        WrongLevel: a level at which a branch acts is none that it knows.
    """
    if one_process(members):
        return made(None)
    if hold:
        return made(members[0].traits.schedule.range[0])
    lows = [m.traits.schedule.range[0] for m in members]
    solver = made(max(lows))
    acting = acting_at(members, balancer, len(solver.steps))
    first = max(low for low, acts in zip(lows, acting[0], strict=True) if acts)
    if first < max(lows):  # who knows less noise may begin to act where there is little enough
        louder = made(first)
        solver = solver if _unknown(louder, members, acting) else louder
    for step, m in _unknown(solver, members, acting):
        low = m.traits.schedule.range[0]
        raise WrongLevel(
            f"step {step.index} of {step.count} has ᾱ = {step.alpha_bar:.3g}, and it was trained at ᾱ ≥ {low:.3g}",
            where=m.name,
            mend="take fewer steps, or noise_range = 'held'",
        )
    return solver


def _unknown(solver: Solver, members: Sequence[Member], acting: Sequence[Sequence[bool]]) -> list[tuple[Step, Member]]:
    """Where a branch acts at more noise than it knows."""
    return [
        (step, m)
        for step, acts in zip(solver.steps, acting, strict=True)
        for m, at_work in zip(members, acts, strict=True)
        if at_work and step.alpha_bar < m.traits.schedule.range[0] and not m.traits.schedule.holds(step.alpha_bar)
    ]


def level_remarks(members: Sequence[Member], solver: Solver, hold: bool) -> list[str]:
    """One where processes differ: that the branches meet by noise level, and where the run begins."""
    if one_process(members):
        return []
    told = ", ".join(f"{m.name} {_name(m.traits.schedule)}" for m in members)
    first = solver.steps[0].alpha_bar
    short = [m.name for m in members if hold and not m.traits.schedule.holds(first)]
    held = f"; {', '.join(short)} cannot know that much noise and will be held at the last timestep until there is less" if short else ""
    return [
        f"the branches were trained on different processes ({told}) and meet by noise level; the run begins at ᾱ = {first:.3g} "
        f"(σ = {FlowSchedule.sigma(first):.3f} of a flow){held}"
    ]


def _name(schedule: Schedule) -> str:
    if isinstance(schedule, NoiseSchedule):
        zero = ", zero terminal SNR" if schedule.rescale_betas_zero_snr else ""
        return f"a diffusion of {schedule.num_train_timesteps} timesteps ({schedule.beta_schedule}{zero})"
    return "a rectified flow" if isinstance(schedule, FlowSchedule) else "a diffusion in σ"
