"""Pascal VOC's XML: objects with a name and corners in pixels. Read by expat with nothing that XML could be misused for: a document type
(and so every entity) is refused, depth, elements and text are bounded.

VOC itself counts pixels from 1 and both corners belong to the box; most programs that write its format count from 0. A file is read as
counting from 1 if it says that it is VOC's own, or if a box begins at 1 and none at 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from ...conditions import BoxItem, Size
from ...conditions.values import number, side
from ...errors import BadCondition
from .base import Layout
from .boxes import MOST_PICTURES, bounds, item_of, items_of, stem

_DEPTH = 32
_ELEMENTS = 200_000
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_MEND = "VOC writes annotation with size (width, height) and object (name, bndbox with xmin, ymin, xmax, ymax)"


@dataclass(slots=True)
class Element:
    """An element: its name, text and parts."""

    name: str
    text: str = ""
    parts: list[Element] = field(default_factory=list)

    def each(self, name: str) -> Iterator[Element]:
        return (one for one in self.parts if one.name == name)

    def find(self, *names: str) -> str | None:
        """The text of a part of a part …, without blanks around it; None where there is none."""
        here: Element | None = self
        for name in names:
            here = next(here.each(name), None) if here is not None else None
        return here.text.strip() if here is not None else None


def read_xml(text: str, where: str) -> Element:
    """The root of an XML text.

    Raises:
        BadCondition: no XML, a document type, or too much of it.
    """
    top = Element("")
    open_: list[Element] = [top]
    count = 0

    def begin(name: str, _: Any) -> None:
        nonlocal count
        count += 1
        if len(open_) > _DEPTH or count > _ELEMENTS:
            raise BadCondition("its elements are too many, or nested too deeply", where=where, mend=_MEND)
        element = Element(name.rpartition("}")[2].rpartition(":")[2])
        open_[-1].parts.append(element)
        open_.append(element)

    def end(_: str) -> None:
        open_.pop()

    def data(part: str) -> None:
        open_[-1].text += part

    def refuse(*_: Any) -> Any:
        raise BadCondition(
            "it declares a document type or entities, which could unfold to gigabytes or read other files",
            where=where,
            mend="take the line with <!DOCTYPE …> out",
        )

    parser = expat.ParserCreate("utf-8")  # whatever the text says that it was written in
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise BadCondition(
            f"line {error.lineno}: it is no XML: {expat.ErrorString(error.code)}", where=where, mend="is the file whole? Export it again"
        ) from None
    return top.parts[0]


def load(text: str, where: str, size: Size | None = None) -> list[Layout]:
    """Layouts of VOC's XML: an annotation, or several in one element.

    Args:
        size: (height, width) in pixels, where the file does not say it.

    Raises:
        BadCondition: no such file, a size that nothing says, or a box that cannot be drawn.
    """
    root = read_xml(text, where)
    pictures = [root] if root.name == "annotation" else list(root.each("annotation"))
    if not pictures or len(pictures) > MOST_PICTURES:
        raise BadCondition(f"<{root.name[:40]}> with {len(pictures)} annotations is not Pascal VOC's", where=where, mend=_MEND)
    return [_picture(one, where if len(pictures) == 1 else f"{where}, annotation {n}", size) for n, one in enumerate(pictures)]


def _picture(picture: Element, where: str, size: Size | None) -> Layout:
    height, width = side(picture.find("size", "height")), side(picture.find("size", "width"))
    pixels = (height, width) if height is not None and width is not None else size
    if pixels is None:
        raise BadCondition("nothing says how many pixels the picture has", where=where, mend="say it: --size 640x480")
    found = [(one.find("name") or "", _corners(one, f"{where}, object {n}")) for n, one in enumerate(picture.each("object"))]
    lows = [low for _, box in found for low in box[:2]]
    first = 1 if "voc" in (picture.find("source", "database") or "").lower() or (1 in lows and 0 not in lows) else 0
    items: list[BoxItem] = []
    remarks: list[str] = []
    for n, (name, (x0, y0, x1, y1)) in enumerate(found):
        low_x, low_y = max(x0 - first, min(x0, 0.0)), max(y0 - first, min(y0, 0.0))
        box = (low_x / pixels[1], low_y / pixels[0], x1 / pixels[1], y1 / pixels[0])
        items.append(
            item_of(
                name,
                box,
                pixels,
                f"{where}, object {n}",
                f"VOC writes xmin < xmax and ymin < ymax in pixels of the picture, {pixels[1]}×{pixels[0]}",
                remarks,
            )
        )
    return Layout("", items_of(items, where), size=pixels, name=stem(picture.find("filename")), remarks=tuple(remarks))


def _corners(one: Element, where: str) -> Sequence[float]:
    """(xmin, ymin, xmax, ymax) of an object, in order."""
    told = [number(one.find("bndbox", name)) for name in _CORNERS]
    points = [(number(point.find("x")), number(point.find("y"))) for outline in one.each("polygon") for point in outline.each("pt")]
    if None not in told:
        x0, y0, x1, y1 = (float(value or 0) for value in told)
        return bounds([(x0, y0), (x1, y1)])
    if len(points) >= 3 and all(None not in point for point in points):
        return bounds([(float(x or 0), float(y or 0)) for x, y in points])
    raise BadCondition("it has no bndbox of four finite numbers", where=where, mend=_MEND)
