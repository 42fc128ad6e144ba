"""Stage `autoencoder`: a small AutoencoderDC, 128×128×3 ↔ 16×16×8."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC
from torch.nn import functional as F

from realcompo_mini.train.common import Settings, cosine, load_checkpoint, save_checkpoint, sheet, start_log, to_pictures
from realcompo_mini.train.data import batches, render_mixture, to_tensor

STEPS, BATCH, PEAK, PICTURES, HELD_OUT = 2600, 16, 2e-3, 20_000, 256


def build() -> AutoencoderDC:
    """Residual blocks only; every width is four times the next, as the shortcuts of the shuffles need."""
    return AutoencoderDC(
        in_channels=3,
        latent_channels=8,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=(16, 32, 64, 128),
        decoder_block_out_channels=(16, 32, 64, 128),
        encoder_layers_per_block=(0, 1, 2, 2),
        decoder_layers_per_block=(0, 1, 3, 3),
        encoder_qkv_multiscales=((), (), (), ()),
        decoder_qkv_multiscales=((), (), (), ()),
        downsample_block_type="pixel_unshuffle",
        upsample_block_type="pixel_shuffle",
    )


def train(settings: Settings) -> None:
    """Train, or go on; ends with a diffusers folder whose scaling_factor gives latents of unit deviation."""
    folder = settings.out / "autoencoder"
    log = start_log(folder, "autoencoder")
    total = settings.steps or STEPS
    data = render_mixture(settings.out / "mixture.npy", settings.out / "sprites" / "sprites.npz", PICTURES, settings.seed, 2)
    torch.manual_seed(settings.seed)
    device = torch.device(settings.device)
    model = build().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=1e-4, betas=(0.9, 0.99))
    state = load_checkpoint(folder / "checkpoint.pt")
    step = 0
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]

    def objective(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            z = model.encode(x).latent
            out = model.decode(z + 0.1 * torch.randn_like(z)).sample
        return F.mse_loss(out.float(), x) + 0.1 * F.l1_loss(out.float(), x) + 1e-4 * z.float().square().mean()

    loss_of = torch.compile(objective) if settings.compile else objective
    held_out = to_tensor(data[-HELD_OUT:])
    begin, first, saved = time.time(), step, time.time()
    for index in batches(len(data) - HELD_OUT, BATCH, settings.seed, step):
        if step >= total:
            break
        rate = cosine(step, total, PEAK)
        for group in optimizer.param_groups:
            group["lr"] = rate
        pictures = np.asarray(data[np.sort(index)])
        if step % 2:
            pictures = pictures[:, :, ::-1]
        x = to_tensor(pictures).to(device)
        loss = loss_of(x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            speed = (step - first) * BATCH / (time.time() - begin)
            log.info("step %d/%d loss %.5f, %.0f pictures a second, %.0f s left", step, total, loss, speed, (total - step) * BATCH / speed)
        if time.time() - saved > 120 or step == total:
            save_checkpoint(folder / "checkpoint.pt", model=model.state_dict(), optimizer=optimizer.state_dict(), step=step)
            _judge(model, held_out, folder, device, log, step)
            saved = time.time()
        if time.time() - begin > settings.minutes * 60:
            save_checkpoint(folder / "checkpoint.pt", model=model.state_dict(), optimizer=optimizer.state_dict(), step=step)
            return
    _finish(model, data[:2000], folder, device, log)


@torch.no_grad()
def _judge(model: AutoencoderDC, x: torch.Tensor, folder: Path, device: torch.device, log: object, step: int) -> None:
    model.eval()
    out = torch.cat([model.decode(model.encode(part.to(device)).latent).sample.cpu() for part in x.split(32)])
    error = ((out.clamp(-1, 1) - x) / 2).square().mean((1, 2, 3))
    log.info("step %d: held-out %.2f dB", step, float(-10 * error.log10().mean()))  # type: ignore[attr-defined]
    sheet(np.concatenate([to_pictures(x[:16]), to_pictures(out[:16])]), folder / "sheet.png", 8)
    model.train()


@torch.no_grad()
def _finish(model: AutoencoderDC, pictures: np.ndarray, folder: Path, device: torch.device, log: object) -> None:
    model.eval()
    z = torch.cat([model.encode(to_tensor(part).to(device)).latent.cpu() for part in np.array_split(pictures, 40)])
    scale = 1 / float(z.std())
    log.info("latents: mean %.3f, deviation %.3f by channel %s", float(z.mean()), 1 / scale, z.std((0, 2, 3)).tolist())  # type: ignore[attr-defined]
    model.register_to_config(scaling_factor=scale)
    model.save_pretrained(folder / "model")


def load_autoencoder(out: Path) -> AutoencoderDC:
    """The trained autoencoder, frozen."""
    model = AutoencoderDC.from_pretrained(out / "autoencoder" / "model")
    return model.eval().requires_grad_(False)
