"""Colour maps whose colours were mixed (by JPEG, WebP, a smooth resize) as classes again; a picture that is no map is refused.

Flat areas of a map keep their colour almost, so a pixel near a class's colour is sure. Which classes there are is told by them alone, for a
mixture of two classes may look like a third. Every other pixel takes the class of the nearest sure one, if that is near: a map has no
large area of foreign colours, a photo has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

CLOSE = 12.0
"""Distance (root of the summed squares of red, green and blue) at which a colour is still a class's; less where two classes are closer."""
FLAT = 10
"""The most by which a channel differs within 3 × 3 pixels of a flat area."""
FEWEST = 8
"""Pixels of exactly its colour by which a class is there that has no flat area (a pole, a wire), if fewer pixels than those are mixed."""
EXACT = 0.9
"""Of the flat pixels: more that have exactly a class's colour are a file that kept colours."""
SMALLEST = (4, 2e-4)
"""Flat pixels of a class, or their share of all, where a file changed colours: fewer are an artefact."""
RIVAL = (24.0, 4)
"""There, a class so close to another is an artefact of it where the other has more than so many times its flat pixels."""
SURE_SHARE = 0.4
"""Of the pixels that are not nothing: fewer sure ones in flat areas are no map."""
TRUE = 6.0
"""Distance of half of those pixels at most: in a photo of a class's grey they are as many farther off."""
MOST_COLOURS = 1 << 17
"""More different colours are a photo; to compare each with each class would take minutes."""
REACH = (8, 32)
"""A mixed pixel lies within so many pixels of a sure one, or within this fraction of the shorter side."""
FAR_SHARE = 0.002
"""Of all pixels: more that lie farther are no mixtures."""
STRANGE = (12, 3, 8)
"""One foreign colour over 12 × 12 pixels is a class that the palette lacks; of 3 × 3 where there are at most 8 foreign colours, for
mixtures make more."""


@dataclass(frozen=True)
class Mended:
    """A map of classes.

    Attributes:
        classes: (H, W), index into the palette's colours, -1 where nothing is.
        changed: how many pixels were not exactly of the colour that they were read as.
        strange: (H, W) bool, pixels that cannot be read; None where all could.
    """

    classes: Array
    changed: int
    strange: Array | None = None


def mended(pixels: Array, colours: Array) -> Mended:
    """Classes of (H, W, 3) pixels, 0 to 255, by a palette (K, 3) whose last colour is nothing's."""
    import numpy as np
    from scipy import ndimage

    codes = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    unique, inverse = np.unique(codes, return_inverse=True)
    if len(unique) > MOST_COLOURS:
        return Mended(codes, 0, np.ones(codes.shape, bool))
    nearest, distance = _nearest(unique, colours)
    room = np.minimum(CLOSE, _apart(colours) / 2)
    numbered = nearest[inverse].reshape(codes.shape)
    sure = (distance <= room[nearest])[inverse].reshape(codes.shape)
    exact = (distance == 0)[inverse].reshape(codes.shape)
    strange = _strange(codes, sure, len(np.unique(codes[~sure])))
    if strange.any():
        return Mended(numbered, 0, strange)
    low = ndimage.minimum_filter(pixels, size=(3, 3, 1), mode="nearest")
    spread = (ndimage.maximum_filter(pixels, size=(3, 3, 1), mode="nearest") - low).max(axis=2)
    flat = sure & (spread <= FLAT)
    sure &= _there(numbered, flat, exact, spread == 0, colours, int((~sure).sum()))[numbered]
    nothing = len(colours) - 1
    something = ~((numbered == nothing) & sure)
    known = flat & sure & something
    if (
        known.sum() < SURE_SHARE * something.sum()
        or not known.any()
        or float(np.median(distance[inverse].reshape(codes.shape)[known])) > TRUE
    ):
        return Mended(numbered, 0, something if something.any() else ~something)
    away, nearest_sure = ndimage.distance_transform_edt(~sure, return_indices=True)
    far = away > max(REACH[0], min(codes.shape) / REACH[1])
    if far.sum() > FAR_SHARE * far.size:
        return Mended(numbered, 0, far)
    classes = numbered[tuple(nearest_sure)]
    exactly = exact & (numbered == classes)
    return Mended(np.where(classes == nothing, -1, classes), int((~exactly).sum()))


def _there(numbered: Array, flat: Array, exact: Array, even: Array, colours: Array, mixed: int) -> Array:
    """(K,) bool: which classes a map holds, by its flat areas.

    Args:
        flat, exact, even: (H, W) bool: surely of a class and about as its neighbours, exactly of it, just as its neighbours.
        mixed: how many pixels are not sure.
    """
    import numpy as np

    flat = flat & _alike(numbered, 3)
    count = len(colours)
    support = np.bincount(numbered[flat], minlength=count)
    exactly = np.bincount(numbered[flat & exact & even], minlength=count)
    if exactly.sum() >= EXACT * support.sum():
        found: Array = (exactly > 0) | (np.bincount(numbered[exact], minlength=count) >= max(FEWEST, mixed))
        return found
    found = support >= max(SMALLEST[0], SMALLEST[1] * numbered.size)
    close = ((colours[:, None, :] - colours[None, :, :]) ** 2).sum(axis=2) < RIVAL[0] ** 2
    beaten = close & (support[None, :] > RIVAL[1] * support[:, None])
    kept: Array = found & ~beaten.any(axis=1)
    return kept


def _strange(codes: Array, sure: Array, kinds: int) -> Array:
    """(H, W) bool: the middles of areas of one foreign colour."""
    large, small, most = STRANGE
    return ~sure & _alike(codes, small if kinds <= most else large)


def _alike(values: Array, size: int) -> Array:
    """(H, W) bool: whether all values in a square about each pixel are the same."""
    from scipy import ndimage

    low = ndimage.minimum_filter(values, size=size, mode="nearest")
    alike: Array = low == ndimage.maximum_filter(values, size=size, mode="nearest")
    return alike


def palette_array(palette: Mapping[str, Any], nothing: Any) -> Array:
    """(K, 3): each colour of a palette once, in its order, and nothing's last."""
    import numpy as np

    seen = dict.fromkeys(tuple(int(part) for part in colour) for colour in palette.values())
    seen.pop(tuple(nothing), None)
    return np.array([*seen, tuple(nothing)], dtype=np.int32)


def _nearest(codes: Array, colours: Array) -> tuple[Array, Array]:
    """For each colour, as a number, the nearest of the palette and its distance; in pieces, so that memory stays small."""
    import numpy as np

    nearest, distance = np.empty(len(codes), np.int32), np.empty(len(codes), np.float32)
    for start in range(0, len(codes), 1 << 15):
        part = codes[start : start + (1 << 15)].astype(np.int32)
        rgb = np.stack([part >> 16, (part >> 8) & 255, part & 255], axis=1)
        squares = ((rgb[:, None, :] - colours[None, :, :]) ** 2).sum(axis=2)
        nearest[start : start + len(part)] = squares.argmin(axis=1)
        distance[start : start + len(part)] = np.sqrt(squares.min(axis=1))
    return nearest, distance


def _apart(colours: Array) -> Array:
    """Each colour's distance to the nearest other."""
    import numpy as np

    squares = ((colours[:, None, :] - colours[None, :, :]) ** 2).sum(axis=2).astype(np.float32)
    np.fill_diagonal(squares, np.inf)
    found: Array = np.sqrt(squares.min(axis=1))
    return found
