"""Stage `fidelity`: the text-to-image model of the 3D look, text encoder and network together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from realcompo_mini.train.autoencoder import load_autoencoder
from realcompo_mini.train.base import min_snr, noised
from realcompo_mini.train.common import Settings
from realcompo_mini.train.dataset import prepare
from realcompo_mini.train.loop import Course, run
from realcompo_mini.train.models import TIMES, build_unet, for_training
from realcompo_mini.train.sample import draw
from realcompo_mini.train.text import ids, load_text

EMPTY, TEXT_SHARE = 0.1, 0.3  # share of empty captions; of the learning rate, for the text encoder
PROMPTS = (
    "a cat and a dog on grass",
    "a red car left of a blue balloon",
    "three apples on wood",
    "a purple star above a house on snow",
    "a person next to a tree on grass",
    "a green striped umbrella on sand",
    "two penguins and a yellow heart on snow",
    "a rabbit on a box in space",
)


class TextToImage(nn.Module):
    """Network and text encoder, trained as one."""

    def __init__(self, unet: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.unet, self.text = unet, text

    def forward(self, z: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return self.unet(z, t, encoder_hidden_states=self.text(tokens).last_hidden_state).sample


class Fidelity(Course):
    """Min-SNR-5 weights on the ε error, a tenth of the captions empty."""

    name, total, peak, check = "fidelity", 5000, 6e-4, 400

    def __init__(self, settings: Settings) -> None:
        self.settings, self.device = settings, torch.device(settings.device)
        self.tokenizer, text = load_text(settings.out)
        self.scenes, self.held_out = (prepare(settings, name, self.tokenizer) for name in ("fidelity", "check-fidelity"))
        self.count = len(self.scenes)
        self.empty = ids(self.tokenizer, [""])[0]
        torch.manual_seed(settings.seed)
        self.model: Any = TextToImage(for_training(build_unet(gated=False), self.device), text.to(self.device))

    def groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.model.unet.parameters()), "share": 1.0},
            {"params": list(self.model.text.parameters()), "share": TEXT_SHARE},
        ]

    def loss(self, index: np.ndarray[Any, Any], step: int) -> Tensor:
        count = len(index)
        clean, t, tokens = self.scenes.clean(index), torch.randint(TIMES, (count,)), self.scenes.tokens[index].clone()
        tokens[torch.rand(count) < EMPTY] = self.empty
        noise = torch.randn_like(clean)
        out = self.predict(self.model, noised(clean, t, noise), t, tokens)
        error = (out.float() - noise.to(out.device)).square().mean((1, 2, 3))
        return (error * min_snr(t).to(out.device)).mean()

    def predict(self, model: Any, z: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        """ε (B, 8, 16, 16), with a graph where there is one."""
        with torch.autocast(self.device.type, torch.bfloat16):
            out: Tensor = model(z.to(self.device), t.to(self.device), tokens.to(self.device))
        return out

    def checked(self) -> str:
        """ε error by time, on held-out scenes with fixed noise, with the right and with another's caption."""
        scenes, parts = self.held_out, []
        clean = scenes.clean(np.arange(len(scenes)))
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
        for time_step in (200, 500, 800):
            t = torch.full((len(scenes),), time_step)
            pair = [
                float((self.predict(self.model, noised(clean, t, noise), t, tokens).float().cpu() - noise).square().mean())
                for tokens in (scenes.tokens, scenes.tokens.roll(1, 0))
            ]
            parts.append(f"t={time_step} {pair[0]:.4f} | {pair[1]:.4f}")
        return f"held-out ε error {', '.join(parts)} (right | other caption)"

    @torch.no_grad()
    def drawn(self, average: nn.Module) -> np.ndarray[Any, Any]:
        """Eight prompts, twice."""
        tokens = ids(self.tokenizer, [*PROMPTS, *PROMPTS])
        both, guidance = torch.cat([ids(self.tokenizer, [""] * len(tokens)), tokens]), 4.0

        def noise_of(z: Tensor, t: Tensor) -> Tensor:
            without, with_text = self.predict(average, torch.cat([z, z]), torch.cat([t, t]), both).float().cpu().chunk(2)
            return without + guidance * (with_text - without)

        return draw(noise_of, len(tokens), load_autoencoder(self.settings.out))


def train(settings: Settings) -> None:
    """Train, or go on."""
    run(Fidelity(settings), settings)
