"""Forward processes as data: which noise levels a network knows, and which timestep and scale stand for each.

A level is ᾱ of the variance-preserving scale, z = √ᾱ x₀ + √(1−ᾱ) ε: the one measure of noise on which all processes agree, however they
count their timesteps. Branches of different processes share a run by it: each maps the run's level to a timestep of its own.
No torch here: specs are made of these.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import accumulate
from typing import Any, Literal

from .errors import Incompatible

PredictionType = Literal["epsilon", "v_prediction", "sample", "flow_prediction"]
"""What a network predicts: ε; v = √ᾱ ε − √(1−ᾱ) x₀; x₀; the velocity of a rectified flow u = ε − x₀."""
PREDICTIONS: tuple[PredictionType, ...] = ("epsilon", "v_prediction", "sample", "flow_prediction")


class Schedule(ABC):
    """A forward process. Its classes are frozen dataclasses, whose other fields say how a scheduler spaces its steps."""

    num_train_timesteps: int
    timestep_spacing: str

    @property
    @abstractmethod
    def process(self) -> tuple[object, ...]:
        """What tells it from others: two branches with equal processes count their timesteps alike."""

    @property
    @abstractmethod
    def range(self) -> tuple[float, float]:
        """(lowest, highest) ᾱ that its networks were trained at: from the most noise to the least."""

    @abstractmethod
    def timestep(self, alpha_bar: float) -> float:
        """The network's timestep of a level inside `range`."""

    def scale(self, alpha_bar: float) -> float:
        """The network's latents are this times z of the variance-preserving scale."""
        return 1.0

    @property
    @abstractmethod
    def bars(self) -> tuple[float, ...]:
        """ᾱ of its discrete levels, falling: what diffusers' schedulers for diffusion are made of."""

    def holds(self, alpha_bar: float) -> bool:
        """Whether a level lies inside `range`, but for rounding (a thousandth of the ratio of signal to noise)."""
        low, high = self.range
        return low * (1 - SLACK) <= alpha_bar and (1 - high) * (1 - SLACK) <= 1 - alpha_bar + ROUNDING

    def nearest(self, alpha_bar: float) -> float:
        """The level inside `range` that is nearest to one."""
        low, high = self.range
        return min(max(alpha_bar, low), high)


SLACK, ROUNDING = 1e-3, 1e-7


@dataclass(frozen=True)
class NoiseSchedule(Schedule):
    """β of a discrete diffusion, and how a scheduler spaces its timesteps (names and defaults as in diffusers' SD configs).

    Attributes:
        fractional: the network takes timesteps between the trained ones, as those do that embed them by sines.
    """

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    rescale_betas_zero_snr: bool = False
    timestep_spacing: str = "leading"
    steps_offset: int = 1
    set_alpha_to_one: bool = False
    trained_betas: tuple[float, ...] | None = None
    fractional: bool = True

    @property
    def process(self) -> tuple[object, ...]:
        """The forward process, not the spacing."""
        return (
            self.num_train_timesteps,
            self.beta_start,
            self.beta_end,
            self.beta_schedule,
            self.rescale_betas_zero_snr,
            *(() if self.trained_betas is None else (self.trained_betas,)),
        )

    @property
    def bars(self) -> tuple[float, ...]:
        """ᾱ_t, t = 0 … T − 1."""
        return _bars(
            self.num_train_timesteps, self.beta_start, self.beta_end, self.beta_schedule, self.rescale_betas_zero_snr, self.trained_betas
        )

    @property
    def range(self) -> tuple[float, float]:
        return self.bars[-1], self.bars[0]

    def timestep(self, alpha_bar: float) -> float:
        """Between two trained timesteps, linear in log(noise/signal) as in diffusers' schedulers over σ, or the nearer of the two where
        the network takes whole ones only (`fractional` is False); 0 or T − 1 beyond them."""
        bars = self.bars
        after = bisect_left(bars, -alpha_bar, key=lambda bar: -bar)
        if after == 0 or after == len(bars):
            return min(after, len(bars) - 1)
        ends = bars[after - 1], bars[after]
        low, here, high = (_log_noise(bar) if ends[1] > 0 else -math.sqrt(bar) for bar in (ends[0], alpha_bar, ends[1]))
        t = after - 1 + (here - low) / (high - low)
        whole = round(t)
        return whole if not self.fractional or abs(t - whole) < WHOLE else t


WHOLE = 1e-3
"""Nearer to a whole timestep than this, it is that timestep: levels are kept in single precision."""


@dataclass(frozen=True)
class FlowSchedule(Schedule):
    """A rectified flow: x_σ = (1−σ) x₀ + σ ε, told as the timestep σ·T; so ᾱ = (1−σ)² / ((1−σ)² + σ²), and x_σ = z / (√ᾱ + √(1−ᾱ)).

    Attributes:
        num_train_timesteps: T.
        shift: s of the levels σ' = s·σ / (1 + (s−1)·σ) that a scheduler visits; the process is the same whatever it is.
        use_dynamic_shifting, base_shift, max_shift, base_image_seq_len, max_image_seq_len, time_shift_type: the shift grows with the
            picture, as in the config of diffusers' FlowMatchEulerDiscreteScheduler.
        shift_terminal: σ of the last step, likewise.
        patch: latent pixels along a side of one of the network's tokens, which dynamic shifting counts.
        timestep_spacing: unshifted σ of N steps: "trailing" is 1 … 1/N, "linspace" ends near 0 as diffusers' set_timesteps(N) does.
    """

    num_train_timesteps: int = 1000
    shift: float = 1.0
    use_dynamic_shifting: bool = False
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_image_seq_len: int = 256
    max_image_seq_len: int = 4096
    time_shift_type: str = "exponential"
    shift_terminal: float | None = None
    patch: int = 2
    timestep_spacing: str = "trailing"

    @property
    def process(self) -> tuple[object, ...]:
        """All flows are one process, but for the number that their timesteps are counted to."""
        return ("flow", self.num_train_timesteps)

    @property
    def range(self) -> tuple[float, float]:
        """From pure noise to the picture: σ is any number."""
        return 0.0, 1.0

    @staticmethod
    def level(sigma: float) -> float:
        """ᾱ of σ."""
        return (1 - sigma) ** 2 / ((1 - sigma) ** 2 + sigma**2)

    @staticmethod
    def sigma(alpha_bar: float) -> float:
        """σ of ᾱ."""
        a, s = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        return s / (a + s)

    def timestep(self, alpha_bar: float) -> float:
        return self.sigma(alpha_bar) * self.num_train_timesteps

    def scale(self, alpha_bar: float) -> float:
        return 1 / (math.sqrt(alpha_bar) + math.sqrt(1 - alpha_bar))

    @property
    def bars(self) -> tuple[float, ...]:
        """Of the shifted σ of 1/T, 2/T … (T−1)/T: σ = 1, where nothing is left of the picture, is no level that every solver can leave."""
        count, shift = self.num_train_timesteps, self.shift
        return tuple(self.level(shift * (i / count) / (1 + (shift - 1) * (i / count))) for i in range(1, count))

    def mu(self, tokens: int) -> float:
        """μ of dynamic shifting for a picture of that many tokens: linear in them between the two lengths of the config."""
        slope = (self.max_shift - self.base_shift) / (self.max_image_seq_len - self.base_image_seq_len)
        return self.base_shift + slope * (tokens - self.base_image_seq_len)


@dataclass(frozen=True)
class SigmaSchedule(Schedule):
    """EDM: x = x₀ + σ ε, told as ¼ log σ; so ᾱ = 1 / (1 + σ²), and x = z / √ᾱ. What the network is scaled by inside is the plugin's.

    Attributes:
        sigma_min, sigma_max, rho: of Karras's levels σ_i = (σ_max^(1/ρ) + i/(T−1)·(σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ.
        num_train_timesteps: T, into how many levels they are divided for a scheduler.
        timestep_spacing: of a scheduler.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    num_train_timesteps: int = 1000
    timestep_spacing: str = "linspace"

    @property
    def process(self) -> tuple[object, ...]:
        return ("sigma", self.sigma_min, self.sigma_max)

    @property
    def range(self) -> tuple[float, float]:
        return 1 / (1 + self.sigma_max**2), 1 / (1 + self.sigma_min**2)

    def timestep(self, alpha_bar: float) -> float:
        return _log_noise(alpha_bar) / 4

    def scale(self, alpha_bar: float) -> float:
        return 1 / math.sqrt(alpha_bar)

    @property
    def bars(self) -> tuple[float, ...]:
        low, high, last = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho), self.num_train_timesteps - 1
        return tuple(1 / (1 + (low + i / last * (high - low)) ** (2 * self.rho)) for i in range(last + 1))


def read_process(config: Mapping[str, Any]) -> tuple[Schedule, str]:
    """A checkpoint's process, and what its network predicts, from the config of its diffusers scheduler. Older configs leave out what was
    the default then, which are `NoiseSchedule`'s now; the second is as the config says it, which may be none of `PREDICTIONS`."""
    name, said = str(config.get("_class_name", "")), config.get("prediction_type")
    flows = name.startswith("FlowMatch") or said == "flow_prediction" or config.get("use_flow_sigmas")
    told = {key: value for key, value in config.items() if value is not None}
    if flows and "flow_shift" in told:
        told.setdefault("shift", told["flow_shift"])
    cls: type[NoiseSchedule] | type[FlowSchedule] = FlowSchedule if flows else NoiseSchedule
    known = {key: told[key] for key in (field.name for field in fields(cls)) if key in told}
    if flows:
        known.pop("timestep_spacing", None)  # of an integer grid, which a flow has not
    if "trained_betas" in known:
        known["trained_betas"] = tuple(map(float, known["trained_betas"]))
    return cls(**known), "flow_prediction" if flows else str(said or "epsilon")


def _log_noise(alpha_bar: float) -> float:
    """log σ of σ² = (1−ᾱ)/ᾱ."""
    return 0.5 * (math.log1p(-alpha_bar) - math.log(alpha_bar))


@lru_cache(maxsize=32)
def _bars(count: int, start: float, end: float, kind: str, zero: bool, trained: tuple[float, ...] | None) -> tuple[float, ...]:
    """∏ (1 − β) as diffusers' schedulers define it, in double precision."""
    share = [i / max(count - 1, 1) for i in range(count)]
    if trained is not None:
        betas = list(trained)
    elif kind == "linear":
        betas = [start + x * (end - start) for x in share]
    elif kind == "scaled_linear":
        betas = [(math.sqrt(start) + x * (math.sqrt(end) - math.sqrt(start))) ** 2 for x in share]
    elif kind == "squaredcos_cap_v2":
        betas = [min(1 - _cosine((i + 1) / count) / _cosine(i / count), 0.999) for i in range(count)]
    elif kind == "sigmoid":
        betas = [start + (end - start) / (1 + math.exp(6 - 12 * x)) for x in share]
    else:
        raise Incompatible(
            f"no β schedule is called {kind!r}, so nothing tells its noise levels",
            mend="it may be linear, scaled_linear, squaredcos_cap_v2 or sigmoid; or spell it out as trained_betas",
        )
    bars = list(accumulate((1 - beta for beta in betas), lambda product, keep: product * keep))
    if zero:  # √ᾱ moved so that its last is 0 and its first stays (Lin et al., 2305.08891, Algorithm 1)
        first, last = math.sqrt(bars[0]), math.sqrt(bars[-1])
        bars = [((math.sqrt(bar) - last) * first / (first - last)) ** 2 for bar in bars]
    return tuple(bars)


def _cosine(share: float) -> float:
    """ᾱ of the cosine schedule before its β are capped."""
    return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2
