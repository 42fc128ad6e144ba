"""The forward process, conversions between what networks predict, and the solvers of the real step.

Everything is written in the variance-preserving scale: z_t = √ᾱ x₀ + √(1−ᾱ) ε. Branches and probe never see another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import Incompatible, UnknownName, nearest
from ..interfaces import Step
from ..specs import NoiseSchedule, PredictionType

# -- what networks predict ---------------------------------------------------------------------------------------------------


def convert(prediction: Tensor, kind: PredictionType, to: PredictionType, z: Tensor, alpha_bar: float) -> Tensor:
    """A prediction at z (any shape) of one kind as the other: v = √ᾱ ε − √(1−ᾱ) x₀.

    Raises:
        Incompatible: ε → v at ᾱ = 0, where ε says nothing about x₀.
    """
    if kind == to:
        return prediction
    a, s = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    if to == "epsilon":  # ε = √ᾱ v + √(1−ᾱ) z
        return a * prediction + s * z
    if a == 0:
        raise Incompatible(
            "a noise prediction says nothing at zero terminal SNR",
            mend="use only v-prediction branches on such a schedule",
        )
    return (prediction - s * z) / a


def clean_latents(prediction: Tensor, kind: PredictionType, z: Tensor, alpha_bar: float) -> Tensor:
    """x̂₀, the clean latents that a prediction at z expects: (z − √(1−ᾱ) ε) / √ᾱ, or √ᾱ z − √(1−ᾱ) v."""
    a, s = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    return (z - s * prediction) / a if kind == "epsilon" else a * z - s * prediction


def common_kind(kinds: Sequence[PredictionType]) -> PredictionType:
    """The kind that a run blends in: v only where every branch predicts v (exact at ᾱ = 0), else ε. A blend whose weights sum to 1
    is the same in either wherever ᾱ > 0."""
    return "v_prediction" if set(kinds) == {"v_prediction"} else "epsilon"


@dataclass(frozen=True)
class Transition:
    """The pure first-order (DDIM, Eq. 12) transition z_prev = a·z + b·prediction.

    For ε: a = √(ᾱ_prev/ᾱ), b = √(1−ᾱ_prev) − √(ᾱ_prev(1−ᾱ)/ᾱ). For v nothing is divided: it is finite at ᾱ = 0.
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
        if now == 0:
            raise Incompatible(
                "ᾱ = 0 with noise prediction",
                mend="use v-prediction branches on a zero-terminal-SNR schedule",
            )
        return cls(a=math.sqrt(before / now), b=math.sqrt(1 - before) - math.sqrt(before * (1 - now) / now))

    def __call__(self, z: Tensor, prediction: Tensor) -> Tensor:
        return self.a * z + self.b * prediction


# -- the real step -----------------------------------------------------------------------------------------------------------

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "dpm++-2m": ("DPMSolverMultistepScheduler", {}),
    "dpm++-2m-karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
"""Name → diffusers class and the settings that make it."""

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


class Solver:
    """The real step of one run: a diffusers scheduler of its own, seen in the variance-preserving scale.

    Args:
        name: one of `SCHEDULERS`.
        schedule: the branches' forward process and the spacing.
        steps: num_inference_steps.
        kind: what the blend predicts (see `common_kind`).
        config: more of the scheduler's config, e.g. of a scheduler object that the user holds.
        device: of the latents.
    """

    def __init__(
        self,
        name: str,
        schedule: NoiseSchedule,
        steps: int,
        kind: PredictionType = "epsilon",
        config: dict[str, Any] | None = None,
        device: Any = "cpu",
    ) -> None:
        import diffusers

        self.name = scheduler_name(name)
        cls_name, settings = SCHEDULERS[self.name]
        cls = getattr(diffusers, cls_name)
        values = {**asdict(schedule), **settings, **(config or {}), "prediction_type": kind}
        known = _parameters(cls)
        self.scheduler = cls(**{key: value for key, value in values.items() if key in known})
        self.scheduler.set_timesteps(steps, device=device)
        self.kind: PredictionType = kind
        self.steps = self._steps(steps)
        if self.steps and self.steps[0].alpha_bar == 0 and kind == "epsilon":
            raise Incompatible(
                "the schedule has zero terminal SNR but the blend is of noise predictions",
                mend="use only v-prediction branches, or a schedule without rescale_betas_zero_snr",
            )

    @property
    def config(self) -> dict[str, Any]:
        """What decides the real step, for the recipe's fingerprint."""
        return {
            "class": type(self.scheduler).__name__,
            **{k: v for k, v in self.scheduler.config.items() if not k.startswith("_")},
        }

    @property
    def draws(self) -> bool:
        """Whether its step adds noise of its own, which must come from each picture's generator."""
        return self.name == "euler-ancestral" or "sde" in str(self.scheduler.config.get("algorithm_type", ""))

    def _steps(self, steps: int) -> tuple[Step, ...]:
        timesteps = [_number(t) for t in self.scheduler.timesteps]
        count = len(timesteps)
        if self.name in ("ddim", "pndm"):
            stride = self.scheduler.config.num_train_timesteps // steps
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
        bars = [1 / (1 + float(sigma) ** 2) for sigma in self.scheduler.sigmas]
        after = [*timesteps[1:], 0.0]
        return tuple(Step(i, count, t, after[i], bars[i], bars[i + 1]) for i, t in enumerate(timesteps))

    def start(self, noise: Tensor) -> Tensor:
        """Unit noise to the latents of the first step, in the solver's own scale."""
        x: Tensor = noise * self.scheduler.init_noise_sigma
        return x

    def view(self, x: Tensor, step: Step) -> Tensor:
        """The solver's latents in the variance-preserving scale."""
        return math.sqrt(step.alpha_bar) * x if self.name in _SIGMA_SCALED else x

    def step(
        self,
        x: Tensor,
        prediction: Tensor,
        step: Step,
        shift: Tensor | None = None,
        generators: Sequence[torch.Generator] = (),
    ) -> Tensor:
        """The real step: from x at `step` to the next. `shift` is δ in the variance-preserving scale."""
        if shift is not None:
            self._rebase(shift, step)
            x = x + (shift / math.sqrt(step.alpha_bar) if self.name in _SIGMA_SCALED else shift)
        self._scale(x, step)
        extra = {"generator": list(generators)} if self.draws and generators else {}
        timestep = self.scheduler.timesteps[step.index]
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
            self.scheduler.scale_model_input(x, self.scheduler.timesteps[step.index])


def _parameters(cls: Callable[..., Any]) -> set[str]:
    import inspect

    return set(inspect.signature(cls.__init__).parameters)


def _number(t: Tensor) -> float:
    value = t.item()
    return int(value) if float(value).is_integer() else float(value)
