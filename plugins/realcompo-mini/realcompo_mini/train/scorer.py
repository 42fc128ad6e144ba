"""Stage `scorer`: the detector, on rendered scenes of every look; its accuracy is measured on scenes of another split."""

from __future__ import annotations

import math
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realcompo_mini.scorer import GRID, Detection, Detector, detect, iou
from realcompo_mini.train.base import save_half
from realcompo_mini.train.common import Average, Settings, cosine, load_checkpoint, save_checkpoint, start_log
from realcompo_mini.train.data import batches, write_json
from realcompo_mini.train.render import render
from realcompo_mini.train.scenes import Scene, sample_scene
from realcompo_mini.train.sprites import LOOKS, load
from realcompo_mini.world import load_world

STEPS, BATCH, PEAK, PICTURES, JUDGED = 3000, 24, 2e-3, 16_000, 250
SHARES = {"3d": 0.5, "flat": 0.25, "cute": 0.15, "outline": 0.1}


def look_of(index: int) -> str:
    """The look in which scene `index` is drawn."""
    place = (index * 0.6180339887) % 1.0
    for look, share in SHARES.items():
        place -= share
        if place < 0:
            return look
    return "3d"


def scene_of(index: int, seed: int) -> Scene:
    return sample_scene("scorer", index, seed, blind=True)


def _rendered(args: tuple[str, int, int, int]) -> np.ndarray:
    sprites, seed, start, stop = args
    library = load(Path(sprites))
    return np.stack([render(scene_of(k, seed), look_of(k), library).pixels for k in range(start, stop)])


def targets(scenes: list[Scene], looks: list[str]) -> tuple[Tensor, ...]:
    """Heat (B, kinds, 32, 32) with Gaussian bumps; and for N objects: where (N, 3), log size and offset (N, 4), colour and pattern (N,).

    A colour or pattern of −1 is not taught.
    """
    world = load_world()
    kinds, colours, patterns = list(world.kinds), list(world.colours), [None, *world.patterns]
    heat = np.zeros((len(scenes), len(kinds), GRID, GRID), np.float32)
    where, shape, colour, pattern = [], [], [], []
    grid = np.arange(GRID)
    for b, (scene, look) in enumerate(zip(scenes, looks, strict=True)):
        for o in scene.objects:
            w, h = o.box[2] - o.box[0], o.box[3] - o.box[1]
            cx, cy = (o.box[0] + o.box[2]) / 2 * GRID, (o.box[1] + o.box[3]) / 2 * GRID
            x, y = min(int(cx), GRID - 1), min(int(cy), GRID - 1)
            sx, sy = max(0.6, w * GRID / 9), max(0.6, h * GRID / 9)
            bump = np.exp(-((grid[None] - x) ** 2) / (2 * sx**2) - (grid[:, None] - y) ** 2 / (2 * sy**2))
            k = kinds.index(o.kind)
            heat[b, k] = np.maximum(heat[b, k], bump)
            where.append((b, y, x))
            shape.append((math.log(w), math.log(h), cx - x - 0.5, cy - y - 0.5))
            natural = world.kinds[o.kind].natural
            colour.append(colours.index(o.colour or natural) if natural and look != "outline" else -1)
            pattern.append(patterns.index(o.pattern) if natural else -1)
    return torch.from_numpy(heat), torch.tensor(where), torch.tensor(shape), torch.tensor(colour), torch.tensor(pattern)


def loss_of(maps: tuple[Tensor, ...], truth: tuple[Tensor, ...]) -> Tensor:
    """Focal loss on the heat (as in CornerNet), L1 on size and offset, cross-entropy on colour and pattern."""
    heat, where, shape, colour, pattern = truth
    logit = maps[0].float()
    p = logit.sigmoid().clamp(1e-4, 1 - 1e-4)
    hit = heat == 1
    focal = torch.where(hit, -((1 - p) ** 2) * p.log(), -((1 - heat) ** 4) * p**2 * (1 - p).log()).sum() / max(1, int(hit.sum()))
    b, y, x = where.T
    size, offset, colours, patterns = (m[b, :, y, x].float() for m in maps[1:])
    loss = focal + F.l1_loss(size, shape[:, :2]) * 2 + F.l1_loss(offset, shape[:, 2:])
    if (colour >= 0).any():
        loss = loss + 0.5 * F.cross_entropy(colours, colour, ignore_index=-1)
    if (pattern >= 0).any():
        loss = loss + 0.5 * F.cross_entropy(patterns, pattern, ignore_index=-1)
    return loss


def train(settings: Settings) -> None:
    """Train, or go on; then write scorer/model.safetensors (half) and accuracy.json."""
    folder, total = settings.out / "scorer", settings.steps or STEPS
    log = start_log(folder, "scorer")
    sprites = settings.out / "sprites" / "sprites.npz"
    data = _pictures(folder / "pictures.npy", sprites, settings)
    torch.manual_seed(settings.seed)
    device = torch.device(settings.device)
    model = Detector().to(device, memory_format=torch.channels_last)
    average = Average(model, 0.998)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=0.01)
    step = 0
    if state := load_checkpoint(folder / "checkpoint.pt"):
        model.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    begin = saved = time.time()
    first, losses = step, []
    for index in batches(len(data), BATCH, settings.seed, step):
        if step >= total:
            break
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, total, PEAK)
        index = np.sort(index)
        pixels = disturb(np.asarray(data[index]))
        truth = targets([scene_of(int(k), settings.seed) for k in index], [look_of(int(k)) for k in index])
        with torch.autocast(device.type, torch.bfloat16):
            maps, _ = model(pixels.to(device, memory_format=torch.channels_last))
        loss = loss_of(maps, tuple(t.to(device) for t in truth))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        average.update(model, step)
        for ours, theirs in zip(average.module.buffers(), model.buffers(), strict=True):
            ours.copy_(theirs)
        step += 1
        losses.append(float(loss.detach()))
        now = time.time()
        if step % 50 == 0:
            speed = (step - first) / (now - begin)
            log.info(
                "step %d/%d loss %.4f, %.1f pictures a second, %.0f min left",
                step,
                total,
                np.mean(losses[-100:]),
                speed * BATCH,
                (total - step) / speed / 60,
            )
        over = now - begin > settings.minutes * 60
        if now - saved > 120 or step == total or over:
            save_checkpoint(
                folder / "checkpoint.pt",
                model=model.state_dict(),
                average=average.module.state_dict(),
                optimizer=optimizer.state_dict(),
                step=step,
            )
            saved = now
        if over:
            return
    best = average.module.cpu().eval()
    save_half(best, folder / "model.safetensors")
    accuracy = {look: judge(best, sprites, look, settings.seed) for look in LOOKS}  # type: ignore[arg-type]
    write_json(folder / "accuracy.json", accuracy)
    for look, row in accuracy.items():
        log.info("%s: %s", look, row)


def _pictures(path: Path, sprites: Path, settings: Settings) -> np.ndarray:
    if not path.exists():
        jobs = [(str(sprites), settings.seed, k, min(k + 250, PICTURES)) for k in range(0, PICTURES, 250)]
        part = path.with_suffix(".part.npy")
        out = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(PICTURES, 128, 128, 3))
        with multiprocessing.get_context("spawn").Pool(settings.threads) as pool:
            for (_, _, start, stop), pictures in zip(jobs, pool.imap(_rendered, jobs), strict=True):
                out[start:stop] = pictures
        out.flush()
        part.rename(path)
    return np.load(path, mmap_mode="r")


def disturb(pixels: np.ndarray) -> Tensor:
    """uint8 → −1 … 1 with the blemishes of drawn pictures: blur, noise, contrast. Draws are softer than renderings."""
    x = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.rand(len(x), 1, 1, 1) * (torch.rand(len(x), 1, 1, 1) < 0.6)
    x = x + share * (soft - x)
    x = x * (0.85 + 0.3 * torch.rand(len(x), 1, 1, 1)) + 0.1 * torch.randn(len(x), 1, 1, 1)
    return (x + torch.rand(len(x), 1, 1, 1) * 0.08 * torch.randn_like(x)).clamp_(-1, 1)


def judge(model: Detector, sprites: Path, look: str, seed: int) -> dict[str, float]:
    """Accuracy on rendered held-out scenes (split "check") of a look: shares of objects found (right name, IoU > 0.4), of colours and
    patterns right among those, of pictures with the exact objects; and the mean IoU of what was found."""
    library = load(sprites)
    scenes = [sample_scene("check", 10_000 + k, seed, blind=True) for k in range(JUDGED)]
    found = total = colours = colour_right = pattern_right = patterns = exact = false = 0
    overlap = 0.0
    for start in range(0, JUDGED, 50):
        part = scenes[start : start + 50]
        for scene, detections in zip(part, detect(np.stack([render(s, look, library).pixels for s in part]), model), strict=True):
            left = list(detections)
            exact += sorted(d.kind for d in detections) == sorted(o.kind for o in scene.objects)
            for o in scene.objects:
                total += 1
                fits: list[tuple[float, Detection]] = [(iou(d.box, o.box), d) for d in left if d.kind == o.kind]
                best = max(fits, key=lambda f: f[0], default=None)
                if best is None or best[0] <= 0.4:
                    continue
                left.remove(best[1])
                found += 1
                overlap += best[0]
                natural = load_world().kinds[o.kind].natural
                if natural and look != "outline":
                    colours += 1
                    colour_right += best[1].colour == (o.colour or natural)
                if natural:
                    patterns += 1
                    pattern_right += best[1].pattern == o.pattern
            false += len(left)
    return {
        "objects": total,
        "found": found / total,
        "mean_iou": overlap / max(1, found),
        "false_per_picture": false / JUDGED,
        "exact_pictures": exact / JUDGED,
        "colour": None if look == "outline" else colour_right / max(1, colours),  # outlines have no colours
        "pattern": pattern_right / max(1, patterns),
    }
