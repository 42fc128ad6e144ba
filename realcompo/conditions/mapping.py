"""Colour maps, index maps and COCO files as plain data of a segmentation: items, backdrop, size (height, width)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import BadCondition, nearest
from .base import MAX_MAP, remark
from .coco import read_tables
from .files import open_colours, open_indices, read_json
from .mending import mended, palette_array
from .palette import ADE20K, NOTHING, Palette
from .runs import encode
from .values import number

if TYPE_CHECKING:
    import numpy as np

Array = Any
"""An (H, W[, 3]) array of numpy's."""
Plain = dict[str, Any]
"""What `Segmentation` is made of."""

VOID = 255
"""Nothing, in maps that count classes from 0."""


def colour_map(source: Any, phrases: Mapping[str, Any], palette: Palette | None = None) -> Plain:
    """See `Segmentation.from_colours`."""
    import numpy as np

    palette = ADE20K if palette is None else palette
    pixels, where = open_colours(source, MAX_MAP)
    known: dict[int, str] = {}
    for name, colour in palette.items():  # of two classes with one colour the first is meant
        known.setdefault(_code(colour), name)
    codes = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    present = [int(code) for code in np.unique(codes)]
    if all(code in known or code == _code(NOTHING) for code in present):
        return _assembled({known[code]: codes == code for code in present if code in known}, phrases, where)
    colours = palette_array(palette, NOTHING)
    found = mended(pixels.astype(np.uint8), colours)
    if found.strange is not None:
        raise _stray_colour(codes, found.strange, palette, where)
    classes: dict[str, Array] = {}
    for index in np.unique(found.classes):
        code = _code(colours[index])
        if index >= 0 and code in known:
            classes[known[code]] = found.classes == index
    if _code(NOTHING) in known and (found.classes < 0).any():  # a palette in which black is a class
        classes[known[_code(NOTHING)]] = found.classes < 0
    share = found.changed / codes.size
    remark(
        f"{found.changed} of {codes.size} pixels ({share:.1%}) were not of a colour of the palette, and were read as the nearest class",
        where,
    )
    return _assembled(classes, phrases, where)


def index_map(
    source: Any,
    phrases: Mapping[str, Any],
    names: Mapping[int, str] | Sequence[str] | None = None,
    base: int | None = None,
    nothing: int | Sequence[int] | None = None,
) -> Plain:
    """See `Segmentation.from_indices`."""
    import numpy as np

    indices, where = open_indices(source, MAX_MAP)
    table = _names(names, base, where)
    void = _void(nothing, table, where)
    classes: dict[str, Array] = {}
    for value in np.unique(indices)[: len(table) + len(void) + 1]:  # one more than there can be: that one is told
        if int(value) in void:
            continue
        here = indices == value
        if int(value) not in table:
            raise _unnamed(int(value), here, table, base, where)
        name = table[int(value)]
        classes[name] = classes[name] | here if name in classes else here
    return _assembled(classes, phrases, where)


def coco_segments(source: Any, phrases: Mapping[str, Any] | Sequence[str], image_id: int | str | None = None) -> Plain:
    """See `Segmentation.from_coco`."""
    data, where = read_json(source)
    tables = read_tables(data, where)
    picture = tables.picture(image_id, where)
    annotations, size = [one for _, one in picture.annotations], picture.size
    if size is None:
        stated = [s["size"] for a in annotations if isinstance(s := a.get("segmentation"), Mapping) and isinstance(s.get("size"), list)]
        sizes = {tuple(number(one) for one in each) for each in stated}
        if len(sizes) != 1:
            raise BadCondition("nothing says how large the picture is", where=where, mend="keep COCO's table of images: width and height")
        size = next(iter(sizes))  # type: ignore[assignment]  # Segmentation checks it
    names = [tables.name(one.get("category_id")) for one in annotations]
    shapes = [(name, _shape(one, f"{where}, annotation {n}")) for n, (name, one) in enumerate(zip(names, annotations, strict=True))]
    if not isinstance(phrases, Mapping):
        if isinstance(phrases, str) or len(phrases) != len(shapes):
            raise BadCondition(
                f"{len(phrases)} phrases for {len(shapes)} annotations", where=where, mend="give one each, or a table of category = phrase"
            )
        items = [{"phrase": phrase, "label": label, **shape} for phrase, (label, shape) in zip(phrases, shapes, strict=True)]
        return {"items": items, "size": size}
    items, backdrop = [], []
    waiting = _waiting(phrases, {label for label, _ in shapes}, where)
    for label, shape in shapes:
        if label not in waiting:
            backdrop.append({"label": label, **shape})
            continue
        if not waiting[label]:
            raise _count_differs(label, phrases[label], sum(name == label for name, _ in shapes), where)
        items.append({"phrase": waiting[label].pop(0), "label": label, **shape})
    for label, left in waiting.items():
        if left:
            raise _count_differs(label, phrases[label], sum(name == label for name, _ in shapes), where)
    return {"items": items, "backdrop": backdrop, "size": size}


# -- the names of indices ------------------------------------------------------------------------------------------------------


def _names(names: Any, base: int | None, where: str) -> dict[int, str]:
    """Index → class. ADE20K counts from 1 unless a base is given, a list of names from 0; a table says it itself."""
    if base is not None and (isinstance(base, bool) or not isinstance(base, int)):
        raise BadCondition(f"{base!r} is no index to count from", where=where, mend="write base = 0 or base = 1")
    if isinstance(names, Mapping):
        if base is not None:
            raise BadCondition("a table of names says its indices itself", where=where, mend="leave base out, or give a list of names")
        return {int(key): name for key, name in names.items()}
    if isinstance(names, str):
        raise BadCondition("names are a table of index = class, or a list", where=where, mend="write names = { 1 = 'wall', … }")
    if names is None:
        return dict(enumerate(ADE20K, start=1 if base is None else base))
    return dict(enumerate(names, start=0 if base is None else base))


def _void(nothing: Any, table: Mapping[int, str], where: str) -> set[int]:
    """The indices of nothing: 0, and 255 where classes count from 0, unless it is said; never one that has a name."""
    if nothing is None:
        return {0, *((VOID,) if 0 in table else ())} - set(table)
    told = list(nothing) if isinstance(nothing, Sequence) and not isinstance(nothing, str) else [nothing]
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in told):
        raise BadCondition(f"{nothing!r} is no index of nothing", where=where, mend="write nothing = 255, or nothing = [0, 255]")
    return set(told)


def _unnamed(value: int, here: Array, table: Mapping[int, str], base: int | None, where: str) -> BadCondition:
    x, y = _first(here)
    known = f"known: {min(table, default=0)} to {max(table, default=0)}"
    if value == VOID:
        counts = (
            "base = 0 where classes count from 0 and 255 is nothing"
            if base is None and 0 not in table
            else "nothing = 255 where it is nothing"
        )
        mend = f"say {counts}; {known}"
    else:
        mend = f"give names = {{ {value} = … }}, or nothing = {value}; {known}"
    return BadCondition(f"the index {value} has no name (first at x = {x}, y = {y}; {int(here.sum())} pixels)", where=where, mend=mend)


# -- parts ---------------------------------------------------------------------------------------------------------------------


def _assembled(classes: Mapping[str, Array], phrases: Mapping[str, Any], where: str) -> Plain:
    """Classes with words to items in the order of the words, the others to the backdrop."""
    if not classes:
        raise BadCondition("the map is empty: every pixel is of no class", where=where, mend="colour the segments, or leave the map out")
    waiting = _waiting(phrases, set(classes), where)
    size = next(iter(classes.values())).shape
    items = []
    for label, words in waiting.items():
        parts = [classes[label]] if len(words) == 1 else _regions(classes[label])
        if len(parts) != len(words):
            raise _count_differs(label, phrases[label], len(parts), where)
        items += [{"phrase": phrase, "label": label, "rle": encode(part)} for phrase, part in zip(words, parts, strict=True)]
    backdrop = [{"label": label, "rle": encode(mask)} for label, mask in classes.items() if label not in waiting]
    return {"items": items, "backdrop": backdrop, "size": (int(size[0]), int(size[1]))}


def _waiting(phrases: Any, present: set[str], where: str) -> dict[str, list[str]]:
    """Class → its words, checked against what the map holds."""
    if not isinstance(phrases, Mapping):
        raise BadCondition(
            "phrases are a table of class = words", where=where, mend="write phrases = { sky = 'the sky', animal = ['a cat', 'a dog'] }"
        )
    for label in phrases:
        if label not in present:
            raise BadCondition(f"it holds no {label!r}", where=where, mend=nearest(str(label), present))
    return {label: [words] if isinstance(words, str) else list(words) for label, words in phrases.items()}


def _regions(mask: Array) -> list[np.ndarray[Any, Any]]:
    """The connected regions of a mask (touching corners connect), from left to right."""
    from skimage import measure

    measured: Any = measure  # its functions are not typed
    numbered = measured.label(mask, connectivity=2)
    found = sorted(measured.regionprops(numbered), key=lambda region: (region.bbox[1], region.bbox[0]))
    return [numbered == region.label for region in found]


def _count_differs(label: str, words: Any, count: int, where: str) -> BadCondition:
    said = 1 if isinstance(words, str) else len(words)
    return BadCondition(
        f"{label!r} stands {count} times, with words for {said}",
        where=where,
        mend="give a list of words, one each from left to right (one text takes all of a colour together)",
    )


def _shape(annotation: Mapping[str, Any], where: str) -> Plain:
    found = annotation.get("segmentation")
    if isinstance(found, Mapping):
        return {"rle": found}
    if isinstance(found, list) and found:
        corners = [[number(value) for value in one] if isinstance(one, list) else [number(one)] for one in found]
        if any(value is None for one in corners for value in one):
            raise BadCondition("a polygon with a value that is no number", where=where, mend="COCO writes [[x0, y0, x1, y1, …], …]")
        return {"polygons": tuple(map(tuple, corners))}
    raise BadCondition("it has no segmentation", where=where, mend="COCO writes polygons or {counts, size} there")


def _code(colour: Sequence[int]) -> int:
    return (int(colour[0]) << 16) + (int(colour[1]) << 8) + int(colour[2])


def _first(mask: Array) -> tuple[int, int]:
    """(x, y) of the first pixel, in reading order."""
    place = int(mask.argmax())
    return place % mask.shape[1], place // mask.shape[1]


def _stray_colour(codes: Array, strange: Array, palette: Palette, where: str) -> BadCondition:
    """The first colour that cannot be read, and how many pixels there are of it and of its like."""
    x, y = _first(strange)
    code = int(codes[y, x])
    colour = (code >> 16, (code >> 8) & 255, code & 255)
    close = min(palette, key=lambda name: sum((a - b) ** 2 for a, b in zip(colour, palette[name], strict=True)))
    return BadCondition(
        f"the colour {colour} is not in the palette "
        f"(first at x = {x}, y = {y}; {int(strange.sum())} pixels of {strange.size} cannot be read)",
        where=where,
        mend=f"the nearest is {close!r} {palette[close]}; draw it in the palette's colours, or give the palette that it was drawn with",
    )
