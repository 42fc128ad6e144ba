"""Reading files of conditions: small JSON and pictures, as plain data. They are not trusted: sizes are bounded first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadCondition

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

MAX_JSON = 16 << 20
MAX_PICTURE = 32 << 20
"""Bytes of a file."""
LOSSLESS = ("PNG", "BMP", "TIFF", "GIF")
"""Formats that keep every colour; also few decoders, and none that runs anything."""
LOSSY = ("JPEG", "WEBP")
"""Formats that may change colours: a map of colours is read from them by the nearest class, indices are not."""


def read_json(source: Any) -> tuple[Any, str]:
    """Plain data of a JSON file (or the data, if it was read already), and its name in messages.

    Raises:
        BadCondition: not there, too large, no JSON.
    """
    if not isinstance(source, str | Path):
        return source, "the data"
    where = str(source)
    raw = read_bytes(Path(source).expanduser(), MAX_JSON, "cut out the picture that you need")
    try:
        return json_of(raw), where
    except (ValueError, RecursionError) as error:
        said = "it is empty" if not raw.strip() else str(error)
        raise BadCondition(f"it is no JSON: {said}", where=where, mend="is it the right file?") from None


def json_of(text: str | bytes) -> Any:
    """Plain data of JSON.

    Raises:
        ValueError: no JSON, or a text in it that is none: half of a surrogate pair, which JSON can spell. RecursionError: too deep.
    """
    data = json.loads(text)
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text in it holds half of a surrogate pair, which is no character") from None
    return data


def open_colours(source: Any, most: int) -> tuple[np.ndarray[Any, Any], str]:
    """A map of colours, (H, W, 3) of 0 to 255, and its name in messages. What is transparent is black.

    Args:
        source: a path, a PIL picture or an array.
        most: pixels along a side.

    Raises:
        BadCondition: not there, too large, damaged, or no picture.
    """
    import numpy as np

    where = str(source) if isinstance(source, str | Path) else "the map"
    if isinstance(source, np.ndarray):
        shaped = source.ndim == 3 and source.shape[2] == 3
        return _checked(source, shaped, most, "(H, W, 3) of 0 to 255", where), where
    picture = _opened(source, (*LOSSLESS, *LOSSY), most, where, "save the map as PNG")
    return _pixels(picture, "RGBA" if picture.has_transparency_data else "RGB", where), where


def open_indices(source: Any, most: int) -> tuple[np.ndarray[Any, Any], str]:
    """A map of indices, (H, W) of whole numbers, and its name in messages; else as `open_colours`. A picture whose three channels are the
    same is one of indices too.

    Raises:
        BadCondition: as `open_colours`; also a file in a format that changes numbers, or a picture of colours.
    """
    import numpy as np

    where = str(source) if isinstance(source, str | Path) else "the map"
    if isinstance(source, np.ndarray):
        array = source[..., 0] if source.ndim == 3 and source.shape[2] == 1 else source
        return _checked(array, array.ndim == 2, most, "(H, W) of whole numbers", where), where
    picture = _opened(source, LOSSLESS, most, where, "save the map of indices as PNG: JPEG and WebP change its numbers")
    if picture.mode in ("P", "L", "1", "I", "I;16"):
        return _pixels(picture, None, where), where
    if picture.mode in ("RGB", "RGBA", "LA"):
        channels = _pixels(picture, "RGB", where)
        if (channels == channels[..., :1]).all():
            return channels[..., 0], where
    raise BadCondition(f"it is a picture of colours (mode {picture.mode}), not of indices", where=where, mend="read it as a colour map")


def read_bytes(path: Path, most: int, mend: str) -> bytes:
    """A file whole, if it is no larger than `most` bytes.

    Raises:
        BadCondition: not there, not to be read, or larger; the last with `mend`.
    """
    try:
        if not path.is_file():
            raise BadCondition("there is no such file", where=str(path), mend="check the path")
        with path.open("rb") as stream:
            raw = stream.read(most + 1)
    except OSError as error:
        raise BadCondition(f"it cannot be read: {error.strerror}", where=str(path), mend="check its permissions") from None
    if len(raw) > most:
        raise BadCondition(f"it is larger than {most >> 20} MiB", where=str(path), mend=mend)
    return raw


def _opened(source: Any, formats: tuple[str, ...], most: int, where: str, mend: str) -> Image.Image:
    """A picture whose size was looked at before it is unpacked."""
    import io

    from PIL import Image, UnidentifiedImageError

    if isinstance(source, str | Path):
        raw = read_bytes(Path(source).expanduser(), MAX_PICTURE, "make it smaller")
        try:
            source = Image.open(io.BytesIO(raw), formats=formats)
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise BadCondition(f"it is no {' and no '.join(formats[:1])}", where=where, mend=mend) from None
    if not isinstance(source, Image.Image):
        raise BadCondition(f"a {type(source).__name__} is no map", where=where, mend="give a path, a PIL picture or an array")
    if max(source.size) > most:
        raise BadCondition(
            f"it is {source.width}×{source.height} pixels", where=where, mend=f"make it at most {most} along a side, without smoothing"
        )
    return source


def _pixels(picture: Image.Image, mode: str | None, where: str) -> np.ndarray[Any, Any]:
    import numpy as np
    from PIL import Image

    try:
        pixels = np.asarray(picture if mode is None else picture.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadCondition(f"it is damaged: {error}", where=where, mend="save it again") from None
    if mode != "RGBA":
        return pixels
    return np.where(pixels[..., 3:] < 128, 0, pixels[..., :3]).astype(np.uint8)


def _checked(array: np.ndarray[Any, Any], shaped: bool, most: int, wanted: str, where: str) -> np.ndarray[Any, Any]:
    if not shaped or array.dtype.kind not in "uib" or array.size == 0:
        raise BadCondition(f"an array of shape {array.shape} and type {array.dtype}", where=where, mend=f"give {wanted}")
    if max(array.shape[:2]) > most:
        raise BadCondition(f"it is {array.shape[1]}×{array.shape[0]} pixels", where=where, mend=f"make it at most {most} along a side")
    return array
