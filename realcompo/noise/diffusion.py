"""Conversions between what networks predict, the first-order transition, and the solvers of the real step.

Everything is written in the variance-preserving scale: z_t = √ᾱ x₀ + √(1−ᾱ) ε. Branches and probe never see another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import Incompatible, UnknownName, nearest
from ..interfaces import Step
from ..processes import SLACK
from ..specs import FlowSchedule, NoiseSchedule, PredictionType, Schedule
from .levels import flow_scheduler, level_scheduler, trained_scheduler
from .spans import spanned

# -- what networks predict ---------------------------------------------------------------------------------------------------


def _of_v(kind: PredictionType, a: float, s: float) -> tuple[float, float]:
    """(c, d) of prediction = c·z + d·v, where a = √ᾱ, s = √(1−ᾱ): z = a x₀ + s ε and v = a ε − s x₀ are a rotation of x₀ and ε, so that
    ε = s z + a v, x₀ = a z − s v, and a flow's velocity ε − x₀ = (s − a) z + (a + s) v."""
    return {"epsilon": (s, a), "v_prediction": (0.0, 1.0), "sample": (a, -s), "flow_prediction": (s - a, a + s)}[kind]


def convert(prediction: Tensor, kind: PredictionType, to: PredictionType, z: Tensor, alpha_bar: float) -> Tensor:
    """A prediction at z (any shape) of one kind as another: v = √ᾱ ε − √(1−ᾱ) x₀. From v and the velocity of a flow nothing is divided by
    less than 1: they are finite at both ends.

    Raises:
        Incompatible: ε at ᾱ = 0, where it says nothing about x₀; x₀ at ᾱ = 1, where it says nothing about ε.
    """
    if kind == to:
        return prediction
    a, s = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    (c, d), (e, f) = _of_v(kind, a, s), _of_v(to, a, s)
    if d == 0:
        what = (
            "noise prediction says nothing at zero terminal SNR"
            if kind == "epsilon"
            else "picture says nothing of noise where there is none"
        )
        raise Incompatible(
            f"a {what}",
            mend="use only v-prediction branches on such a schedule, or flows",
        )
    v = prediction if kind == "v_prediction" else (prediction - c * z) / d
    return v if to == "v_prediction" else f * v + e * z


def common_kind(kinds: Sequence[PredictionType], flow: bool = False, zero: bool = False) -> PredictionType:
    """The kind that a run blends in: ε where any branch predicts it, else v (exact at ᾱ = 0). A blend whose weights sum to 1 is the same in
    any kind wherever ᾱ > 0.

    Args:
        flow: the real step takes velocities; then a run of flows alone blends those.
        zero: it begins at ᾱ = 0, where a blend of ε says nothing.
    """
    if flow and set(kinds) == {"flow_prediction"}:
        return "flow_prediction"
    return "epsilon" if "epsilon" in kinds and not zero else "v_prediction"


@dataclass(frozen=True)
class Transition:
    """The pure first-order (DDIM, Eq. 12) transition z_prev = a·z + b·prediction: x₀ and ε stay, ᾱ becomes ᾱ_prev.

    For ε: a = √(ᾱ_prev/ᾱ), b = √(1−ᾱ_prev) − √(ᾱ_prev(1−ᾱ)/ᾱ). For v and for the velocity of a flow nothing is divided by less than 1:
    they are finite at ᾱ = 0. Euler's step along a flow, x + (σ_prev − σ) u, is this one in the flow's own scale.
    """

    a: float
    b: float

    @classmethod
    def of(cls, step: Step, kind: PredictionType = "epsilon") -> Transition:
        now, before = step.alpha_bar, step.alpha_bar_prev
        if kind == "v_prediction":
            return cls(
                a=math.sqrt(before * now) + math.sqrt((1 - before) * (1 - now)),
                b=math.sqrt((1 - before) * now) - math.sqrt(before * (1 - now)),
            )
        a, s, a_prev, s_prev = math.sqrt(now), math.sqrt(1 - now), math.sqrt(before), math.sqrt(1 - before)
        if kind == "flow_prediction":
            return cls(a=(a_prev + s_prev) / (a + s), b=(a * s_prev - a_prev * s) / (a + s))
        if kind == "sample":
            if s == 0:
                raise Incompatible("ᾱ = 1 leaves no noise to step from", mend="end the run at the step before")
            return cls(a=s_prev / s, b=a_prev - a * s_prev / s)
        if now == 0:
            raise Incompatible(
                "ᾱ = 0 with noise prediction",
                mend="use v-prediction branches on a zero-terminal-SNR schedule",
            )
        return cls(a=math.sqrt(before / now), b=math.sqrt(1 - before) - math.sqrt(before * (1 - now) / now))

    def __call__(self, z: Tensor, prediction: Tensor) -> Tensor:
        return self.a * z + self.b * prediction


# -- the real step -----------------------------------------------------------------------------------------------------------

FLOW = "flow-euler"
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "dpm++-2m": ("DPMSolverMultistepScheduler", {}),
    "dpm++-2m-karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
    FLOW: ("FlowMatchEulerDiscreteScheduler", {}),
}
"""Name → diffusers class and the settings that make it."""

FEW = ("lcm", "tcd")
"""For networks that were distilled to draw in a few steps: each step jumps to clean latents, and adds noise of each picture's own."""

GRADUAL = tuple(name for name in SCHEDULERS if name not in FEW)
"""For any network: many small steps approach one picture."""

TCD_ETA = 0.3
"""Of ``tcd``, where a step jumps beyond the next level by this share of its timestep, and draws noise to come back; diffusers' default.
There it is an argument of the scheduler's step, here a setting."""

_SIGMA_SCALED = ("euler", "euler-ancestral")


def scheduler_name(scheduler: Any) -> str:
    """The name of ours that a scheduler means: a name, a diffusers class name, or a diffusers scheduler object.

    Raises:
        UnknownName: none of ours, with the list.
    """
    if isinstance(scheduler, str):
        if scheduler in SCHEDULERS:
            return scheduler
        by_class = {cls: name for name, (cls, settings) in reversed(SCHEDULERS.items())}
        by_class["DPMSolverMultistepScheduler"] = "dpm++-2m"
        if scheduler in by_class:
            return by_class[scheduler]
        raise UnknownName(f"no scheduler is called {scheduler!r}", mend=nearest(scheduler, SCHEDULERS))
    name = scheduler_name(type(scheduler).__name__)
    if name == "dpm++-2m" and scheduler.config.get("use_karras_sigmas"):
        return "dpm++-2m-karras"
    return name


def solver_name(name: str, schedule: Schedule) -> str:
    """The scheduler that a name means over a process: DDIM along a flow is Euler's method along it, over the levels of its shift.

    Raises:
        Incompatible: PNDM, LCM and TCD, which count the timesteps of a diffusion.
    """
    name = scheduler_name(name)
    if not isinstance(schedule, NoiseSchedule):
        if name in ("pndm", *FEW):
            raise Incompatible(
                f"{name} steps over a diffusion's trained timesteps, and this is none", where="scheduler", mend=f"use {FLOW}"
            )
        return FLOW if name == "ddim" else name
    return name


class Solver:
    """The real step of one run: a diffusers scheduler of its own, seen in the variance-preserving scale.

    Its steps are noise levels. Where the schedule is a diffusion's and the run begins where it does, they are that scheduler's own, bit for
    bit; else (a flow, or a run that begins at less noise) the scheduler is made of the levels that are left. DDIM over the levels of a
    flow is Euler's method along it, and is called by that name.

    Args:
        name: one of `SCHEDULERS`.
        schedule: the forward process that steps are counted in (the fidelity branch's), and the spacing.
        steps: num_inference_steps.
        kind: what the blend predicts (see `common_kind`).
        config: more of the scheduler's config, e.g. of a scheduler object that the user holds.
        device: of the latents.
        start: the ᾱ with the most noise at which the run may begin; where the schedule does, if None.
        tokens: of a picture, for a shift that grows with them.

    Attributes:
        steps: of the run, in the timesteps of `schedule`.
        cut: they are not those of the scheduler that the schedule names.
        begin: steps at the front that are left out (see beginning.py); `steps` are the others.
    """

    begin: int = 0

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        steps: int,
        kind: PredictionType = "epsilon",
        config: dict[str, Any] | None = None,
        device: Any = "cpu",
        start: float | None = None,
        tokens: int | None = None,
    ) -> None:
        import diffusers

        self.name, self.schedule, self.kind = solver_name(name, schedule), schedule, kind
        cls_name, settings = SCHEDULERS[self.name]
        told = {**settings, **(config or {}), "prediction_type": kind}
        self.eta = float(told.pop("eta", TCD_ETA)) if self.name == "tcd" else None
        self.cut = not isinstance(schedule, NoiseSchedule) or (start is not None and start > schedule.range[0] * (1 + SLACK))
        cls: Any = getattr(diffusers, cls_name)
        if self.name == FLOW:
            self.scheduler = flow_scheduler(schedule, steps, told, schedule.range[0] if start is None else start, tokens, device)
        elif isinstance(schedule, NoiseSchedule) and not self.cut:
            self.scheduler = trained_scheduler(cls, schedule, told)
        else:
            self.scheduler = level_scheduler(cls, schedule, told, start or 0.0)
        if self.name != FLOW:
            self.scheduler.set_timesteps(steps, device=device)
        if self.cut and hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(0)  # loud levels of a flow may share a timestep of its scheduler: it must not look for one
        self.steps = self._steps(steps)
        if self.steps and self.steps[0].alpha_bar == 0 and kind == "epsilon":
            raise Incompatible(
                "the schedule has zero terminal SNR but the blend is of noise predictions",
                mend="use only v-prediction branches, or a schedule without rescale_betas_zero_snr",
            )

    @property
    def config(self) -> dict[str, Any]:
        """What decides the real step, for the recipe's fingerprint."""
        told = {k: v for k, v in self.scheduler.config.items() if not k.startswith("_")}
        if self.cut and self.name != FLOW:  # a thousand numbers, which process and start tell
            told["trained_betas"] = f"{self.schedule.process} from {self.steps[0].alpha_bar!r}"
        return {"class": type(self.scheduler).__name__, **told, **({} if self.eta is None else {"eta": self.eta})}

    @property
    def draws(self) -> bool:
        """Whether its step adds noise of its own, which must come from each picture's generator."""
        return self.name in ("euler-ancestral", *FEW) or "sde" in str(self.scheduler.config.get("algorithm_type", ""))

    def _steps(self, asked: int) -> tuple[Step, ...]:
        timesteps = [_number(t) for t in self.scheduler.timesteps]
        count = len(timesteps)
        if self.name in ("ddim", "pndm"):
            stride = self.scheduler.config.num_train_timesteps // asked
            alphas = self.scheduler.alphas_cumprod
            final = float(self.scheduler.final_alpha_cumprod)
            return tuple(
                Step(
                    i,
                    count,
                    t,
                    t - stride,
                    float(alphas[int(t)]),
                    float(alphas[int(t - stride)]) if t >= stride else final,
                )
                for i, t in enumerate(timesteps)
            )
        if self.name in FEW:
            bars = [float(self.scheduler.alphas_cumprod[int(t)]) for t in timesteps]
            # TCD ends at timestep 0, whose little noise stays; LCM with the clean latents that it expects
            last = float(self.scheduler.alphas_cumprod[0]) if self.name == "tcd" else 1.0
            return tuple(
                Step(i, count, t, after, bar, before)
                for i, (t, after, bar, before) in enumerate(zip(timesteps, [*timesteps[1:], 0.0], bars, [*bars[1:], last], strict=True))
            )
        level = FlowSchedule.level if self.name == FLOW else lambda sigma: 1 / (1 + sigma**2)
        bars = [level(float(sigma)) for sigma in self.scheduler.sigmas]
        after = [*timesteps[1:], 0.0]
        steps = [Step(i, count, t, after[i], bars[i], bars[i + 1]) for i, t in enumerate(timesteps)]
        if self.name != FLOW and isinstance(self.schedule, NoiseSchedule):
            return tuple(steps)
        return tuple(replace(step.seen_by(self.schedule, hold=True), alpha_bar=step.alpha_bar) for step in steps)

    def start(self, noise: Tensor) -> Tensor:
        """Unit noise to the latents of the first step, in the solver's own scale."""
        x: Tensor = noise if self.name == FLOW else noise * self.scheduler.init_noise_sigma
        return x

    def view(self, x: Tensor, step: Step) -> Tensor:
        """The solver's latents in the variance-preserving scale."""
        return math.sqrt(step.alpha_bar) * x if self.name in _SIGMA_SCALED else x

    @spanned("solver")
    def step(
        self,
        x: Tensor,
        prediction: Tensor,
        step: Step,
        shift: Tensor | None = None,
        generators: Sequence[torch.Generator] = (),
    ) -> Tensor:
        """The real step: from x at `step` to the next. `shift` is δ in the variance-preserving scale."""
        if self.name == FLOW:
            return Transition.of(step, self.kind)(x if shift is None else x + shift, prediction)
        if shift is not None:
            self._rebase(shift, step)
            x = x + (shift / math.sqrt(step.alpha_bar) if self.name in _SIGMA_SCALED else shift)
        self._scale(x, step)
        extra: dict[str, Any] = {"generator": list(generators)} if self.draws and generators else {}
        if self.eta is not None:
            extra["eta"] = self.eta
        timestep = self.scheduler.timesteps[self.begin + step.index]
        result: Tensor = self.scheduler.step(prediction, timestep, x, return_dict=False, **extra)[0]
        return result

    def _rebase(self, shift: Tensor, step: Step) -> None:
        """Let what the solver remembers of the latents take part in a shift δ (measured: without it, PNDM's second call drops δ whole, and
        UniPC's corrector, which starts from the latents before, takes back most of it).

        PNDM's second call starts from the latents of its first. UniPC corrects x_now = (s_now/s_before)·x_before + …, with s = √(1−ᾱ)
        where it predicts x₀ and √ᾱ where it predicts noise: x_before moves by (s_before/s_now)·δ, and the corrected latents by δ.
        """
        if self.name == "pndm" and self.scheduler.cur_sample is not None:
            self.scheduler.cur_sample = self.scheduler.cur_sample + shift
        if self.name == "unipc" and self.scheduler.last_sample is not None and step.index > 0:
            before, now = self.steps[step.index - 1].alpha_bar, step.alpha_bar
            if self.scheduler.config.predict_x0:
                before, now = 1 - before, 1 - now
            self.scheduler.last_sample = self.scheduler.last_sample + math.sqrt(before / now) * shift

    def _scale(self, x: Tensor, step: Step) -> None:
        """σ-scaled schedulers warn, and lose their place, unless they were asked to scale the input first."""
        if self.name in _SIGMA_SCALED:
            self.scheduler.scale_model_input(x, self.scheduler.timesteps[self.begin + step.index])


def _number(t: Tensor) -> float:
    value = t.item()
    return int(value) if float(value).is_integer() else float(value)
