"""Sprites of the mini world: fetched once (Microsoft's Fluent emoji, MIT), recoloured, patterned, in four looks.

Looks: "3d" shaded, "flat" plain, "outline" black lines on white, "cute" pastel with a white rim.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from realcompo_mini.train.common import Settings
from realcompo_mini.train.people import POSES, draw_person
from realcompo_mini.world import Kind, World, load_world

LOOKS = ("3d", "flat", "outline", "cute")
DRAW = 256  # pixels at which sprites are made
KEEP = 96  # longest side at which they are kept
PACKAGES = {"@lobehub/fluent-emoji-3d@1.1.0": "3d", "@iconify-json/fluent-emoji-flat@1.2.6": "flat"}
NOTICE = (
    "The sprites are Fluent Emoji by Microsoft Corporation, MIT licence (https://github.com/microsoft/fluentui-emoji), as packed by\n"
    "@lobehub/fluent-emoji-3d 1.1.0 (MIT, LobeHub) and @iconify-json/fluent-emoji-flat 1.2.6 (MIT, Iconify).\n"
    "Persons are drawn by RealCompo.\n"
)


def fetch(folder: Path) -> None:
    """Fetch and unpack the two packages by `npm pack` into `folder`; does nothing when they are there."""
    for package, name in PACKAGES.items():
        if (folder / name / "package").is_dir():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(["npm", "pack", package], cwd=folder, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise RuntimeError(
                f"cannot fetch the sprites: `npm pack {package}` failed in {folder}; is npm installed and online?"
            ) from error
        with tarfile.open(folder / done.stdout.split()[-1]) as archive:
            archive.extractall(folder / name, filter="data")
    (folder / "NOTICE.txt").write_text(NOTICE)


def outer(image: np.ndarray) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of what is seen of (H, W, 4) uint8, pixels; the ends are exclusive."""
    rows, columns = np.nonzero(image[..., 3] > 16)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def in_look(flat: np.ndarray, shaded: np.ndarray) -> dict[str, np.ndarray]:
    """Look → a sprite at drawing size, from its flat and its shaded form."""
    return {"3d": shaded, "flat": flat, "outline": _outline(flat), "cute": _cute(shaded)}


def _crop(image: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = outer(image)
    return image[y0:y1, x0:x1]


def _hsv(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("HSV")).astype(np.float32)


def _paintable(image: np.ndarray, hue: float) -> np.ndarray:
    """(H, W) in 0…1: the pixels whose hue (degrees) is near the sprite's own."""
    hsv = _hsv(image[..., :3])
    distance = np.abs((hsv[..., 0] * 360 / 255 - hue + 180) % 360 - 180)
    return np.clip((62 - distance) / 8, 0, 1) * np.clip((hsv[..., 1] - 70) / 40, 0, 1) * (image[..., 3] > 0)


def _recolour(image: np.ndarray, mask: np.ndarray, own_hue: float, colour: str, world: World) -> np.ndarray:
    target = world.colours[colour]
    hsv = _hsv(image[..., :3])
    drift = ((hsv[..., 0] * 360 / 255 - own_hue + 180) % 360 - 180) * 0.15
    hue = (target.hue + drift) % 360 * 255 / 360
    # one brightness for every natural colour, or a purple umbrella turned yellow would be brown
    level = float(np.median(hsv[..., 2][mask > 0.5])) if (mask > 0.5).any() else 255.0
    value = np.clip(hsv[..., 2] * (225 / level) * target.value, 0, 255)
    saturation = np.clip(np.maximum(hsv[..., 1], 150) * target.saturation, 0, 255)
    painted = np.asarray(Image.fromarray(np.stack([hue, saturation, value], -1).astype(np.uint8), "HSV").convert("RGB"))
    out = image.copy()
    out[..., :3] = (image[..., :3] * (1 - mask[..., None]) + painted * mask[..., None]).astype(np.uint8)
    return out


def _pattern(image: np.ndarray, mask: np.ndarray, pattern: str) -> np.ndarray:
    rows, columns = np.nonzero(mask > 0.5)
    if not len(rows):
        return image
    h, w = np.ptp(rows) + 1, np.ptp(columns) + 1
    period = max(h, w) / 3.6
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    y, x = y - rows.min(), x - columns.min()
    if pattern == "striped":
        on = np.clip((np.sin((x * 0.8 + y * 0.6) * 2 * np.pi / period) - 0.15) * 4, 0, 1)
    else:
        row = np.floor(y / (period * 0.75))
        dx = (x + (row % 2) * period / 2) % period - period / 2
        dy = y % (period * 0.75) - period * 0.375
        on = np.clip(period * 0.27 - np.hypot(dx, dy), 0, 1)
    weight = (on * mask * 0.92)[..., None]
    out = image.copy()
    out[..., :3] = (image[..., :3] * (1 - weight) + 252 * weight).astype(np.uint8)
    return out


def _outline(flat: np.ndarray) -> np.ndarray:
    """Black lines where a flat sprite changes colour, white inside."""
    alpha = flat[..., 3:].astype(np.float32) / 255
    rgb = flat[..., :3] * alpha + 255 * (1 - alpha)
    channels = [ndimage.gaussian_filter(c, 1.5) for c in (*np.moveaxis(rgb, -1, 0), flat[..., 3].astype(np.float32))]
    slope = np.sqrt(sum(ndimage.sobel(c, 0) ** 2 + ndimage.sobel(c, 1) ** 2 for c in channels))
    line = ndimage.gaussian_filter(ndimage.binary_dilation(slope > 110, iterations=2).astype(np.float32), 1.2)
    out = np.full_like(flat, 255)
    out[..., :3] = (255 * (1 - np.clip(line * 1.3, 0, 1)))[..., None].astype(np.uint8)
    out[..., 3] = np.maximum(flat[..., 3], (np.clip(line, 0, 1) * 255).astype(np.uint8))
    return out


def _cute(image: np.ndarray) -> np.ndarray:
    """Pastel, with the white rim of a sticker."""
    out = image.copy()
    out[..., :3] = (0.55 * image[..., :3].astype(np.float32) + 0.45 * 255).astype(np.uint8)
    distance = ndimage.distance_transform_edt(image[..., 3] < 128)
    rim = np.clip(13 - distance, 0, 1)
    alpha = image[..., 3:].astype(np.float32) / 255
    out[..., :3] = (out[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    out[..., 3] = np.maximum(image[..., 3], (rim * 255).astype(np.uint8))
    return out


def _keep(image: np.ndarray) -> np.ndarray:
    image = _crop(image)
    scale = KEEP / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _base(folder: Path, kind: Kind, look: str, icons: dict[str, dict[str, str]]) -> np.ndarray:
    """(DRAW + 32)² RGBA with a border for rims and lines."""
    if look == "3d":
        image = Image.open(folder / "3d" / "package" / "assets" / f"{kind.code}.webp").convert("RGBA")
    else:
        import cairosvg

        body = icons[kind.icon]["body"]
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{body}</svg>'
        image = Image.open(io.BytesIO(cairosvg.svg2png(svg.encode(), output_width=DRAW, output_height=DRAW))).convert("RGBA")
    data = np.pad(np.asarray(image.resize((DRAW, DRAW), Image.Resampling.LANCZOS)), ((16, 16), (16, 16), (0, 0)))
    if kind.shade != 1:
        data = np.concatenate([(data[..., :3] * kind.shade).astype(np.uint8), data[..., 3:]], -1)
    return data


def build(folder: Path) -> dict[str, np.ndarray]:
    """Every sprite, keyed "look/kind/colour/pattern/variant" → (h, w, 4) uint8 RGBA, longest side KEEP; "" for no colour or pattern."""
    world = load_world()
    icons = json.loads((folder / "flat" / "package" / "icons.json").read_text())["icons"]
    sprites: dict[str, np.ndarray] = {}
    for kind in world.kinds.values():
        colours = ("", *world.colours) if kind.colourable else ("",)
        patterns = ("", *world.patterns) if kind.colourable else ("",)
        for colour in colours:
            for pattern in patterns:
                for variant in range(len(POSES) if not kind.icon else 1):
                    flat, shaded = _pair(folder, kind, colour, pattern, variant, icons, world)
                    for look, image in in_look(flat, shaded).items():
                        sprites[f"{look}/{kind.name}/{colour}/{pattern}/{variant}"] = _keep(image)
    return sprites


def _pair(
    folder: Path, kind: Kind, colour: str, pattern: str, variant: int, icons: dict[str, dict[str, str]], world: World
) -> tuple[np.ndarray, np.ndarray]:
    """(flat, 3d) at drawing size."""
    if not kind.icon:
        images = []
        for shaded in (False, True):
            image, shirt = draw_person(POSES[variant], world.colours[colour or kind.natural or "blue"].hue, shaded)
            images.append(_pattern(image, shirt, pattern) if pattern else image)
        return images[0], images[1]
    pair = []
    for look in ("flat", "3d"):
        image = _base(folder, kind, look, icons)
        if colour or pattern:
            mask = _paintable(image, kind.hue)
            if colour and colour != kind.natural:
                image = _recolour(image, mask, kind.hue, colour, world)
            if pattern:
                image = _pattern(image, mask, pattern)
        pair.append(image)
    return pair[0], pair[1]


def prepare(folder: Path) -> Path:
    """Fetch and build once; returns the file sprites.npz."""
    path = folder / "sprites.npz"
    if not path.exists():
        fetch(folder)
        sprites = build(folder)
        part = path.with_suffix(".part.npz")
        np.savez(part, **sprites)
        part.rename(path)
    return path


def run(settings: Settings) -> None:
    """Stage `sprites`."""
    prepare(settings.out / "sprites")


@lru_cache(maxsize=2)
def load(path: Path) -> dict[str, np.ndarray]:
    """The sprites of sprites.npz, in memory."""
    with np.load(path, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}
