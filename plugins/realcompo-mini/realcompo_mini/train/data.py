"""Rendered pictures and latents on disk: uint8 and float16 memmaps, written once, in parallel where it pays."""

from __future__ import annotations

import json
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from realcompo_mini.train.render import render
from realcompo_mini.train.scenes import Scene, sample_scene
from realcompo_mini.train.sprites import load

log = logging.getLogger(__name__)
# what the autoencoder sees: (look, share)
MIXTURE = (("3d", 0.45), ("flat", 0.3), ("cute", 0.12), ("outline", 0.13))


def _mixed(args: tuple[str, int, int, int]) -> np.ndarray:
    """(stop − start, S, S, 3) uint8 pictures of all looks."""
    sprites, seed, start, stop = args
    library = load(Path(sprites))
    bounds = np.cumsum([share for _, share in MIXTURE])
    pictures = []
    for index in range(start, stop):
        look = MIXTURE[int(np.searchsorted(bounds, (index * 0.6180339887) % 1.0, side="right").clip(max=len(MIXTURE) - 1))][0]
        pictures.append(render(sample_scene("train", index, seed, blind=True), look, library).pixels)
    return np.stack(pictures)


def render_mixture(path: Path, sprites: Path, count: int, seed: int, processes: int) -> np.ndarray:
    """A (count, 128, 128, 3) uint8 memmap of scenes in all looks; made when the file is missing or shorter."""
    if path.exists():
        have = np.load(path, mmap_mode="r")
        if len(have) >= count:
            return have
    part = path.with_suffix(".part.npy")
    out = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(count, 128, 128, 3))
    jobs = [(str(sprites), seed, start, min(start + 250, count)) for start in range(0, count, 250)]
    begin = time.time()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for (_, _, start, stop), pictures in zip(jobs, pool.imap(_mixed, jobs), strict=True):
            out[start:stop] = pictures
            if start % 5000 == 0:
                log.info("rendered %d / %d pictures, %.0f a second", stop, count, stop / (time.time() - begin))
    out.flush()
    part.rename(path)
    return np.load(path, mmap_mode="r")


def encode_scenes(
    folder: Path,
    sprites: Path,
    encode: Callable[[torch.Tensor], torch.Tensor],
    scene_of: Callable[[int], Scene],
    look: str,
    count: int,
    facts: dict[str, object],
) -> None:
    """Render and encode scenes, resumably: latents.npy (count, 8, 16, 16) float16 and done.json in `folder`.

    The scenes themselves are not kept: `scene_of(index)` gives them again. `facts` say which they are, for people.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "done.json"
    path = folder / "latents.npy"
    done = json.loads(mark.read_text())["done"] if mark.exists() else 0
    if done >= count:
        return
    if path.exists() and len(np.load(path, mmap_mode="r")) >= count:
        out = np.load(path, mmap_mode="r+")
    else:
        old = np.load(path) if path.exists() else None
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(count, 8, 16, 16))
        if old is not None:
            out[:done] = old[:done]
    library, begin, first = load(sprites), time.time(), done
    while done < count:
        stop = min(done + 50, count)
        pictures = np.stack([render(scene_of(k), look, library).pixels for k in range(done, stop)])
        out[done:stop] = encode(to_tensor(pictures)).half().numpy()
        done = stop
        if done % 2000 == 0 or done == count:
            out.flush()
            write_json(mark, {"done": done, **facts})
            log.info("encoded %d / %d %s scenes, %.0f a second", done, count, look, (done - first) / (time.time() - begin))


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """(B, H, W, 3) uint8 → (B, 3, H, W) float32 in −1 … 1, channels last in memory."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def batches(count: int, size: int, seed: int, start: int = 0) -> Iterator[np.ndarray]:
    """Endless index batches, epoch after epoch; `start` skips as many batches (to resume where one stopped)."""
    per_epoch = count // size
    step = start
    while True:
        epoch, k = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(count)
        for j in range(k, per_epoch):
            yield order[j * size : (j + 1) * size]
            step += 1


def write_json(path: Path, data: object) -> None:
    """Write a file whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(data, indent=1))
    part.replace(path)
