"""python -m realcompo_mini.preview: fit the numbers of quick previews (preview.json) to pictures that the family draws.

A picture's latents (16×16×8) and its pixels, averaged over the 8×8 that belong to a latent pixel: 256 equations a picture for the 9 rows of
`LatentSpace.rgb`, by least squares.
"""

from __future__ import annotations

import argparse
import json
from importlib import resources
from pathlib import Path
from typing import Any

FILE = "preview.json"
PICTURES, BATCH, DIGITS = 48, 12, 4


def rows() -> tuple[tuple[float, float, float], ...] | None:
    """The fitted numbers as `LatentSpace.rgb` wants them; None before the first fit."""
    file = resources.files("realcompo_mini").joinpath(FILE)
    return tuple(tuple(row) for row in json.loads(file.read_text("utf-8"))["rgb"]) if file.is_file() else None  # type: ignore[misc]


def fit(latents: Any, pixels: Any) -> tuple[Any, float]:
    """Rows (C + 1, 3) of least squares, and the share of the pixels' variance that they leave.

    Args:
        latents: (N, C) of latent pixels; pixels: (N, 3) of what is seen there, in [−1, 1].
    """
    import numpy as np

    told = np.concatenate([latents, np.ones((len(latents), 1))], axis=1)
    found = np.linalg.lstsq(told, pixels, rcond=None)[0]
    left = ((pixels - told @ found) ** 2).sum() / ((pixels - pixels.mean(0)) ** 2).sum()
    return found, float(left)


def drawn(pictures: int) -> tuple[Any, Any]:
    """Latents (N, 8) and pixels (N, 3) of so many scenes, drawn by mini/fidelity alone."""
    import numpy as np

    import realcompo as rc
    from realcompo_mini.compare.draw import scenes

    composer = rc.Composer("mini/fidelity", device="cpu")
    latents, pixels = [], []
    found = scenes("tune", pictures)
    for start in range(0, pictures, BATCH):
        part = found[start : start + BATCH]
        result = composer([scene.caption for scene in part], seed=start)
        latents.append(result.latents.permute(0, 2, 3, 1).reshape(-1, result.latents.shape[1]).numpy())
        seen = np.stack([np.asarray(image, dtype=np.float64) for image in result.images]) / 127.5 - 1
        side = seen.shape[1] // result.latents.shape[2]
        blocks = seen.reshape(len(part), seen.shape[1] // side, side, seen.shape[2] // side, side, 3)
        pixels.append(blocks.mean(axis=(2, 4)).reshape(-1, 3))
    return np.concatenate(latents).astype(np.float64), np.concatenate(pixels)


def main() -> None:
    """Draw, fit on three quarters of the pictures, say how well it holds on the rest, write the file."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.preview", description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name(FILE))
    args = parser.parse_args()
    import numpy as np
    import torch

    torch.set_num_threads(args.threads)
    latents, pixels = drawn(args.pictures)
    split = len(latents) * 3 // 4
    found, _ = fit(latents[:split], pixels[:split])
    told = np.concatenate([latents[split:], np.ones((len(latents) - split, 1))], axis=1) @ found
    left = float(((pixels[split:] - told) ** 2).sum() / ((pixels[split:] - pixels[split:].mean(0)) ** 2).sum())
    lines = ",\n".join("  " + json.dumps([round(float(value), DIGITS) for value in row]) for row in found)
    args.output.write_text(f'{{"rgb": [\n{lines}\n], "pictures": {args.pictures}, "unexplained": {round(left, 4)}}}\n', "utf-8")
    print(f"{args.output}: {left:.1%} of the variance of held-out pixels is left")


if __name__ == "__main__":
    main()
