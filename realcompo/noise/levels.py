"""Which noise levels a scheduler of diffusers visits: those of a trained diffusion, those of it (or of a flow) from some level on, or those
of a flow with its shift."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from itertools import pairwise
from typing import Any

from ..errors import BadOption, Incompatible
from ..specs import FlowSchedule, NoiseSchedule, Schedule

PROCESS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
"""Settings that say how the networks were trained: they are the checkpoint's."""

SPACINGS = ("trailing", "linspace")
"""Of a flow: see `FlowSchedule`."""


def trained_scheduler(cls: type[Any], schedule: NoiseSchedule, told: Mapping[str, Any]) -> Any:
    """A scheduler over all that a diffusion was trained at."""
    return cls(**known_to(cls, {**asdict(schedule), **told}))


def level_scheduler(cls: type[Any], schedule: Schedule, told: Mapping[str, Any], start: float) -> Any:
    """A scheduler over the discrete levels of a process from ᾱ = `start` on: to diffusers it is a diffusion of other β. The timesteps of a
    diffusion that is cut so are what they were; those of a flow count its levels.

    Raises:
        Incompatible: nothing is left.
    """
    import torch

    bars = [bar for bar in schedule.bars if bar >= start * (1 - 1e-6)]
    if not bars:
        raise Incompatible(
            f"no level of the schedule has as little noise as ᾱ = {start:.3g}", mend="choose branches whose ranges of noise meet"
        )
    betas = [1 - bar / before for before, bar in pairwise([1.0, *bars])]
    if isinstance(schedule, NoiseSchedule):
        spaced = asdict(schedule)
    else:
        spaced = {"timestep_spacing": schedule.timestep_spacing, "steps_offset": 0, "set_alpha_to_one": True}
    own = {key: value for key, value in {**spaced, **told}.items() if key not in PROCESS}
    scheduler = cls(**known_to(cls, {**own, "num_train_timesteps": len(bars), "trained_betas": betas}))
    scheduler.alphas_cumprod = torch.tensor(bars, dtype=torch.float64)  # products of β in single precision lose the last of the noise
    return scheduler


def flow_scheduler(schedule: Schedule, steps: int, told: Mapping[str, Any], start: float, tokens: int | None, device: Any) -> Any:
    """Euler's scheduler along a flow, its levels set: of N steps σ = 1 … 1/N (or as the spacing says), from `start` on, shifted.

    Raises:
        BadOption: another spacing. Incompatible: a setting that moves the first level to more noise than `start`.
    """
    import diffusers
    import numpy as np

    cls: Any = diffusers.FlowMatchEulerDiscreteScheduler
    base = schedule if isinstance(schedule, FlowSchedule) else FlowSchedule()
    own = {**asdict(base), **told}
    scheduler = cls(**known_to(cls, own))
    flow = replace(base, **{field.name: own[field.name] for field in fields(base)})
    if flow.timestep_spacing not in SPACINGS:
        raise BadOption(
            f"a flow has no timestep_spacing {flow.timestep_spacing!r}", where="scheduler_options", mend=f"one of {', '.join(SPACINGS)}"
        )
    mu = flow.mu(flow.base_image_seq_len if tokens is None else tokens) if flow.use_dynamic_shifting else None
    shift = flow.shift if mu is None else math.exp(mu) if flow.time_shift_type == "exponential" else mu
    highest = flow.sigma(start)
    top = highest / (shift - (shift - 1) * highest)  # what the shift makes the highest of
    last = top / steps if flow.timestep_spacing == "trailing" else min(float(scheduler.sigma_min), top)
    scheduler.set_timesteps(sigmas=np.linspace(top, last, steps).tolist(), mu=mu, device=device)
    if float(scheduler.sigmas[0]) > highest + 1e-6:
        raise Incompatible(
            f"its first level is σ = {float(scheduler.sigmas[0]):.4g}, and the branches know no more noise than {highest:.4g}",
            where="scheduler_options",
            mend="leave out shift_terminal and what else moves the first level",
        )
    return scheduler


def known_to(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that a scheduler's class has."""
    parameters = inspect.signature(cls.__init__).parameters
    return {key: value for key, value in values.items() if key in parameters}
