"""Masks as run lengths, in COCO's two forms. Column by column from the top left: zeros, ones, zeros, … (the first run may be 0)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import BadCondition
from .base import Size

if TYPE_CHECKING:
    import numpy as np

_BASE = 48
"""Of the text form: a character holds 6 bits of a number above ASCII '0', 5 of its value (the lowest first) and one that says whether
more follow; the fourth run on is written as its difference from the one two before."""


def decode(text: str, size: Size, where: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(H, W) bool of a compressed code.

    Raises:
        BadCondition: it is no code, or of another size.
    """
    return unfold(_read(text, size[0] * size[1], where), size, where)


def encode(mask: np.ndarray[Any, Any]) -> str:
    """The compressed code of an (H, W) mask."""
    return _write(fold(mask))


def compress(counts: Iterable[int]) -> str:
    """The compressed code of plain run lengths."""
    return _write(list(counts))


def fold(mask: np.ndarray[Any, Any]) -> list[int]:
    """Run lengths of an (H, W) mask."""
    import numpy as np

    flat = np.asarray(mask, dtype=bool).flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(np.int8)))
    return [int(run) for run in np.diff(np.concatenate([[0], edges, [flat.size]]))]


def unfold(counts: Sequence[int], size: Size, where: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(H, W) bool of run lengths.

    Raises:
        BadCondition: they do not add up to the map's pixels.
    """
    import numpy as np

    total = size[0] * size[1]
    if any(run < 0 for run in counts) or sum(counts) != total:
        raise BadCondition(
            f"its runs add up to {sum(counts)} pixels, its size says {size[1]}×{size[0]} = {total}",
            where=where,
            mend="give the size (height, width) that the code was made for",
        )
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size, order="F")


def _read(text: str, total: int, where: str) -> list[int]:
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - _BASE
        if not 0 <= bits < 64 or shift > 60:
            raise BadCondition(f"{character!r} is no part of a run-length code", where=where, mend="copy COCO's 'counts' as it stands")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # the highest bit is the sign
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        if not 0 <= counts[-1] <= total:
            raise BadCondition("a run longer than the map", where=where, mend="give the size (height, width) that the code was made for")
        value, shift = 0, 0
    if shift:
        raise BadCondition("the run-length code is cut short", where=where, mend="copy COCO's 'counts' as it stands")
    return counts


def _write(counts: Sequence[int]) -> str:
    letters = []
    for index, run in enumerate(counts):
        value = run - counts[index - 2] if index > 2 else run
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            letters.append(chr(bits + (32 if more else 0) + _BASE))
    return "".join(letters)
