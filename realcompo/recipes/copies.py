"""Pictures that a picture is drawn from, as a recipe holds them: a digest of the pixels, and a copy as long as it is of bounded size.

They are not trusted: sizes are looked at before anything is unpacked, only formats with few decoders are read, and a path is opened only
where the user named it, never because a recipe holds it (files.py reads those of recipe files, beside the recipe).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from ..arguments import shown
from ..errors import BadPicture

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_FILE = 64 << 20
"""Bytes of a file."""
MAX_PIXELS = 32 << 20
"""Of a picture: 8192 × 4096."""
MAX_COPY = 12 << 20
"""Bytes of a copy: a larger one is left out of the recipe, and told by its digest alone."""

Mode = Literal["RGB", "L"]


class PictureCopy(BaseModel):
    """A picture by the SHA-256 of its pixels, with a copy of them.

    Attributes:
        sha256: of mode, size and pixels, whatever file they came in.
        size: (width, height) in pixels.
        png: the copy, base64; None where it is larger than `MAX_COPY`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of mode, size and pixels")
    size: tuple[int, int] = Field(description="width, height in pixels")
    png: str | None = Field(None, max_length=MAX_COPY * 4 // 3 + 8, repr=False, description="a copy as PNG, base64")
    _image: Any = PrivateAttr(None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PictureCopy) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    @classmethod
    def of(cls, source: Any, mode: Mode = "RGB", name: str = "image") -> PictureCopy:
        """Of a path, a PIL picture, an array (H, W, 3) or (H, W) of 0 to 255, or a copy that is one already.

        Args:
            mode: "L" for masks.
            name: in messages.

        Raises:
            BadPicture: not there, no picture, damaged, too large.
        """
        if isinstance(source, PictureCopy):
            return source
        where = str(source) if isinstance(source, str | Path) else name
        image = _plain(_opened(source, where), mode, where)
        stream = io.BytesIO()
        image.save(stream, "PNG")
        data = stream.getvalue()
        copy = base64.b64encode(data).decode() if len(data) <= MAX_COPY else None
        made = cls(sha256=digest(image), size=image.size, png=copy)
        made._image = image
        return made

    @property
    def here(self) -> bool:
        """Whether its pixels are at hand."""
        return self._image is not None or self.png is not None

    def image(self, name: str = "image") -> Image.Image:
        """The picture.

        Raises:
            BadPicture: only its digest is here; or the copy is damaged, too large, or of another picture than its digest.
        """
        if self._image is None:
            if self.png is None:
                raise BadPicture(
                    f"the picture is too large to be carried: only its digest is here (sha256 {self.sha256[:16]}…, "
                    f"{self.size[0]}×{self.size[1]} pixels)",
                    where=name,
                    mend="give the file itself: realcompo reproduce PICTURE.png --image FILE (or --mask FILE)",
                )
            try:
                data = base64.b64decode(self.png, validate=True)
            except (binascii.Error, ValueError):
                raise BadPicture("the copy of the picture is damaged", where=name, mend="take another copy of the recipe") from None
            image = _opened(io.BytesIO(data), name, formats=("PNG",))
            with _unpacking(name):
                image.load()
            if image.mode not in ("RGB", "L") or image.size != self.size or digest(image) != self.sha256:
                raise BadPicture(
                    "the copy of the picture is not the one that its digest tells of", where=name, mend="take another copy of the recipe"
                )
            self._image = image
        found: Image.Image = self._image
        return found


def digest(image: Image.Image) -> str:
    """SHA-256 of mode, size and pixels: independent of the file's compression."""
    head = f"{image.mode} {image.width}x{image.height} ".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def _opened(source: Any, where: str, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """A picture whose size was looked at before it is unpacked."""
    import numpy as np
    from PIL import Image

    if isinstance(source, str | Path):
        source = io.BytesIO(_read(Path(source).expanduser(), where))
    if isinstance(source, io.BytesIO):
        with _unpacking(where, f"it is no picture that can be read here ({', '.join(formats)})"):
            source = Image.open(source, formats=formats)
    elif isinstance(source, np.ndarray):
        shaped = source.ndim == 2 or (source.ndim == 3 and source.shape[2] in (1, 3, 4))
        if not shaped or source.dtype not in (np.uint8, np.bool_) or source.size == 0:
            raise BadPicture(
                f"an array of shape {source.shape} and type {source.dtype} is no picture",
                where=where,
                mend="give (height, width, 3) or (height, width) of numpy.uint8, 0 to 255",
            )
        array = source[..., 0] if source.ndim == 3 and source.shape[2] == 1 else source
        source = Image.fromarray(array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array)
    if not isinstance(source, Image.Image):
        raise BadPicture(f"{shown(source)} is no picture", where=where, mend="give a path, a PIL picture or an array of bytes")
    if source.width * source.height > MAX_PIXELS:
        raise BadPicture(
            f"it is {source.width}×{source.height} pixels", where=where, mend=f"make it smaller: at most {MAX_PIXELS >> 20} Mi pixels"
        )
    return source


def _plain(image: Image.Image, mode: Mode, where: str) -> Image.Image:
    """Upright (as its EXIF says), without transparency (white behind it), of a mode."""
    from PIL import Image, ImageOps

    with _unpacking(where):
        image.load()
        if re.match("I|F", image.mode):
            raise BadPicture(f"its pixels are of mode {image.mode}: more than 0 to 255", where=where, mend="save it with 8 bits a channel")
        image = ImageOps.exif_transpose(image)
        if mode == "RGB" and image.has_transparency_data:
            front = image.convert("RGBA")
            image = Image.new("RGBA", front.size, "white")
            image.alpha_composite(front)
        plain = image.convert(mode)
    fresh = Image.new(mode, plain.size)
    fresh.paste(plain)  # without what else a file held
    return fresh


def _read(path: Path, where: str) -> bytes:
    try:
        if not path.is_file():
            raise BadPicture("there is no such picture", where=where, mend="check the path")
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise BadPicture(f"it cannot be read: {error.strerror}", where=where, mend="check its name and permissions") from None
    if len(raw) > MAX_FILE:
        raise BadPicture(f"it is larger than {MAX_FILE >> 20} MiB", where=where, mend="make it smaller")
    return raw


@contextmanager
def _unpacking(where: str, what: str = "it is damaged") -> Iterator[None]:
    """A decoder's complaint as an error of ours; of a bomb, too."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is the lower one
            yield
    except Image.DecompressionBombError:
        raise BadPicture("it unpacks to too many pixels", where=where, mend=f"at most {MAX_PIXELS >> 20} Mi pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, MemoryError, UnidentifiedImageError) as error:
        said = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise BadPicture(f"{what}{said}", where=where, mend="save it again as PNG or JPEG") from None
