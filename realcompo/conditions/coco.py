"""COCO's tables as plain data: images, annotations (or results) and the names of categories, by id. Ids and numbers may be texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadCondition, nearest
from .base import Size
from .values import key, side

Row = Mapping[str, Any]


@dataclass(frozen=True)
class CocoPicture:
    """One picture.

    Attributes:
        image: its row in the table of images; empty where there is none.
        annotations: (number in the file, row) of each.
        size: (height, width) in pixels, if it is told.
    """

    id: str | None
    image: Row
    annotations: tuple[tuple[int, Row], ...]
    size: Size | None


@dataclass(frozen=True)
class CocoTables:
    """All pictures by id, in the file's order, and category id → name."""

    pictures: Mapping[str | None, CocoPicture]
    names: Mapping[str | None, str]

    def name(self, category_id: Any) -> str:
        """The name of a category; empty where it has none."""
        return self.names.get(key(category_id), "")

    def picture(self, image_id: Any, where: str) -> CocoPicture:
        """The picture of an id, or the only one.

        Raises:
            BadCondition: several and none chosen, or none of that id.
        """
        if image_id is None:
            if len(self.pictures) > 1:
                some = ", ".join(str(one) for one in [*self.pictures][:8]) + (" …" if len(self.pictures) > 8 else "")
                raise BadCondition(f"it holds {len(self.pictures)} pictures", where=where, mend=f"choose one: image_id = {some}")
            return next(iter(self.pictures.values()), CocoPicture(None, {}, (), None))
        found = self.pictures.get(key(image_id))
        if found is None:
            raise BadCondition(
                f"it holds no picture {image_id!r}", where=where, mend=nearest(str(image_id), map(str, [*self.pictures][:50]))
            )
        return found


def read_tables(data: Any, where: str) -> CocoTables:
    """COCO's data: a file of annotations, or a list of results.

    Raises:
        BadCondition: it is no such data.
    """
    if isinstance(data, Mapping):
        tables: list[Any] = [data.get("annotations"), data.get("images") or [], data.get("categories") or []]
    else:
        tables = [data, [], []]
    if not all(isinstance(table, list) and all(isinstance(one, Mapping) for one in table) for table in tables):
        raise BadCondition(
            "it is not COCO's data", where=where, mend="it holds images, annotations and categories, or is a list of results"
        )
    annotations, images, categories = tables
    rows: dict[str | None, list[tuple[int, Row]]] = {}
    heads: dict[str | None, Row] = {}
    for one in images:
        heads.setdefault(key(one.get("id")), one)
        rows.setdefault(key(one.get("id")), [])
    for place, one in enumerate(annotations):
        rows.setdefault(key(one.get("image_id")), []).append((place, one))
    pictures = {}
    for id, found in rows.items():
        image = heads.get(id, {})
        height, width = side(image.get("height")), side(image.get("width"))
        size = (height, width) if height is not None and width is not None else None
        pictures[id] = CocoPicture(id, image, tuple(found), size)
    return CocoTables(pictures, {key(one.get("id")): _name(one.get("name")) for one in categories})


def _name(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else ""
