"""Analytic toy branches: denoisers of a Gaussian world, whose answer is known in closed form.

A toy believes that pictures are x₀ ~ N(μ, s²) pixel by pixel, so that its noise prediction is exact:
ε(z) = √(1−ᾱ) (z − √ᾱ μ) / (ᾱ s² + 1 − ᾱ). The fidelity toy's μ is flat; the spatial toy's is 1 inside each region's own channel. The
attention of a region is a softmax over the regions' channels and a background: a smooth function of z with a known optimum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from ..hookspecs import hookimpl
from ..interfaces import Branch, GuidanceHalf, Prediction, Request, Step
from ..noise.diffusion import convert
from ..specs import BranchSpec, Column, FlowSchedule, LatentSpace, NoiseSchedule, Options, ScorerSpec, SuiteSpec, Traits
from .scenes import ToySceneOptions

REALCOMPO_API = 1

TOY_SPACE = LatentSpace(name="toy", channels=4, downscale=8, scaling_factor=1.0)
TOY_TRAITS = Traits(latent=TOY_SPACE, family="toy", default_size=(64, 64), size_multiple=8)

TOY_LINEAR = NoiseSchedule(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")


class ToyOptions(Options):
    """Of a toy."""

    spread: float = Field(0.5, gt=0, description="standard deviation s of a pixel")
    sharpness: float = Field(2.0, description="slope of the attention in z")
    contrast: float = Field(1.0, description="how far a region's mean stands out")
    shift: float = Field(0.0, description="length of a shift δ that every prediction carries")


@dataclass(frozen=True)
class ToyConditioning:
    """mean (B, C, h, w) of the conditional half; present (B, R); guidance_scale."""

    mean: Tensor
    present: Tensor
    guidance_scale: float


class ToyBranch(Branch):
    """A denoiser of N(μ, s²): see the module. Regions r beyond the channels share them cyclically."""

    options: ToyOptions

    def __init__(self, spec: BranchSpec, options: Options, *, source: Any = None, device: Any = "cpu", dtype: Any = None) -> None:
        self.spec, self.traits = spec, type(self).inspect(spec, options, source)
        self.options = options if isinstance(options, ToyOptions) else ToyOptions()
        self._device = torch.device(device)
        self._dtype = dtype or torch.float32

    @classmethod
    def inspect(cls, spec: BranchSpec, options: Options, source: Any = None) -> Traits:
        moves = isinstance(options, ToyOptions) and options.shift != 0
        return replace(spec.traits or TOY_TRAITS, moves_latents=moves)

    def encode(self, request: Request) -> ToyConditioning:
        h, w = (side // self.traits.latent.downscale for side in request.size)
        mean = torch.zeros(len(request.prompts), self.traits.latent.channels, h, w, dtype=self._dtype, device=self._device)
        for b, prompt in enumerate(request.prompts):
            mean[b] += (sum(map(ord, prompt)) % 7 - 3) / 20  # another prompt is another mean
        if self.spec.role == "spatial":
            masks = request.regions.masks(h, w).to(mean)
            for r in range(masks.shape[1]):
                mean[:, r % mean.shape[1]] += self.options.contrast * masks[:, r]
        return ToyConditioning(mean, request.regions.present().to(self._device), request.guidance_scale)

    def predict(self, z: Tensor, step: Step, conditioning: ToyConditioning, read: bool = False) -> Prediction:
        self.check_step(step)
        shift = self._shift(z, step)
        where = z if shift is None else z + shift
        text, empty = self._noise(where, conditioning.mean, step), None
        if conditioning.guidance_scale > 1:
            empty = self._noise(where, torch.zeros_like(conditioning.mean), step)
            text = empty + conditioning.guidance_scale * (text - empty)
        return Prediction(text, self.attend(z, step, conditioning) if read else None, shift, empty)

    def predict_half(self, z: Tensor, step: Step, conditioning: ToyConditioning, half: GuidanceHalf, read: bool = False) -> Prediction:
        self.check_step(step)
        if half == "unconditional":
            return Prediction(self._noise(z, torch.zeros_like(conditioning.mean), step))
        shift = self._shift(z, step)
        noise = self._noise(z if shift is None else z + shift, conditioning.mean, step)
        return Prediction(noise, maps=self.attend(z, step, conditioning) if read else None, shift=shift)

    def _shift(self, z: Tensor, step: Step) -> Tensor | None:
        return torch.full_like(z, self.options.shift * math.sqrt(1 - step.alpha_bar)) if self.options.shift else None

    def predict_unguided(self, z: Tensor, step: Step, conditioning: ToyConditioning) -> Tensor:
        return self._noise(z, conditioning.mean, step)

    def _noise(self, z: Tensor, mean: Tensor, step: Step) -> Tensor:
        bar = step.alpha_bar
        mean = mean.to(z)
        noise = math.sqrt(1 - bar) * (z - math.sqrt(bar) * mean) / (bar * self.options.spread**2 + 1 - bar)
        if self.traits.prediction_type == "epsilon":
            return noise
        clean = mean + math.sqrt(bar) * self.options.spread**2 / (bar * self.options.spread**2 + 1 - bar) * (z - math.sqrt(bar) * mean)
        v = math.sqrt(bar) * noise - math.sqrt(1 - bar) * clean  # v = √ᾱ ε − √(1−ᾱ) x₀
        return convert(v, "v_prediction", self.traits.prediction_type, z, bar)

    def attend(self, z: Tensor, step: Step, conditioning: ToyConditioning) -> Tensor:
        """softmax over (background, regions) of sharpness · z of the region's channel: (B, R, h, w)."""
        self.check_step(step)
        z = z if z.dtype == torch.float64 else z.float()
        channels = [r % z.shape[1] for r in range(conditioning.present.shape[1])]
        logits = self.options.sharpness * z[:, channels]
        logits = logits.masked_fill(~conditioning.present[:, :, None, None], -torch.inf)
        maps = torch.cat([torch.zeros_like(z[:, :1]), logits], dim=1).softmax(dim=1)[:, 1:]
        return maps * conditioning.present[:, :, None, None]

    def decode(self, z: Tensor) -> list[Image.Image]:
        """The first three channels as red, green and blue, a square of 8 pixels each."""
        rgb = ((z[:, :3].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()
        rgb = rgb.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3).permute(0, 2, 3, 1)
        return [Image.fromarray(picture.numpy()) for picture in rgb]

    def to(self, device: Any = None, dtype: Any = None) -> ToyBranch:
        self._device = torch.device(device) if device is not None else self._device
        self._dtype = dtype or self._dtype
        return self

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    def fingerprint(self) -> dict[str, str]:
        return {"toy": f"{self.spec.id} {self.options.model_dump_json()}"}


_TARGET = "realcompo.testing.toys:ToyBranch"
_COMMON: dict[str, Any] = {"target": _TARGET, "options": ToyOptions, "traits": TOY_TRAITS, "guidance_scale": 1.0}


@hookimpl
def register_branches() -> list[BranchSpec]:
    """Fidelity, boxes; one of each that predicts v, that is a flow, and that was trained on a linear schedule."""
    v = {**_COMMON, "traits": replace(TOY_TRAITS, prediction_type="v_prediction")}
    flow = {**_COMMON, "traits": replace(TOY_TRAITS, schedule=FlowSchedule(shift=3.0), prediction_type="flow_prediction")}
    linear = {**_COMMON, "traits": replace(v["traits"], schedule=TOY_LINEAR)}
    return [
        BranchSpec(id="toy/fidelity-flow", role="fidelity", summary="toy/fidelity as a rectified flow", **flow),
        BranchSpec(id="toy/spatial-flow", role="spatial", condition="boxes", summary="toy/spatial as a rectified flow", **flow),
        BranchSpec(id="toy/fidelity-linear", role="fidelity", summary="toy/fidelity-v on a linear schedule", **linear),
        BranchSpec(id="toy/spatial-linear", role="spatial", condition="boxes", summary="toy/spatial-v on a linear schedule", **linear),
        BranchSpec(id="toy/fidelity", role="fidelity", summary="a flat Gaussian world", **_COMMON),
        BranchSpec(id="toy/spatial", role="spatial", condition="boxes", summary="a Gaussian world with regions", **_COMMON),
        BranchSpec(id="toy/fidelity-v", role="fidelity", summary="toy/fidelity, predicting v", **v),
        BranchSpec(id="toy/spatial-v", role="spatial", condition="boxes", summary="toy/spatial, predicting v", **v),
    ]


@hookimpl
def register_suites() -> list[SuiteSpec]:
    """See scenes.py."""
    return [
        SuiteSpec(
            id="toy/scenes",
            target="realcompo.testing.scenes:ToyScenes",
            options=ToySceneOptions,
            summary="one thing or two",
            scorers=("toy/light", "toy/spread"),
        )
    ]


@hookimpl
def register_scorers() -> list[ScorerSpec]:
    """See scenes.py."""
    return [
        ScorerSpec(
            id="toy/light",
            target="realcompo.testing.scenes:ToyLight",
            summary="whether regions are lit",
            columns=(Column(name="lit", title="lit", top="lit", bottom="boxes"), Column(name="gain", title="gain", top="gain")),
            reads=("conditions",),
        ),
        ScorerSpec(
            id="toy/spread",
            target="realcompo.testing.scenes:ToySpread",
            summary="distance from grey",
            columns=(Column(name="spread", title="spread", less=True, whole=True),),
        ),
    ]


def toy_registry(*more: Any) -> Any:
    """A registry of the core, the toys and `more` entry points, whatever is installed."""
    from importlib.metadata import EntryPoint

    from ..registry import GROUP, Registry

    return Registry([EntryPoint("toy", "realcompo.testing.toys", GROUP), *more])
