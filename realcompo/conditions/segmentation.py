"""Segments with phrases: what segmentation ControlNets are told. mapping.py reads them from maps and COCO files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from ..errors import BadCondition
from .base import MAX_MAP, Condition, Size, check_phrase, check_size, with_ids
from .mapping import coco_segments, colour_map, index_map
from .runs import compress, decode

if TYPE_CHECKING:
    import numpy as np

    from .palette import Palette

MAX_SIDE = MAX_MAP
MAX_SEGMENTS = 256
MAX_CORNERS = 20_000

Polygon = tuple[float, ...]
"""x0, y0, x1, y1, … in pixels of the map, as COCO writes them."""


class Segment(BaseModel):
    """One segment and its words: `rle` or `polygons`.

    Attributes:
        phrase: words of the prompt that this segment holds.
        label: the class whose colour it takes in the hint; found from the phrase where it is empty.
        rle: COCO's compressed run lengths, of the map's size. A table {counts, size} and a list of runs are read too.
        polygons: filled in each; together they are the segment.
        id: names the region; made from the phrase where it is empty.
        span: (start, end) characters of the prompt, where the phrase alone is not enough.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    phrase: str = ""
    label: str = ""
    rle: str | None = None
    polygons: tuple[Polygon, ...] | None = None
    id: str = ""
    span: tuple[int, int] | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain_runs(cls, data: Any) -> Any:
        """COCO's other forms of a run-length code as the text that recipes hold."""
        runs = data.get("rle") if isinstance(data, Mapping) else None
        if isinstance(runs, Mapping):
            runs = runs.get("counts")
        if isinstance(runs, bytes):
            runs = runs.decode("ascii", "replace")
        if isinstance(runs, Sequence) and not isinstance(runs, str):
            if not all(type(run) is int and run >= 0 for run in runs):
                raise BadCondition("runs are whole numbers, not negative", where="rle", mend="copy COCO's 'counts' as it stands")
            runs = compress(runs)
        return {**data, "rle": runs} if runs is not None else data

    @property
    def name(self) -> str:
        """What its class is looked for by."""
        return self.label or self.phrase


class Segmentation(Condition):
    """Segments of one picture.

    Attributes:
        items: segments that belong to words: each is a region.
        backdrop: segments that are drawn in the hint and belong to no words (a wall, the sky). Painted first.
        size: (height, width) of the map in pixels, which run lengths and polygons belong to. A picture of another shape is refused.

    Raises:
        BadCondition: a segment without phrase, without pixels or with runs of another size; an id used twice.
    """

    kind: ClassVar[str] = "segmentation"
    form: ClassVar[str] = "write size = [h, w] and items = [{ phrase, polygons }], or file = 'map.png' and phrases = { sky = 'the sky' }"
    items: tuple[Segment, ...] = ()
    backdrop: tuple[Segment, ...] = ()
    size: Size

    def __init__(self, items: Mapping[str, Any] | Iterable[Any] = (), /, **data: Any) -> None:
        if isinstance(items, Mapping):
            data = {**items, **data}
        elif "items" not in data:
            data["items"] = tuple(items)
        super().__init__(**data)

    @model_validator(mode="after")
    def _check(self) -> Segmentation:
        check_size(self.size, MAX_SIDE, "a map")
        if len(self.items) + len(self.backdrop) > MAX_SEGMENTS:
            raise BadCondition(f"more than {MAX_SEGMENTS} segments", where="segmentation", mend="join some, or leave some out")
        for index, segment in enumerate(self.items):
            check_phrase(segment.phrase, "segment", f"segment {index}")
        for index, segment in enumerate((*self.items, *self.backdrop)):
            where = f"segment {index} ({segment.name!r})"
            if not segment.name.strip():
                raise BadCondition("a backdrop without a label", where=where, mend="name the class whose colour it takes")
            if not self.mask(segment, where).any():
                raise BadCondition(
                    "it covers no pixel", where=where, mend=f"leave it out; polygons are in pixels of {self.size[1]}×{self.size[0]}"
                )
        object.__setattr__(self, "items", with_ids(self.items, "segment"))
        return self

    def mask(self, segment: Segment, where: str = "") -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(H, W) bool of one of its segments, at the map's size.

        Raises:
            BadCondition: it is neither or both of runs and polygons, or they do not fit the size.
        """
        where = where or f"segment {segment.name!r}"
        if (segment.rle is None) == (segment.polygons is None):
            raise BadCondition("a segment is told by rle or by polygons", where=where, mend="give one of the two")
        if segment.rle is not None:
            return decode(segment.rle, self.size, where)
        return _filled(segment.polygons or (), self.size, where)

    # -- files ----------------------------------------------------------------------------------------------------------------

    @classmethod
    def from_colours(cls, source: Any, phrases: Mapping[str, Any], palette: Palette | None = None) -> Segmentation:
        """From a colour map, ADE20K's by default: a picture's path, a PIL picture or an (H, W, 3) array. Colours that JPEG, WebP or a
        smooth resize mixed are read as the nearest class, and a remark (a warning `realcompo.errors.Mended`) says how many pixels.

        Args:
            phrases: class → words of the prompt; a list of words where a class stands several times: its connected regions from left to
                right. The other classes of the map are the backdrop; black and what is transparent is nothing.

        Raises:
            BadCondition: a colour that is no class's, not even nearly (which, and where), as in a photo; a class that the map lacks.
        """
        return cls(**colour_map(source, phrases, palette))

    @classmethod
    def from_indices(
        cls,
        source: Any,
        phrases: Mapping[str, Any],
        names: Mapping[int, str] | Sequence[str] | None = None,
        *,
        base: int | None = None,
        nothing: int | Sequence[int] | None = None,
    ) -> Segmentation:
        """From an index map (a PNG's path, a PIL picture of mode P or L, an (H, W) array of whole numbers).

        Args:
            phrases: as `from_colours`.
            names: index → class, or a list of classes; ADE20K's by default.
            base: the index of the first class: for ADE20K 1 by default (0 is nothing); 0 for its training labels, where 0 is 'wall' and 255
                is nothing. A list of names counts from 0 by default.
            nothing: the index, or indices, of no class; by default 0, and 255 where classes count from 0, unless they have names.
        """
        return cls(**index_map(source, phrases, names, base, nothing))

    @classmethod
    def from_coco(
        cls,
        source: str | Path | Mapping[str, Any] | Sequence[Any],
        phrases: Mapping[str, Any] | Sequence[str],
        image_id: int | str | None = None,
    ) -> Segmentation:
        """From COCO's JSON with polygons or run lengths: a file, or what it holds.

        Args:
            phrases: category → words (a list where it stands several times, in the file's order; the other categories are the
                backdrop), or a list of words, one an annotation.
            image_id: the picture, where there are several.
        """
        return cls(**coco_segments(source, phrases, image_id))


def _filled(polygons: Sequence[Polygon], size: Size, where: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    import numpy as np
    from skimage import draw

    mask = np.zeros(size, dtype=bool)
    if sum(len(one) for one in polygons) > 2 * MAX_CORNERS:
        raise BadCondition(f"more than {MAX_CORNERS} corners", where=where, mend="write it as run lengths")
    for one in polygons:
        if len(one) < 6 or len(one) % 2:
            raise BadCondition(
                f"a polygon of {len(one)} numbers", where=where, mend="write x0, y0, x1, y1, x2, y2 … with three corners or more"
            )
        xs, ys = np.asarray(one[::2]), np.asarray(one[1::2])
        slack = 1.0  # COCO's own outlines end a little outside
        if not np.isfinite(one).all() or min(xs.min(), ys.min()) < -slack or xs.max() > size[1] + slack or ys.max() > size[0] + slack:
            raise BadCondition(
                "a polygon leaves the map",
                where=where,
                mend=f"its corners are pixels of the map, which is {size[1]} wide and {size[0]} high",
            )
        inside: Any = draw.polygon
        mask[inside(ys - 0.5, xs - 0.5, size)] = True  # a pixel counts whose centre lies inside
    return mask
