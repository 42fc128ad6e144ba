"""Scenes → pictures of 128×128 pixels in four looks, with masks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from realcompo_mini.train.people import POSES
from realcompo_mini.train.scenes import Scene
from realcompo_mini.world import load_world

PLAIN = {
    "grass": (124, 196, 92),
    "snow": (240, 245, 250),
    "sand": (240, 214, 150),
    "wood": (188, 138, 96),
    "sky": (150, 206, 250),
    "space": (38, 36, 84),
}
WIDE = 160  # side of a background before it is cropped


@dataclass(frozen=True)
class Picture:
    """`pixels` (S, S, 3) uint8; `masks` (N, S, S) bool, what is seen of each object; `variants` the pose of each person; `flipped`."""

    pixels: np.ndarray
    masks: np.ndarray
    variants: tuple[int, ...]
    flipped: tuple[bool, ...]


def _noise(rng: np.random.Generator, *sigma: float | tuple[float, float]) -> np.ndarray:
    """(WIDE, WIDE) smooth noise of unit deviation."""
    total = np.zeros((WIDE, WIDE), np.float32)
    for s in sigma:
        layer = ndimage.gaussian_filter(rng.standard_normal((WIDE, WIDE)).astype(np.float32), s, mode="wrap")
        total += layer / layer.std()
    return total / total.std()


def _shaded(name: str, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:WIDE, :WIDE].astype(np.float32) / WIDE
    n = _noise(rng, 3, 10, 24)
    if name == "grass":
        base = np.array([82, 148, 58]) + (n * 12 + _noise(rng, (4, 0.8)) * 14 + (0.5 - y) * 30)[..., None] * np.array([0.8, 1, 0.5])
    elif name == "snow":
        base = np.array([228, 235, 246]) + (n * 8 + _noise(rng, 0.6) * 3)[..., None] * np.array([1, 0.9, 0.6])
    elif name == "sand":
        ripple = np.sin((y * 14 + n * 0.5 + x * 2) * 2 * np.pi) * 7
        base = np.array([219, 186, 128]) + (n * 6 + ripple + _noise(rng, 0.6) * 5)[..., None]
    elif name == "wood":
        grain = _noise(rng, (0.8, 14)) * 9 + _noise(rng, (2, 30)) * 9
        plank = np.floor(y * 5 + rng.random())
        base = np.array([146, 100, 62]) + (grain + np.sin(plank * 2.4) * 10 - 42 * (((y * 5 + 0.02) % 1) < 0.05))[..., None]
    elif name == "sky":
        base = np.array([92, 162, 238]) + (y * 70)[..., None] * np.array([1, 0.7, 0.15])
        cloud = np.clip(_noise(rng, (7, 12)) * 0.9 - 0.6, 0, 1)[..., None]
        base = base * (1 - 0.8 * cloud) + 250 * 0.8 * cloud
    else:
        base = np.array([16, 14, 40]) + np.clip(n * 22, 0, 70)[..., None] * np.array([0.9, 0.3, 1.2])
        stars = (rng.random((WIDE, WIDE)) > 0.997).astype(np.float32) * 240
        base = base + ndimage.gaussian_filter(stars, 0.6)[..., None] * 1.6
    return np.clip(base, 0, 255).astype(np.uint8)


def _cute(name: str, rng: np.random.Generator) -> np.ndarray:
    """A pastel tone with rows of pale dots."""
    tone = np.array(PLAIN[name]) * 0.45 + np.array([255, 225, 240]) * 0.55
    y, x = np.mgrid[:WIDE, :WIDE]
    row = y // 16
    dot = np.hypot((x + row % 2 * 8 + rng.integers(16)) % 16 - 8, y % 16 - 8) < 2.6
    return np.clip(np.where(dot[..., None], tone * 0.35 + 255 * 0.65, tone), 0, 255).astype(np.uint8)


@lru_cache(maxsize=512)
def _background(look: str, name: str, variant: int) -> np.ndarray:
    """(WIDE, WIDE, 3) uint8."""
    rng = np.random.default_rng(zlib.crc32(f"{look}/{name}/{variant}".encode()))
    if look == "3d":
        return _shaded(name, rng)
    if look == "cute":
        return _cute(name, rng)
    tone = (255, 255, 255) if look == "outline" else PLAIN[name]
    jitter = rng.integers(-6, 7, 3) if look == "flat" else 0
    return np.broadcast_to(np.clip(np.array(tone) + jitter, 0, 255).astype(np.uint8), (WIDE, WIDE, 3))


def render(scene: Scene, look: str, sprites: dict[str, np.ndarray]) -> Picture:
    """Draw a scene in one of the looks "3d", "flat", "outline", "cute". The same scene and look give the same picture."""
    side = load_world().side
    rng = np.random.default_rng(zlib.crc32(f"{scene.seed}/{look}".encode()))
    wide = _background(look, scene.background, int(rng.integers(32)))
    top, left = (int(v) for v in rng.integers(0, WIDE - side + 1, 2))
    canvas = wide[top : top + side, left : left + side].astype(np.float32)
    if rng.random() < 0.5:
        canvas = canvas[:, ::-1].copy()
    masks = np.zeros((len(scene.objects), side, side), bool)
    for k, small, (x0, y0, x1, y1) in _placed(scene, look, sprites):
        if look == "3d":
            _shadow(canvas, small[..., 3] / 255, x0, y0)
        alpha = small[..., 3:] / 255
        canvas[y0:y1, x0:x1] = canvas[y0:y1, x0:x1] * (1 - alpha) + small[..., :3] * alpha
        _see(masks, k, small, x0, y0)
    if look == "3d":
        canvas *= rng.uniform(0.92, 1.06)
    return Picture(np.clip(canvas, 0, 255).astype(np.uint8), masks, *cast(scene))


def cast(scene: Scene) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """What is the same in every look of a scene: the pose of each person (0 for things), and which objects are mirrored."""
    shared = np.random.default_rng(zlib.crc32(scene.seed.encode()))
    variants = tuple(int(shared.integers(len(POSES))) if o.kind == "person" else 0 for o in scene.objects)
    return variants, tuple(bool(shared.random() < 0.5) for _ in scene.objects)


def render_masks(scene: Scene, look: str, sprites: dict[str, np.ndarray]) -> np.ndarray:
    """(N, S, S) bool: what is seen of each object, the `masks` of `render`, in a tenth of its time."""
    side = load_world().side
    masks = np.zeros((len(scene.objects), side, side), bool)
    for k, small, (x0, y0, _, _) in _placed(scene, look, sprites):
        _see(masks, k, small, x0, y0)
    return masks


def _placed(scene: Scene, look: str, sprites: dict[str, np.ndarray]) -> Iterator[tuple[int, np.ndarray, tuple[int, int, int, int]]]:
    """(object, its sprite as float RGBA, its box in pixels) in the order of painting: lowest feet first, so that what stands on a thing is
    drawn over it."""
    side = load_world().side
    variants, flips = cast(scene)
    for k in sorted(range(len(scene.objects)), key=lambda k: -scene.objects[k].box[3]):
        o = scene.objects[k]
        x0, y0, x1, y1 = (round(v * side) for v in o.box)
        sprite = sprites[f"{look}/{o.kind}/{o.colour or ''}/{o.pattern or ''}/{variants[k]}"]
        small = np.asarray(Image.fromarray(sprite).resize((x1 - x0, y1 - y0), Image.Resampling.BOX), np.float32)
        yield k, small[:, ::-1] if flips[k] else small, (x0, y0, x1, y1)


def _see(masks: np.ndarray, k: int, small: np.ndarray, x0: int, y0: int) -> None:
    """Object k covers what lies under it, in place."""
    seen = small[..., 3] > 127
    part = masks[:, y0 : y0 + seen.shape[0], x0 : x0 + seen.shape[1]]
    part &= ~seen
    part[k] |= seen


def _shadow(canvas: np.ndarray, alpha: np.ndarray, x0: int, y0: int, pad: int = 6) -> None:
    """A soft shadow below and to the right of a silhouette (h, w), in place."""
    side = canvas.shape[0]
    soft = ndimage.uniform_filter(ndimage.uniform_filter(np.pad(alpha, pad), 5), 5) * 0.42
    top, left = y0 - pad + 3, x0 - pad + 2
    a, b = max(top, 0), max(left, 0)
    c, d = min(top + soft.shape[0], side), min(left + soft.shape[1], side)
    canvas[a:c, b:d] *= 1 - soft[a - top : c - top, b - left : d - left, None]
