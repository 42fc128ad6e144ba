"""Files of conditions: small JSON and lossless pictures. They are not trusted: sizes are bounded before anything is unpacked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadCondition, nearest

if TYPE_CHECKING:
    import numpy as np

    from .base import Condition

MAX_JSON = 16 << 20
MAX_PICTURE = 32 << 20
"""Bytes of a file."""
LOSSLESS = ("PNG", "BMP", "TIFF", "GIF")
"""Formats that keep every colour; also few decoders, and none that runs anything."""


def read_json(source: Any) -> tuple[Any, str]:
    """Plain data of a JSON file (or the data, if it was read already), and its name in messages.

    Raises:
        BadCondition: not there, too large, no JSON.
    """
    if not isinstance(source, str | Path):
        return source, "the data"
    where = str(source)
    raw = _read(Path(source).expanduser(), MAX_JSON, "cut out the picture that you need")
    try:
        return json.loads(raw), where
    except (ValueError, RecursionError) as error:
        raise BadCondition(f"it is no JSON: {error}", where=where, mend="is it the right file?") from None


def open_map(source: Any, most: int, colours: bool) -> tuple[np.ndarray[Any, Any], str]:
    """A map as an array, and its name in messages: (H, W, 3) of 0 to 255 with `colours`, else (H, W) of whole numbers.

    Args:
        source: a path, a PIL picture or an array.
        most: pixels along a side.

    Raises:
        BadCondition: not there, too large, in a format that changes colours, or of the other kind.
    """
    import io

    import numpy as np
    from PIL import Image, UnidentifiedImageError

    where = str(source) if isinstance(source, str | Path) else "the map"
    if isinstance(source, np.ndarray):
        return _check_array(source, most, colours, where), where
    if isinstance(source, str | Path):
        raw = _read(Path(source).expanduser(), MAX_PICTURE, "make it smaller")
        try:
            source = Image.open(io.BytesIO(raw), formats=LOSSLESS)
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
            raise BadCondition("it is no PNG", where=where, mend="save the map as PNG: JPEG changes colours") from None
    if not isinstance(source, Image.Image):
        raise BadCondition(f"a {type(source).__name__} is no map", where=where, mend="give a path, a PIL picture or an array")
    if max(source.size) > most:  # before it is unpacked
        raise BadCondition(
            f"it is {source.width}×{source.height} pixels", where=where, mend=f"make it at most {most} along a side, without smoothing"
        )
    if not colours and source.mode not in ("P", "L", "1", "I", "I;16"):
        raise BadCondition(f"it is a picture of colours (mode {source.mode}), not of indices", where=where, mend="read it as a colour map")
    try:
        return np.asarray(source.convert("RGB") if colours else source), where
    except (OSError, ValueError, SyntaxError) as error:
        raise BadCondition(f"it is damaged: {error}", where=where, mend="save it again") from None


def _check_array(array: np.ndarray[Any, Any], most: int, colours: bool, where: str) -> np.ndarray[Any, Any]:
    shaped = array.ndim == 3 and array.shape[2] == 3 if colours else array.ndim == 2
    if not shaped or array.dtype.kind not in "ui" or array.size == 0:
        wanted = "(H, W, 3) of 0 to 255" if colours else "(H, W) of whole numbers"
        raise BadCondition(f"an array of shape {array.shape} and type {array.dtype}", where=where, mend=f"give {wanted}")
    if max(array.shape[:2]) > most:
        raise BadCondition(f"it is {array.shape[1]}×{array.shape[0]} pixels", where=where, mend=f"make it at most {most} along a side")
    return array


def _read(path: Path, most: int, mend: str) -> bytes:
    if not path.is_file():
        raise BadCondition("there is no such file", where=str(path), mend="check the path")
    try:
        with path.open("rb") as stream:
            raw = stream.read(most + 1)
    except OSError as error:
        raise BadCondition(f"it cannot be read: {error.strerror}", where=str(path), mend="check its permissions") from None
    if len(raw) > most:
        raise BadCondition(f"it is larger than {most >> 20} MiB", where=str(path), mend=mend)
    return raw


def coco_picture(data: Any, image_id: int | None, where: str) -> tuple[list[Mapping[str, Any]], tuple[int, int] | None, dict[Any, str]]:
    """One picture of COCO's data: its annotations (or results), its (height, width) if it is told, and category id → name.

    Raises:
        BadCondition: it is no such data, or several pictures and none chosen.
    """
    if isinstance(data, Mapping):
        tables: list[Any] = [data.get("annotations"), data.get("images", []), data.get("categories", [])]
    else:
        tables = [data, [], []]
    if not all(isinstance(table, list) and all(isinstance(one, Mapping) for one in table) for table in tables):
        raise BadCondition(
            "it is not COCO's data", where=where, mend="it holds images, annotations and categories, or is a list of results"
        )
    annotations, images, categories = tables
    ids = sorted({one.get("image_id") for one in annotations} | {one.get("id") for one in images}, key=str)
    if image_id is None:
        if len(ids) > 1:
            some = ", ".join(map(str, ids[:8])) + (" …" if len(ids) > 8 else "")
            raise BadCondition(f"it holds {len(ids)} pictures", where=where, mend=f"choose one: image_id = {some}")
        image_id = ids[0] if ids else None
    elif image_id not in ids:
        raise BadCondition(f"it holds no picture {image_id!r}", where=where, mend=nearest(str(image_id), map(str, ids[:50])))
    image: Mapping[str, Any] = next((one for one in images if one.get("id") == image_id), {})
    height, width = image.get("height"), image.get("width")
    stated = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    names = {one.get("id"): str(one.get("name", "")) for one in categories}
    return [one for one in annotations if one.get("image_id") == image_id], stated, names


# -- files that a recipe names -----------------------------------------------------------------------------------------------------


def _readers() -> dict[str, dict[str, Callable[..., Condition]]]:
    from .keypoints import Keypoints
    from .segmentation import Segmentation

    return {
        "keypoints": {"openpose": Keypoints.from_openpose, "coco": Keypoints.from_coco},
        "segmentation": {"colours": Segmentation.from_colours, "indices": Segmentation.from_indices, "coco": Segmentation.from_coco},
    }


def names_a_file(kind: str, data: Any) -> bool:
    """Whether a recipe's condition says where its data is, in place of the data."""
    return isinstance(data, Mapping) and "file" in data and kind in _readers()


def read_named_file(kind: str, path: Path, data: Mapping[str, Any], where: str) -> Condition:
    """A condition from a file that a recipe names.

    Args:
        path: the file, confined by the caller.
        data: the rest of the table: ``format`` (told from the file if it is missing) and what its reader takes.

    Raises:
        BadCondition.
    """
    readers = _readers()[kind]
    told = {key: value for key, value in data.items() if key not in ("file", "kind", "format")}
    form = data.get("format") or _form(kind, path)
    if form not in readers:
        raise BadCondition(f"no format of {kind} is called {form!r}", where=where, mend=nearest(str(form), readers))
    allowed = {"keypoints": ("phrases", "size", "people", "image_id"), "segmentation": ("phrases", "names", "image_id")}[kind]
    for name in told:
        if name not in allowed:
            raise BadCondition(f"{kind} from a file has no {name!r}", where=where, mend=nearest(name, (*allowed, "file", "format")))
    if isinstance(told.get("size"), Sequence):
        told["size"] = tuple(told["size"])
    if isinstance(told.get("names"), Mapping):
        told["names"] = {_index(key, where): name for key, name in told["names"].items()}
    try:
        return readers[form](path, **told)
    except TypeError as error:  # a table whose values are of other types than the reader's, or not for this format
        raise BadCondition(f"it cannot be read as {form}: {error}", where=where, mend="see docs/conditions.md") from None


def _index(key: Any, where: str) -> int:
    text = str(key)
    if not text.isascii() or not text.isdigit():
        raise BadCondition(f"{key!r} is no index", where=where, mend="write names = { 1 = 'wall', … }")
    return int(text)


def _form(kind: str, path: Path) -> str:
    """The format of a file, from what it is."""
    if path.suffix.lower() != ".json":
        from PIL import Image

        if kind == "keypoints":
            return "openpose"
        try:
            with Image.open(path, formats=LOSSLESS) as image:
                return "indices" if image.mode in ("P", "L", "I", "I;16") else "colours"
        except (OSError, ValueError):
            return "colours"
    if kind == "segmentation":
        return "coco"
    data, _ = read_json(path)
    return "openpose" if isinstance(data, Mapping) and "people" in data else "coco"
