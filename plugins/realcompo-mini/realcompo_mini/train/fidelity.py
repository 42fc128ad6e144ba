"""Stage `fidelity`: the text-to-image model of the 3D look, text encoder and network together."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

from realcompo_mini.train.autoencoder import load_autoencoder
from realcompo_mini.train.common import Average, Settings, cosine, load_checkpoint, save_checkpoint, sheet, start_log
from realcompo_mini.train.data import batches
from realcompo_mini.train.dataset import Scenes, prepare
from realcompo_mini.train.models import TIMES, alphas_bar, build_unet, for_training
from realcompo_mini.train.sample import draw
from realcompo_mini.train.text import ids, load_text

STEPS, BATCH, PEAK, EMPTY = 5000, 32, 6e-4, 0.1
SAVE, DRAW = 240, 1200  # seconds between checkpoints and between sheets
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


def train(settings: Settings) -> None:
    """Train, or go on: min-SNR-5 weights on the ε error, a tenth of the captions empty."""
    folder, total = settings.out / "fidelity", settings.steps or STEPS
    log = start_log(folder, "fidelity")
    device = torch.device(settings.device)
    tokenizer, text = load_text(settings.out)
    scenes, held_out = prepare(settings, "fidelity", tokenizer), prepare(settings, "check-fidelity", tokenizer)
    torch.manual_seed(settings.seed)
    model = TextToImage(for_training(build_unet(gated=False), device), text.to(device)).train()
    average = Average(model)
    groups = [{"params": list(model.unet.parameters()), "share": 1.0}, {"params": list(model.text.parameters()), "share": 0.3}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    step = 0
    if state := load_checkpoint(folder / "checkpoint.pt"):
        model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        log.info("going on from step %d", step)
    torch.manual_seed(settings.seed * 1_000_003 + step)
    bars = alphas_bar()
    snr = bars / (1 - bars)
    weights = snr.clamp(max=5) / snr
    empty = ids(tokenizer, [""])[0]

    def objective(z: torch.Tensor, t: torch.Tensor, hidden: torch.Tensor, noise: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            out = model.unet(z, t, encoder_hidden_states=hidden).sample
        return ((out.float() - noise).square().mean((1, 2, 3)) * weight).mean()

    begin = saved = drawn = time.time()
    recent, losses = (step, begin), []
    for index in batches(len(scenes), BATCH, settings.seed, step):
        if step >= total:
            break
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, total, PEAK) * group["share"]
        index = np.sort(index)
        clean, t, tokens = scenes.clean(index), torch.randint(TIMES, (BATCH,)), scenes.tokens[index].clone()
        tokens[torch.rand(BATCH) < EMPTY] = empty
        noise = torch.randn_like(clean)
        bar = bars[t].view(-1, 1, 1, 1)
        noisy = (bar.sqrt() * clean + (1 - bar).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            hidden = model.text(tokens.to(device)).last_hidden_state
        loss = objective(*(x.to(device) for x in (noisy, t, hidden, noise, weights[t])))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        step += 1
        losses.append(float(loss.detach()))
        now = time.time()
        if step % 25 == 0:
            speed = (step - recent[0]) * BATCH / (now - recent[1])
            recent = (step, now)
            log.info(
                "step %d/%d loss %.4f, %.1f samples a second, %.0f min left",
                step,
                total,
                np.mean(losses[-200:]),
                speed,
                (total - step) * BATCH / speed / 60,
            )
        if step % 400 == 0 or step == total:
            log.info("step %d: held-out ε error %s", step, _error(model, held_out, device))
        over = now - begin > settings.minutes * 60
        if now - saved > SAVE or step == total or over:
            save_checkpoint(
                folder / "checkpoint.pt",
                model=model.state_dict(),
                average=average.module.state_dict(),
                optimizer=optimizer.state_dict(),
                step=step,
            )
            saved = now
        if now - drawn > DRAW or step == total:
            sheet(_draw(average.module, tokenizer, settings), folder / f"sheet-{step:06d}.png", 8)
            drawn = time.time()
        if over:
            return


@torch.no_grad()
def _error(model: TextToImage, scenes: Scenes, device: torch.device) -> str:
    """ε error by time, on held-out scenes with fixed noise, with the right and with another's caption."""
    clean = scenes.clean(np.arange(len(scenes)))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    parts = []
    for t in (200, 500, 800):
        bar = alphas_bar()[t]
        noisy = (bar.sqrt() * clean + (1 - bar).sqrt() * noise).to(device)
        pair = []
        for tokens in (scenes.tokens, scenes.tokens.roll(1, 0)):
            with torch.autocast(device.type, torch.bfloat16):
                out = model(noisy, torch.full((len(scenes),), t, device=device), tokens.to(device))
            pair.append(float((out.float().cpu() - noise).square().mean()))
        parts.append(f"t={t} {pair[0]:.4f} | {pair[1]:.4f}")
    return ", ".join(parts) + " (right | other caption)"


@torch.no_grad()
def _draw(model: nn.Module, tokenizer: object, settings: Settings, guidance: float = 4.0) -> np.ndarray:
    device = torch.device(settings.device)
    tokens = ids(tokenizer, [*PROMPTS, *PROMPTS]).to(device)  # type: ignore[arg-type]
    both = torch.cat([ids(tokenizer, [""] * len(tokens)).to(device), tokens])  # type: ignore[arg-type]

    def noise_of(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            without, with_text = model(torch.cat([z, z]).to(device), torch.cat([t, t]).to(device), both).float().cpu().chunk(2)
        return without + guidance * (with_text - without)

    return draw(noise_of, len(tokens), load_autoencoder(settings.out))
