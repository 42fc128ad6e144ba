"""A scheduler of diffusers as a recipe holds it: its name, and those of its settings that differ from what the name makes of a checkpoint.

Everything is checked before weights are loaded, by making the scheduler and setting its timesteps.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..arguments import plain_number, real, shown, steps, whole
from ..errors import BadOption, Incompatible, RealCompoError, UnknownName, nearest
from ..specs import FlowSchedule, NoiseSchedule, PredictionType, Schedule, Traits
from .diffusion import FLOW, SCHEDULERS, TCD_ETA, Solver, common_kind, scheduler_name, solver_name
from .levels import PROCESS as PROCESS
from .spans import unheard, watched

DENSE = 200
"""More steps than this may come so close to each other that a solver divides by nothing."""

_REFUSED = {
    "use_flow_sigmas": (True, "a flow is stepped along by its own levels, whatever the scheduler"),
    "use_dynamic_shifting": (True, "only flow-euler shifts levels"),
    "stochastic_sampling": (True, "its trial step would not look where it goes"),
    "invert_sigmas": (True, "its time runs the other way"),
    "timestep_type": ("continuous", "it tells the networks another time than they were trained on"),
    "variance_type": ("learned", "the networks here learn no variance"),
}
"""Setting → a value that no branch here can follow, and why."""


def read_scheduler(
    scheduler: Any, options: Mapping[str, Any] | None, schedule: Schedule, kind: PredictionType
) -> tuple[str, dict[str, Any]]:
    """Name and settings of what a caller gave as scheduler.

    Args:
        scheduler: a name of ours, a diffusers class name, or a diffusers scheduler object.
        options: settings by diffusers' names, as a recipe holds them.
        schedule, kind: the checkpoint's.

    Raises:
        UnknownName: none of ours, or a setting that it has not.
        Incompatible: it is made for networks that were trained otherwise.
        BadOption: a setting that it cannot take, or that no recipe can hold.
    """
    options = {} if options is None else options
    if not isinstance(options, Mapping):
        raise BadOption(f"scheduler_options cannot be {shown(options)}", mend='write a table: {"timestep_spacing": "trailing"}')
    if isinstance(scheduler, str):
        name, told = solver_name(scheduler, schedule), dict(options)
        _check_names(name, told)
    else:
        if isinstance(scheduler, type) or not hasattr(scheduler, "config"):
            raise UnknownName(
                f"a scheduler cannot be {shown(scheduler)}",
                mend=f"give a name ({', '.join(SCHEDULERS)}), or an object: {'its class' if isinstance(scheduler, type) else 'a class'}"
                ".from_config(pipeline.scheduler.config)",
            )
        if options:
            raise BadOption("scheduler_options beside a scheduler object", mend="give the object its settings, or a name and options")
        name = scheduler_name(scheduler)
        if solver_name(name, schedule) != name:
            raise Incompatible(
                f"a {type(scheduler).__name__} holds settings of a diffusion, and the fidelity branch is none",
                where="scheduler",
                mend=f"give a FlowMatchEulerDiscreteScheduler, or the name {FLOW!r}",
            )
        told = {key: value for key, value in scheduler.config.items() if key in settings_of(name)}
    plain = {key: _plain(key, value) for key, value in told.items()}
    base = made_of(name, schedule, kind)
    different = {key: value for key, value in plain.items() if value != base[key] or isinstance(value, bool) != isinstance(base[key], bool)}
    _check_process(name, different, schedule, kind)
    if name == "tcd" and real("eta", plain.get("eta", TCD_ETA), 0) > 1:
        raise BadOption(f"eta = {plain['eta']!r}", where="scheduler_options", mend="give a number from 0 (no noise) to 1")
    if "solver_order" in different:
        whole("solver_order", different["solver_order"], 1, 3)  # it is also the length of a list that the scheduler makes
    for key, (value, why) in _REFUSED.items():
        if name == FLOW and key == "use_dynamic_shifting":
            continue
        if key in different and (different[key] == value or (key == "variance_type" and different[key] is not None)):
            raise Incompatible(f"{name} with {key} = {different[key]!r}: {why}", where="scheduler", mend=f"leave {key} out")
    different.pop("prediction_type", None)
    return name, different


def settings_of(name: str) -> dict[str, Any]:
    """Setting → default of a scheduler's class; a flow's has a spacing, and TCD's an eta, which are ours."""
    import diffusers

    cls = getattr(diffusers, SCHEDULERS[name][0])
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    own: dict[str, dict[str, Any]] = {FLOW: {"timestep_spacing": FlowSchedule().timestep_spacing}, "tcd": {"eta": TCD_ETA}}
    return {one.name: one.default for one in parameters} | own.get(name, {})


def made_of(name: str, schedule: Schedule, kind: PredictionType) -> dict[str, Any]:
    """All settings of the scheduler that the name alone makes of a checkpoint."""
    known = settings_of(name)
    stated = asdict(schedule) if isinstance(schedule, NoiseSchedule | FlowSchedule) else {}
    if isinstance(schedule, NoiseSchedule) == (name == FLOW):  # of another process: the spacing of a diffusion is none of a flow
        stated = {} if name == FLOW else {"timestep_spacing": schedule.timestep_spacing}
    values = {**known, **stated, **SCHEDULERS[name][1], "prediction_type": kind}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if key in known}


def check_solver(
    name: str,
    options: Mapping[str, Any],
    traits: Sequence[Traits],
    count: Any,
    device: Any = "cpu",
    start: float | None = None,
    size: tuple[int, int] | None = None,
) -> Solver:
    """The solver of a run of branches with these traits, fidelity first, made before weights are loaded so that what it cannot do is said.

    Args:
        start: the ᾱ with the most noise at which it may begin; where the fidelity branch's process does, if None.
        size: (height, width) of the picture in pixels, for a shift that grows with it.

    Raises:
        BadOption: steps or settings that the scheduler cannot do.
    """
    schedule, kinds = traits[0].schedule, [one.prediction_type for one in traits]
    count, trained = steps(count), schedule.num_train_timesteps
    where = "num_inference_steps" if not options else "num_inference_steps or scheduler_options"
    said = f"{name} cannot do {count} steps on {trained} trained timesteps"
    mend = f"take 1 to {trained} steps; 50 suit most schedulers" + (", and check scheduler_options" if options else "")
    if count > trained:
        raise BadOption(f"num_inference_steps = {count} is out of bounds: {said}", mend=mend)
    kind = common_kind(kinds, name == FLOW, zero=start == 0)
    more: dict[str, Any] = {"start": start, "tokens": None if size is None else _tokens(traits[0], size)}
    try:
        solver = Solver(name, schedule, count, kind, dict(options), device, **more)
        with watched(unheard):
            finite = not (options or count > DENSE) or _finite(Solver(name, schedule, count, kind, dict(options), **more))
    except RealCompoError:
        raise
    except Exception as error:  # diffusers raises many kinds
        reason = str(error).strip().splitlines()
        raise BadOption(f"{said} ({reason[0][:200] if reason else type(error).__name__})", where=where, mend=mend) from error
    if not _sound(solver, trained):
        raise BadOption(f"{said}: with its spacing they fall beside them or on one another", where=where, mend=mend)
    if not finite:
        raise BadOption(f"{said}: its numbers overflow", where=where, mend="try final_sigmas_type = 'sigma_min', or a lower solver_order")
    return solver


def _finite(solver: Solver) -> bool:
    """Whether its steps lead from noise to numbers, on a latent of one pixel whose noise is always right; uses the solver up."""
    import torch

    clean = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
    noise = torch.tensor([0.3, -1.2], dtype=torch.float64).expand_as(clean)
    generators = [torch.Generator().manual_seed(0)]
    x = solver.start(noise)
    for step in solver.steps:
        a, s = math.sqrt(step.alpha_bar), math.sqrt(1 - step.alpha_bar)
        right = {"epsilon": noise, "v_prediction": a * noise - s * clean, "flow_prediction": noise - clean}
        x = solver.step(x, right[solver.kind], step, None, generators)
    return bool(x.isfinite().all())


def _sound(solver: Solver, trained: int) -> bool:
    """Whether every step is at a trained timestep and leads on to less noise."""
    grid = isinstance(solver.schedule, NoiseSchedule)
    for step in solver.steps:
        if not ((not grid or 0 <= step.t <= trained - 1) and 0 <= step.alpha_bar <= 1 and 0 <= step.alpha_bar_prev <= 1):
            return False
        level = step.index == step.count - 1 and step.alpha_bar_prev == step.alpha_bar  # final_sigmas_type "sigma_min" ends so
        if solver.name not in ("ddim", "pndm") and not (step.alpha_bar_prev > step.alpha_bar or level):
            return False
    return bool(solver.steps) and (solver.name == FLOW or math.isfinite(float(solver.scheduler.init_noise_sigma)))


def _tokens(traits: Traits, size: tuple[int, int]) -> int:
    """How many tokens a flow counts in a picture."""
    side = traits.latent.downscale * (traits.schedule.patch if isinstance(traits.schedule, FlowSchedule) else 1)
    return (size[0] // side) * (size[1] // side)


def _check_names(name: str, options: Mapping[str, Any]) -> None:
    known = settings_of(name)
    for key in options:
        if key not in known:
            raise UnknownName(f"{name} has no setting {key!r}", where="scheduler_options", mend=nearest(key, known))


def _plain(key: str, value: Any) -> Any:
    """A setting as plain data.

    Raises:
        BadOption: an object, or a number that is not finite, where it matters.
    """
    value = value.tolist() if hasattr(value, "tolist") else plain_number(value)
    if isinstance(value, (list, tuple)):
        return [_plain(key, one) for one in value]
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and not math.isnan(value)):
        return value
    raise BadOption(f"{key} = {shown(value)} cannot stand in a recipe", where="scheduler", mend=f"leave {key} as it is by default")


def _check_process(name: str, options: Mapping[str, Any], schedule: Schedule, kind: PredictionType) -> None:
    """Raise Incompatible where a scheduler is made for another forward process, or another prediction, than the checkpoint's."""
    made = made_of(name, schedule, kind)
    copy = "make it of the checkpoint's own: Class.from_config(pipeline.scheduler.config, …); or leave them out of scheduler_options"
    told = options.get("prediction_type", kind)
    if told != kind:
        raise Incompatible(
            f"the scheduler's prediction_type is {told!r}, the checkpoint predicts {kind!r}",
            where="scheduler",
            mend=f"{copy}. If the checkpoint's files are wrong, set its option prediction_type",
        )
    wrong = [key for key in PROCESS if key in options and options[key] != made.get(key)]
    zero = isinstance(schedule, NoiseSchedule) and schedule.rescale_betas_zero_snr
    missing = zero and name != FLOW and "rescale_betas_zero_snr" not in made
    if missing:
        raise Incompatible(
            f"{name} has no zero terminal SNR (rescale_betas_zero_snr), which the checkpoint was trained with",
            where="scheduler",
            mend="use ddim, euler, dpm++-2m or unipc",
        )
    if not wrong or (name != FLOW and _same_noise(name, {**made, **options}, made)):
        return
    pairs = ", ".join(f"{key} {_brief(options[key])} instead of {_brief(made.get(key))}" for key in wrong)
    betas = "" if any("beta" in key for key in wrong) else " (other betas)"
    raise Incompatible(
        f"the scheduler's noise is not that which the checkpoint was trained on: {pairs}{betas}", where="scheduler", mend=copy
    )


def _same_noise(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two ways to say it are the same ᾱ: trained_betas may spell out a schedule that has a name."""
    import diffusers
    import torch

    trained = other["num_train_timesteps"]
    if one["num_train_timesteps"] != trained or len(one.get("trained_betas") or [0] * trained) != trained:
        return False
    keys = [key for key in PROCESS if key in settings_of(name)]
    cls = getattr(diffusers, SCHEDULERS[name][0])
    try:
        bars = [cls(**{key: values[key] for key in keys}).alphas_cumprod for values in (one, other)]
    except Exception:  # a schedule of no name, numbers of another type
        return False
    return bool(torch.allclose(bars[0], bars[1], rtol=1e-4, atol=1e-7))


def _brief(value: Any) -> str:
    return f"{len(value)} numbers" if isinstance(value, list) else repr(value)
