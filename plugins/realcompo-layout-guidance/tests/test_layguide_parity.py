"""Layout guidance alone is a loop written from its paper: in the σ scale, in float64, on diffusers' own network and attention scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel

from realcompo.conditions import Boxes
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.testing.sources import small_checkpoint

PROMPT, NEGATIVE, STEPS, GUIDANCE = "a cat and a red balloon", "a blue car", 10, 7.5
BOXES = Boxes({"a cat": (0.0, 0.5, 0.5, 1.0), "a red balloon": (0.5, 0.0, 1.0, 0.5)})
TOKENS = {"a cat": [2], "a red balloon": [5, 6, 7]}
"""Indices in <start> a cat and a red ballo on <end>, as the small tokenizer cuts it; a region's article is not read."""


class Recording:
    """An attention processor that computes what diffusers' plain one does, and keeps the probabilities (heads, N, L)."""

    def __init__(self, kept: list[Tensor]) -> None:
        self.kept = kept

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (attn.head_to_batch_dim(x) for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)))
        probabilities = attn.get_attention_scores(query, key)
        self.kept.append(probabilities)
        return attn.to_out[0](attn.batch_to_head_dim(probabilities @ value))


class Paper:
    """Chen et al.: x ← x − σ² ∇ₓ (scale · E) up to five times a step, then an Euler step of dx/dσ = ε."""

    def __init__(self, folder: Path) -> None:
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet").double().eval()
        self.kept: list[Tensor] = []
        processors = dict(self.unet.attn_processors)
        for name in processors:
            if "attn2" in name and name.startswith(("mid_block", "up_blocks.1")):
                processors[name] = Recording(self.kept)
        self.unet.set_attn_processor(processors)
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").double().eval()
        ids = tokenizer([NEGATIVE, PROMPT], padding="max_length", max_length=77, return_tensors="pt").input_ids
        with torch.no_grad():
            self.text = encoder(ids)[0]
        self.scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", clip_sample=False)
        self.updates: list[int] = []

    def loss(self) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for probabilities in self.kept:
            side = int(probabilities.shape[1] ** 0.5)
            for item in BOXES.items:
                x0, y0, x1, y1 = (round(side * share) for share in item.box)
                mask = torch.zeros(side, side, dtype=torch.float64)
                mask[y0:y1, x0:x1] = 1
                for token in TOKENS[item.phrase]:
                    a = probabilities[:, :, token].reshape(-1, side, side)
                    outside = 1 - (a * mask).sum((1, 2)) / a.sum((1, 2))
                    total = total + outside.square().mean() / len(TOKENS[item.phrase])
        return total / (len(BOXES.items) * len(self.kept))

    def draw(self, noise: Tensor, scale: float, guided: int, threshold: float) -> Tensor:
        self.scheduler.set_timesteps(STEPS)
        bars = self.scheduler.alphas_cumprod.double()
        stride = 1000 // STEPS
        first = bars[self.scheduler.timesteps[0]]
        x = noise.double() / first.sqrt()
        for i, t in enumerate(self.scheduler.timesteps):
            bar = bars[t]
            before = bars[t - stride] if t >= stride else self.scheduler.final_alpha_cumprod.double()
            sigma, after = ((1 - bar) / bar).sqrt(), ((1 - before) / before).sqrt()
            count = 0
            while i < guided and count < 5:
                x = x.detach().requires_grad_()
                self.kept.clear()
                self.unet(x / (sigma**2 + 1).sqrt(), t, self.text[1:])
                loss = self.loss()
                if loss.item() <= threshold:
                    break
                x = x - sigma**2 * torch.autograd.grad(scale * loss, x)[0]
                count += 1
            self.updates.append(count)
            with torch.no_grad():
                pair = torch.cat([x, x]) / (sigma**2 + 1).sqrt()
                empty, told = self.unet(pair, t, self.text).sample.chunk(2)
                x = (x + (after - sigma) * (empty + GUIDANCE * (told - empty))).detach()
        return x * before.sqrt()


@pytest.mark.parametrize(
    ("scale", "window", "guided", "threshold"),
    [(30.0, (0.0, 10 / 51), 2, 0.2), (5.0, (0.0, 0.6), 6, 0.2), (30.0, (0.0, 0.5), 5, 0.54)],
    ids=["original", "long", "stops"],
)
def test_alone_is_the_paper(scale: float, window: tuple[float, float], guided: int, threshold: float) -> None:
    folder = small_checkpoint("sd1")
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    paper = Paper(Path(folder))
    theirs = paper.draw(noise, scale, guided, threshold)

    def ours(boxes: Boxes, **more: Any) -> Tensor:
        options = {"loss_scale": scale, "window": window, "threshold": threshold, **more}
        branch = Registry().branch("layguide/sd", options, source=folder, dtype="float64")
        asked = request((PROMPT,), negatives=(NEGATIVE,), conditions=(boxes,), guidance_scale=GUIDANCE)
        return draw_alone(branch, asked, noise, steps=STEPS)

    mine = ours(BOXES)
    assert relative(theirs, mine) < 1e-6
    assert sum(paper.updates) > 2 and paper.updates[guided:] == [0] * (STEPS - guided)
    if threshold > 0.2:
        assert 0 < sum(paper.updates) < 5 * guided, "the threshold must stop it somewhere, or this case shows nothing"
    if guided > 2:
        return  # the controls of the first case are the others' too
    moved = Boxes({"a cat": (0.5, 0.0, 1.0, 1.0), "a red balloon": (0.0, 0.0, 0.5, 0.5)})
    assert relative(mine, ours(moved)) > 1e-2, "the boxes must matter, or parity shows nothing"
    assert relative(mine, ours(BOXES, loss_scale=0.0)) > 1e-2
