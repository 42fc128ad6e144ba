"""Colours, fonts and small drawings that overlays and charts share. PIL only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..files import whole

Colour = tuple[int, int, int]

PAPER: Colour = (250, 250, 247)
TEXT: Colour = (32, 36, 44)
MUTED: Colour = (112, 118, 128)
GRID: Colour = (226, 227, 224)
SERIES: tuple[Colour, ...] = (
    (214, 84, 56),
    (38, 120, 178),
    (46, 145, 104),
    (150, 84, 165),
    (208, 148, 24),
    (96, 104, 116),
    (201, 92, 140),
    (20, 148, 160),
)
"""Told apart by most colour-blind eyes, in this order; reused cyclically."""

_HEAT = ((0.0, (18, 20, 52)), (0.25, (74, 33, 116)), (0.5, (182, 54, 98)), (0.75, (244, 132, 62)), (1.0, (253, 232, 152)))


def save_whole(image: Image.Image, path: Path) -> None:
    """Write a plain picture, whole or not at all, in the format of the path's suffix.

    Raises:
        OSError: it cannot be written there. ValueError: no format has that suffix.
    """
    Image.init()
    form = Image.EXTENSION.get(path.suffix.lower())
    if form is None:
        raise ValueError(f"{path.suffix or 'no suffix'} is no format of a picture")
    with whole(path, links=False) as stream:
        image.save(stream, form)


def colour(index: int) -> Colour:
    """The index-th colour of a series."""
    return SERIES[index % len(SERIES)]


@lru_cache(maxsize=32)
def font(size: int) -> Any:
    """PIL's own font at a size in pixels."""
    return ImageFont.load_default(size=size)


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width of a text and the height of its line, in pixels."""
    ascent, descent = font(size).getmetrics()
    return round(font(size).getlength(text)), ascent + descent


def fit(text: str, size: int, width: float) -> str:
    """A text cut to a width in pixels, with an ellipsis."""
    text = " ".join(text.split())
    if text_size(text, size)[0] <= width:
        return text
    while text and text_size(text + "…", size)[0] > width:
        text = text[:-1]
    return text.rstrip() + "…" if text else ""


def heat(values: Any) -> Any:
    """Values (h, w) in [0, 1] to colours (h, w, 3) uint8, dark to light."""
    stops, ramp = np.array([stop for stop, _ in _HEAT]), np.array([rgb for _, rgb in _HEAT], dtype=float)
    values = np.clip(values, 0, 1)
    return np.stack([np.interp(values, stops, ramp[:, channel]) for channel in range(3)], axis=-1).round().astype(np.uint8)


def heat_image(values: Any, size: tuple[int, int]) -> Image.Image:
    """A map (h, w) in [0, 1] as an image of `size` (width, height), smoothly enlarged."""
    raw = Image.fromarray(np.asarray(values, dtype=np.float32)).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray(heat(np.asarray(raw)))


def over(picture: Image.Image, values: Any, strength: float = 0.7) -> Image.Image:
    """A heat map (h, w) in [0, 1] over a picture that has lost its colour, so that the colours seen are the map's."""
    grey = picture.convert("L").convert("RGB")
    return Image.blend(grey, heat_image(values, picture.size), strength)


def heat_bar(width: int, height: int) -> Image.Image:
    """The legend of a heat map, 0 at the left and 1 at the right."""
    ramp = np.linspace(0, 1, width)[None].repeat(height, axis=0)
    return Image.fromarray(heat(ramp))


def ink_on(background: Colour) -> Colour:
    """Black or white, whichever is read better."""
    r, g, b = background
    return TEXT if 0.299 * r + 0.587 * g + 0.114 * b > 160 else (255, 255, 255)


def enlarge(picture: Image.Image, scale: int | None = None, least: int = 512) -> Image.Image:
    """A picture that can be looked at: a whole multiple, by default the least whose shorter side is `least` pixels."""
    factor = scale or max(1, -(-least // min(picture.size)))
    picture = picture.convert("RGB")
    if factor == 1:
        return picture.copy()
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)


def outline(image: Image.Image, box: Sequence[float], ink: Colour, width: int) -> None:
    """A rectangle (x0, y0, x1, y1 as shares) with a dark edge, so that it is seen on any picture."""
    draw = ImageDraw.Draw(image)
    x0, y0, x1, y1 = (round(share * (side - 1)) for share, side in zip(box, (*image.size, *image.size), strict=True))
    for grow, tint in ((1, (20, 22, 26)), (0, ink)):
        draw.rounded_rectangle(
            (max(x0 - grow, 0), max(y0 - grow, 0), min(x1 + grow, image.width - 1), min(y1 + grow, image.height - 1)),
            radius=2 * width,
            outline=tint,
            width=width + 2 * grow if grow else width,
        )
