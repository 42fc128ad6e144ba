"""Stage `boxes`: the gated (GLIGEN) model of the flat look, blind to attributes.

Trained whole, from scratch: with the base frozen, as GLIGEN trains, models of this size never come to notice their boxes. The loss is the
error of the clean latent, first at high noise only, because that is where a layout is decided; later times come as often as their number
says (density ∝ t), because RealCompo leaves the last steps, which paint the look, to the fidelity model.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn
from transformers import CLIPTokenizer

from realcompo_mini.train.autoencoder import load_autoencoder
from realcompo_mini.train.common import Average, Settings, cosine, load_checkpoint, save_checkpoint, sheet, start_log
from realcompo_mini.train.data import batches
from realcompo_mini.train.dataset import Scenes, prepare
from realcompo_mini.train.models import TIMES, alphas_bar, build_unet, for_training, open_gates
from realcompo_mini.train.sample import draw
from realcompo_mini.train.text import all_phrases, embed_phrases, ids, load_text

STEPS, BATCH, PEAK = 4500, 32, 1e-3
SAVE, DRAW = 240, 1200  # seconds between checkpoints and between sheets
# until which step, lowest t, bounds of the weight (1 − ᾱ) / ᾱ
STAGES = ((700, 600, 0.0, 300.0), (1300, 300, 0.3, 100.0), (10**9, 0, 0.3, 30.0))
DROP_BOTH, DROP_BOXES, DROP_TEXT = 0.06, 0.05, 0.05


def phrase_table(text: nn.Module, tokenizer: CLIPTokenizer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Standardised pooled embeddings (P, 128) of all phrases, and the mean and deviation (128,) that did it."""
    table = embed_phrases(text, tokenizer, all_phrases())  # type: ignore[arg-type]
    mean, deviation = table.mean(0), table.std(0)
    return (table - mean) / deviation, mean, deviation


def times(lowest: int) -> torch.Tensor:
    """(BATCH,) training times in lowest … TIMES − 1, the density rising with t."""
    share = torch.rand(BATCH)
    return (lowest**2 + share * (TIMES**2 - lowest**2)).sqrt().long().clamp(max=TIMES - 1)


def train(settings: Settings) -> None:
    """Train, or go on."""
    folder, total = settings.out / "boxes", settings.steps or STEPS
    log = start_log(folder, "boxes")
    device = torch.device(settings.device)
    tokenizer, text = load_text(settings.out)
    text = text.eval().requires_grad_(False)
    table, _, _ = phrase_table(text, tokenizer)
    text.to(device)
    scenes, held_out = prepare(settings, "boxes", tokenizer), prepare(settings, "check-boxes", tokenizer)
    torch.manual_seed(settings.seed)
    unet = build_unet(gated=True)
    open_gates(unet)
    unet = for_training(unet, device).train()
    average = Average(unet)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=PEAK, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    step = 0
    if state := load_checkpoint(folder / "checkpoint.pt"):
        unet.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        log.info("going on from step %d", step)
    torch.manual_seed(settings.seed * 1_000_003 + step)
    bars = alphas_bar()
    empty = ids(tokenizer, [""])[0]

    def objective(
        z: torch.Tensor,
        t: torch.Tensor,
        hidden: torch.Tensor,
        boxes: torch.Tensor,
        phrases: torch.Tensor,
        mask: torch.Tensor,
        noise: torch.Tensor,
        weight: torch.Tensor,
    ) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            gligen = {"boxes": boxes, "positive_embeddings": phrases, "masks": mask}
            out = unet(z, t, encoder_hidden_states=hidden, cross_attention_kwargs={"gligen": gligen}).sample
        return ((out.float() - noise).square().mean((1, 2, 3)) * weight).mean()

    begin = saved = drawn = time.time()
    recent, losses = (step, begin), []
    for index in batches(len(scenes), BATCH, settings.seed, step):
        if step >= total:
            break
        rate = cosine(step, total, PEAK)
        for group in optimizer.param_groups:
            group["lr"] = rate
        lowest, low, high = next(stage[1:] for stage in STAGES if step < stage[0])
        weights = ((1 - bars) / bars).clamp(low, high)
        weights = weights / weights[lowest:].mean()
        index = np.sort(index)
        clean, t, tokens = scenes.clean(index), times(lowest), scenes.tokens[index].clone()
        mask = scenes.mask[index].clone()
        chance = torch.rand(BATCH)
        mask[chance < DROP_BOTH + DROP_BOXES] = 0
        tokens[(chance < DROP_BOTH) | (chance > 1 - DROP_TEXT)] = empty
        noise = torch.randn_like(clean)
        bar = bars[t].view(-1, 1, 1, 1)
        noisy = (bar.sqrt() * clean + (1 - bar).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            hidden = text(tokens.to(device)).last_hidden_state
        phrases = table[scenes.phrases[index]] * scenes.mask[index].unsqueeze(-1)
        inputs = (noisy, t, hidden, scenes.boxes[index], phrases, mask, noise, weights[t])
        loss = objective(*(x.to(device) for x in inputs))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        average.update(unet, step)
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
        if step % 200 == 0 or step == total:
            right, other = following(unet, text, table, held_out, device)
            log.info("step %d: x0 error at t=800 with right | shuffled boxes %.3f | %.3f", step, right, other)
        over = now - begin > settings.minutes * 60
        if now - saved > SAVE or step == total or over:
            save_checkpoint(
                folder / "checkpoint.pt",
                model=unet.state_dict(),
                average=average.module.state_dict(),
                optimizer=optimizer.state_dict(),
                step=step,
            )
            saved = now
        if now - drawn > DRAW or step == total:
            sheet(_draw(average.module, text, table, held_out, tokenizer, settings), folder / f"sheet-{step:06d}.png", 8)
            drawn = time.time()
        if over:
            return


@torch.no_grad()
def following(
    unet: nn.Module, text: nn.Module, table: torch.Tensor, scenes: Scenes, device: torch.device, time_step: int = 800
) -> tuple[float, float]:
    """Error of the clean latent at one time with the right boxes and with another scene's: how far the model follows boxes."""
    clean = scenes.clean(np.arange(len(scenes)))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    bar = alphas_bar()[time_step]
    noisy = (bar.sqrt() * clean + (1 - bar).sqrt() * noise).to(device)
    hidden = text(scenes.tokens.to(device)).last_hidden_state
    pair = []
    for shift in (0, 1):
        gligen = {
            "boxes": scenes.boxes.roll(shift, 0),
            "positive_embeddings": table[scenes.phrases.roll(shift, 0)],
            "masks": scenes.mask.roll(shift, 0),
        }
        with torch.autocast(device.type, torch.bfloat16):
            out = (
                unet(
                    noisy,
                    torch.full((len(scenes),), time_step, device=device),
                    encoder_hidden_states=hidden,
                    cross_attention_kwargs={"gligen": {name: x.to(device) for name, x in gligen.items()}},
                )
                .sample.float()
                .cpu()
            )
        guess = (noisy.cpu() - (1 - bar).sqrt() * out) / bar.sqrt()
        pair.append(float((guess - clean).square().mean()))
    return pair[0], pair[1]


@torch.no_grad()
def _draw(
    unet: nn.Module,
    text: nn.Module,
    table: torch.Tensor,
    scenes: Scenes,
    tokenizer: CLIPTokenizer,
    settings: Settings,
    guidance: float = 2.0,
) -> np.ndarray:
    """Rows in pairs: eight held-out scenes as rendered (through the autoencoder), and the same captions and boxes drawn."""
    device, count = torch.device(settings.device), 16
    autoencoder = load_autoencoder(settings.out)
    hidden = text(torch.cat([ids(tokenizer, [""] * count), scenes.tokens[:count]]).to(device)).last_hidden_state
    mask = torch.cat([torch.zeros_like(scenes.mask[:count]), scenes.mask[:count]])
    gligen = {
        "boxes": scenes.boxes[:count].repeat(2, 1, 1),
        "positive_embeddings": table[scenes.phrases[:count]].repeat(2, 1, 1),
        "masks": mask,
    }
    gligen = {name: x.to(device) for name, x in gligen.items()}

    def noise_of(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            out = unet(
                torch.cat([z, z]).to(device),
                torch.cat([t, t]).to(device),
                encoder_hidden_states=hidden,
                cross_attention_kwargs={"gligen": gligen},
            ).sample
        without, with_boxes = out.float().cpu().chunk(2)
        return without + guidance * (with_boxes - without)

    from realcompo_mini.train.common import to_pictures

    truth = to_pictures(autoencoder.decode(scenes.clean(np.arange(count)) / autoencoder.config.scaling_factor).sample)
    drawn = draw(noise_of, count, autoencoder)
    return np.concatenate([truth[:8], drawn[:8], truth[8:], drawn[8:]])
