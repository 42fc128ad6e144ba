"""A picture that a ControlNet is shown as it is: edges, depth, a blurred or coarse picture; with boxes for its regions, or none.

The picture stands in the condition itself, as a PNG in base64, so that a recipe and the pictures drawn by it carry it.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from ..errors import BadCondition, nearest
from .base import MAX_MAP, Condition, Size, check_aspect, check_size
from .boxes import Boxes, BoxItem

if TYPE_CHECKING:
    from PIL import Image

HINTS = ("canny", "lineart", "soft-edge", "depth", "normal", "blur", "tile", "gray", "lq")
"""Kinds of hint: thin edges, drawn lines, soft edges, near is bright, surfaces' directions, and the picture itself: blurred, coarse,
without colours, of low quality."""

SAMPLE: dict[str, Any] = {
    "of": "canny",
    "png": "iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQAAAACCEkxzAAAAsklEQVR42rXRvU0DURDE8d/be6CTILiQgOCKoIBXCqVcaZRACRYdYCdnOHkdcJaMxUeAmOiv"
    "nZF2R8v/qduscHu3wlBBGA4rgCaMiUe0QhlO1ilT5hVi0bFN10t+TPoUdi/IKewfGAj5zOgpXN3TbBhDYQhjKsxnK1pOwRJwk/lWYVf0Ci3oL+45hy6S11R/"
    "yPwVkvHXzKR9bdGKTy06tllS7Xg/lFSruS4l7anD5Qe/1RGAyy5SowGMLQAAAABJRU5ErkJggg==",
    "items": [{"phrase": "a cat", "box": [0.08, 0.14, 0.42, 0.95]}, {"phrase": "a house", "box": [0.55, 0.2, 0.98, 0.92]}],
}
"""Edges of a cat and a house in 64×64 pixels, as a recipe holds them: for the samples of specs."""

MAX_BYTES = 32 * 2**20
"""Of a PNG in base64: a file is not trusted."""


class Hint(Condition):
    """A picture and its kind: ``Hint.from_file("edges.png", of="canny", boxes={"a cat": (0.1, 0.3, 0.5, 0.9)})``.

    Attributes:
        png: of the picture, in base64.
        of: one of `HINTS`.
        items: boxes of its regions; none leaves the whole picture to the balance.

    Raises:
        BadCondition: no PNG, of another kind, too large.
    """

    kind: ClassVar[str] = "hint"
    form: ClassVar[str] = "write file = 'edges.png', of = 'canny' and, for its regions, boxes = { phrase = [x0, y0, x1, y1] }"
    png: str
    of: str
    items: tuple[BoxItem, ...] = ()

    def __init__(self, data: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        super().__init__(**{**(data or {}), **more})

    @model_validator(mode="after")
    def _check(self) -> Hint:
        if self.of not in HINTS:
            raise BadCondition(f"no kind of hint is called {self.of!r}", where="hint", mend=nearest(self.of, HINTS))
        if len(self.png) > MAX_BYTES:
            raise BadCondition(
                "a picture of more than 24 MB", where="hint", mend="make it smaller: it is resized to the drawn picture's size"
            )
        check_size(self.size, MAX_MAP, "a hint")
        object.__setattr__(self, "items", Boxes(self.items).items)
        return self

    @classmethod
    def from_file(cls, path: str | Path, of: str, boxes: Any = ()) -> Hint:
        """From a PNG, JPEG or WebP file.

        Raises:
            BadCondition: it is no picture, or too large.
        """
        from PIL import Image

        try:
            with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as found:
                check_size((found.height, found.width), MAX_MAP, "a hint")
                return cls.from_picture(found, of, boxes)
        except (OSError, ValueError, Image.DecompressionBombError):
            raise BadCondition("it cannot be read as a picture", where=str(path), mend="give a PNG, JPEG or WebP file") from None

    @classmethod
    def from_picture(cls, picture: Image.Image, of: str, boxes: Any = ()) -> Hint:
        """From a PIL picture of any mode."""
        file = io.BytesIO()
        picture.convert("RGB").save(file, format="PNG", optimize=True)
        return cls(png=base64.b64encode(file.getvalue()).decode("ascii"), of=of, items=Boxes(boxes).items)

    def _opened(self) -> Image.Image:
        from PIL import Image

        try:
            return Image.open(io.BytesIO(base64.b64decode(self.png, validate=True)), formats=("PNG",))
        except (OSError, ValueError, binascii.Error, Image.DecompressionBombError):
            raise BadCondition("it holds no PNG in base64", where="hint", mend=self.form) from None

    @property
    def size(self) -> Size:
        """(height, width) of the picture in pixels."""
        picture = self._opened()
        return picture.height, picture.width

    def image(self, size: Size) -> Image.Image:
        """The picture as RGB of (height, width) pixels.

        Raises:
            BadCondition: its shape is another.
        """
        from PIL import Image

        check_aspect(self.size, size, "the hint")
        try:
            picture = self._opened().convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise BadCondition("its PNG is damaged", where="hint", mend="save it again") from None
        return picture if picture.size == (size[1], size[0]) else picture.resize((size[1], size[0]), Image.Resampling.LANCZOS)

    def only(self, count: int) -> Hint:
        """The first regions alone: black where the others' boxes are."""
        from PIL import ImageDraw

        picture = self._opened().convert("RGB")
        pen = ImageDraw.Draw(picture)
        for item in self.items[count:]:
            x0, y0, x1, y1 = item.box
            pen.rectangle((x0 * picture.width, y0 * picture.height, x1 * picture.width, y1 * picture.height), fill=0)
        return Hint.from_picture(picture, self.of, self.items[:count])
