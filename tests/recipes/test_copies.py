"""Copies of pictures that a recipe holds: what a viewer shows of the file, and what the digest says. Files and copies are not trusted."""

from __future__ import annotations

import io
import struct
import zlib
from base64 import b64decode, b64encode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from realcompo.errors import BadPicture
from realcompo.recipes.copies import PictureCopy
from realcompo.testing import samples


def bomb(side: int) -> bytes:
    """A PNG of a few kilobytes that unpacks to side² pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    packer = zlib.compressobj()
    rows = b"".join(packer.compress(b"\0" * (3 * side + 1)) for _ in range(64)) + packer.flush()
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def saved(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bomb(30000), "unpacks to too many pixels|30000×30000"),
        (bomb(8000), "8000×8000 pixels"),
        (saved(samples.photo(0, 640, 640))[:-600], "it is damaged"),
        (b"", "no picture that can be read"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 40, "no picture that can be read|damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture that can be read"),
    ],
    ids=["a bomb", "large", "cut off", "empty", "garbage", "PostScript"],
)
def test_files_of_pictures_are_not_trusted(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(BadPicture, match=said):
        PictureCopy.of(path)
    path.unlink()  # tests/canary.py opens what it finds


def test_a_copy_is_upright_opaque_and_bare(tmp_path: Path) -> None:
    """As a viewer shows the file: turned as its EXIF says, white behind what is transparent, and nothing else of the file."""
    image = samples.photo(1, 16, 8)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera's maker"
    image.save(tmp_path / "a.png", exif=exif)
    copy = PictureCopy.of(tmp_path / "a.png")
    assert copy.size == (8, 16) and np.array_equal(copy.image(), image.rotate(-90, expand=True))
    assert b"camera" not in b64decode(copy.png or "")
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert np.asarray(PictureCopy.of(clear).image()).min() == 255


def test_a_copy_that_is_not_what_its_digest_tells_of_is_refused() -> None:
    plain, other = PictureCopy.of(samples.photo(0)).model_dump(), PictureCopy.of(samples.photo(1)).model_dump()
    with pytest.raises(BadPicture, match="not the one that its digest tells of"):
        PictureCopy(**{**plain, "png": other["png"]}).image()
    with pytest.raises(BadPicture, match="damaged"):
        PictureCopy(**{**plain, "png": "@@@"}).image()
    stream = io.BytesIO(bomb(8000))
    packed = b64encode(stream.getvalue()).decode()
    with pytest.raises(BadPicture, match="8000×8000"):
        PictureCopy(**{**plain, "png": packed}).image()
