"""Stage `flow`: a small transformer trained as a rectified flow, on the scenes and with the frozen text encoder of the text-to-image model.

z_σ = (1 − σ) x₀ + σ ε, and the network answers v = ε − x₀. σ is the sigmoid of a normal number, shifted: most steps go where the picture is
decided. The rate is constant until the last steps (`plateau`), so a training may be stopped or lengthened at any time: go on with
``--steps N --decay M`` to end it at step N, the last M of them falling.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from realcompo_mini.train.base import draw_guided, load_base
from realcompo_mini.train.common import Settings, plateau
from realcompo_mini.train.dataset import prepare
from realcompo_mini.train.fidelity import EMPTY, PROMPTS
from realcompo_mini.train.loop import Course, run
from realcompo_mini.train.models import TIMES, build_transformer, shifted, start_transformer
from realcompo_mini.train.sample import draw_flow

SHIFT = 2.0  # half of the levels above σ = 2/3, about where the diffusion models' uniform times lie (their median: 0.62)
LAST = 0.2  # share of the steps over which the rate falls
CHECKED_AT = (0.3, 0.6, 0.9)


def flow_noised(clean: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """(1 − σ) x₀ + σ ε, (B, C, h, w); σ (B,)."""
    return torch.lerp(clean, noise, sigma.view(-1, 1, 1, 1))


def levels(count: int, shift: float) -> Tensor:
    """(count,) noise levels of a training step: logit-normal, shifted."""
    return shifted(torch.randn(count).sigmoid(), shift)


def kept_shift(folder: Path, asked: float | None) -> float:
    """The shift of a training in `folder`, written there as a scheduler when it begins.

    Raises:
        RuntimeError: another one is asked for than it began with.
    """
    if not (folder / "scheduler").is_dir():
        FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMES, shift=asked or SHIFT).save_pretrained(folder / "scheduler")
    kept = float(FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler").config.shift)
    if asked and asked != kept:
        raise RuntimeError(f"{folder} began with --shift {kept:g}, not {asked:g}: leave the option out, or begin in an empty folder")
    return kept


class Flow(Course):
    """The plain error of v, a tenth of the captions empty."""

    name, total, peak, check = "flow", 12_000, 8e-4, 400

    def __init__(self, settings: Settings) -> None:
        self.settings, self.base = settings, load_base(settings)
        self.shift = kept_shift(settings.out / self.name, settings.shift)
        self.scenes, self.held_out = (
            prepare(settings, name, self.base.tokenizer, None, self.base.autoencoder) for name in ("fidelity", "check-fidelity")
        )
        self.count = len(self.scenes)
        self.empty = self.base.ids([""])[0]
        torch.manual_seed(settings.seed)
        self.model: Any = build_transformer()
        start_transformer(self.model)
        if self.base.device.type == "cpu":
            self.model.set_attn_processor(AttnProcessor())  # the fused one has a slow backward pass there
        self.model.to(self.base.device)
        self.forward: Any = torch.compile(self.model, dynamic=False) if settings.compile else self.model

    def rate(self, step: int, total: int) -> float:
        """Constant, falling over the last steps."""
        last = round(LAST * total) if self.settings.decay is None else self.settings.decay
        return plateau(step, total, self.peak, last)

    def loss(self, index: np.ndarray[Any, Any], step: int) -> Tensor:
        count = len(index)
        clean, sigma, tokens = self.scenes.clean(index), levels(count, self.shift), self.scenes.tokens[index].clone()
        tokens[torch.rand(count) < EMPTY] = self.empty
        noise = torch.randn_like(clean)
        out = self.predict(self.forward, flow_noised(clean, sigma, noise), sigma, self.base.hidden(tokens))
        return (out.float() - (noise - clean).to(out.device)).square().mean()

    def predict(self, transformer: Any, z: Tensor, sigma: Tensor, hidden: Tensor) -> Tensor:
        """v (B, 8, 16, 16), with a graph where there is one; the network reads σ as a time in 0 … 1000."""
        device = self.base.device
        with torch.autocast(device.type, torch.bfloat16):
            out: Tensor = transformer(z.to(device), encoder_hidden_states=hidden, timestep=(sigma * TIMES).to(device)).sample
        return out

    def checked(self) -> str:
        """Error of v by noise level, on held-out scenes with fixed noise, with the right and with another's caption; of x₀ at the last."""
        scenes, parts, pair = self.held_out, [], (0.0, 0.0)
        clean = scenes.clean(np.arange(len(scenes)))
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
        hidden = [self.base.hidden(tokens) for tokens in (scenes.tokens, scenes.tokens.roll(1, 0))]
        for level in CHECKED_AT:
            sigma = torch.full((len(scenes),), level)
            z = flow_noised(clean, sigma, noise)
            right, other = (
                float((self.predict(self.model, z, sigma, text).float().cpu() - (noise - clean)).square().mean()) for text in hidden
            )
            pair = (right * level**2, other * level**2)  # x₀ = z − σ v
            parts.append(f"σ={level} {right:.4f} | {other:.4f}")
        x0 = f"x0 error at σ={CHECKED_AT[-1]} {pair[0]:.4f} | {pair[1]:.4f}"
        return f"held-out v error {', '.join(parts)}; {x0} (right | other caption)"

    @torch.no_grad()
    def drawn(self, average: nn.Module) -> np.ndarray[Any, Any]:
        """Eight prompts, twice."""
        by = partial(draw_flow, shift=self.shift)
        return draw_guided(self.base, lambda z, t, h: self.predict(average, z, t, h), [*PROMPTS, *PROMPTS], by=by)


def train(settings: Settings) -> None:
    """Train, or go on."""
    run(Flow(settings), settings)
