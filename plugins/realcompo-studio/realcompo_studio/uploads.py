"""A picture that is sent: read a piece at a time into a file of bounded size, looked at, and removed. It is a stranger's."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from pathlib import Path

from realcompo.errors import BadPicture
from realcompo.pictures.png import Embedded, read_recipe

from .problems import too_large
from .settings import Limits
from .store import MOST_PIXELS, Store

NAME = "the picture"


async def received(pieces: AsyncIterator[bytes], store: Store, limits: Limits) -> Path:
    """A file that holds what was sent.

    Raises:
        Denied: it is larger than a picture may be; what came of it is removed.
    """
    path, size = store.upload(), 0
    try:
        with path.open("xb") as stream:
            async for piece in pieces:
                size += len(piece)
                if size > limits.upload:
                    raise too_large(f"the picture is larger than {limits.upload >> 20} MiB", "send the PNG as RealCompo saved it")
                stream.write(piece)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def looked_at(path: Path, limits: Limits) -> Embedded:
    """What the file carries. No pixel of it is decoded; a file that says that it would be gigabytes of them is refused.

    Raises:
        BadPicture, BadRecipe: it is no picture of ours, or not one that can be trusted.
    """
    try:
        size = _stated_size(path)
        if size is not None and (size[0] * size[1] > MOST_PIXELS or max(size) > limits.side):
            raise BadPicture(
                f"it says that it is of {size[0]}×{size[1]} pixels", where=NAME, mend="this is no picture of ours: do not trust the file"
            )
        return read_recipe(path)
    except BadPicture as error:
        raise type(error)(error.what, where=NAME, mend=error.mend) from None


def _stated_size(path: Path) -> tuple[int, int] | None:
    """(width, height) that a PNG's head states; None where it is no PNG."""
    with path.open("rb") as stream:
        head = stream.read(24)
    if len(head) < 24 or head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", head[16:24])
    return int(width), int(height)
