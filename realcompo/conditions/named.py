"""Files that a recipe names in place of a condition: which reader takes which, by format and by content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import BadCondition, nearest
from .base import Condition
from .files import LOSSLESS, LOSSY, read_json
from .hint import Hint
from .keypoints import Keypoints
from .poses import is_openpose
from .segmentation import Segmentation

READERS: dict[str, dict[str, Callable[..., Condition]]] = {
    "keypoints": {"openpose": Keypoints.from_openpose, "coco": Keypoints.from_coco},
    "segmentation": {"colours": Segmentation.from_colours, "indices": Segmentation.from_indices, "coco": Segmentation.from_coco},
    "hint": {"picture": Hint.from_file},
}
"""Kind → format → reader."""

_KEYS = {
    "keypoints": ("phrases", "size", "people", "image_id", "frame", "confidence"),
    "segmentation": ("phrases", "names", "image_id", "base", "nothing"),
    "hint": ("of", "boxes"),
}
"""What a table beside ``file`` and ``format`` may hold."""


def names_a_file(kind: str, data: Any) -> bool:
    """Whether a recipe's condition says where its data is, in place of the data."""
    return isinstance(data, Mapping) and "file" in data and kind in READERS


def read_named_file(kind: str, path: Path, data: Mapping[str, Any], where: str) -> Condition:
    """A condition from a file that a recipe names.

    Args:
        path: the file, confined by the caller.
        data: the rest of the table: ``format`` (told from the file if it is missing) and what its reader takes.

    Raises:
        BadCondition.
    """
    readers = READERS[kind]
    told = {key: value for key, value in data.items() if key not in ("file", "kind", "format")}
    form = data.get("format") or _form(kind, path)
    if not isinstance(form, str) or form not in readers:
        raise BadCondition(f"no format of {kind} is called {form!r}", where=where, mend=nearest(str(form), readers))
    for name in told:
        if name not in _KEYS[kind]:
            raise BadCondition(f"{kind} from a file has no {name!r}", where=where, mend=nearest(name, (*_KEYS[kind], "file", "format")))
    if isinstance(told.get("size"), Sequence):
        told["size"] = tuple(told["size"])
    if isinstance(told.get("names"), Mapping):
        told["names"] = {_index(key, where): name for key, name in told["names"].items()}
    try:
        return readers[form](path, **told)
    except (
        TypeError,
        ValueError,
        OverflowError,
    ) as error:  # a table whose values are of other types than the reader's, or not for this format
        raise BadCondition(f"it cannot be read as {form}: {error}", where=where, mend="see docs/conditions.md") from None


def _index(key: Any, where: str) -> int:
    text = str(key)
    if not text.isascii() or not text.isdigit():
        raise BadCondition(f"{key!r} is no index", where=where, mend="write names = { 1 = 'wall', … }")
    return int(text)


def _form(kind: str, path: Path) -> str:
    """The format of a file, from what it is."""
    if kind == "hint":
        return "picture"
    if path.suffix.lower() != ".json":
        from PIL import Image

        if kind == "keypoints":
            return "openpose"
        try:
            with Image.open(path, formats=(*LOSSLESS, *LOSSY)) as image:
                return "indices" if image.format in LOSSLESS and image.mode in ("P", "L", "I", "I;16") else "colours"
        except (OSError, ValueError, Image.DecompressionBombError):
            return "colours"
    if kind == "segmentation":
        return "coco"
    data, _ = read_json(path)
    return "openpose" if is_openpose(data) else "coco"
