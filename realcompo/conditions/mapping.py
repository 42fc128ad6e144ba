"""From colour maps, index maps and COCO files to `Segmentation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import BadCondition, nearest
from .files import coco_picture, open_map, read_json
from .palette import ADE20K, NOTHING, Palette
from .runs import encode
from .segmentation import MAX_SIDE, Segment, Segmentation

if TYPE_CHECKING:
    import numpy as np

Array = Any
"""An (H, W[, 3]) array of numpy's."""


def from_colours(source: Any, phrases: Mapping[str, Any], palette: Palette | None = None) -> Segmentation:
    """See `Segmentation.from_colours`."""
    import numpy as np

    palette = ADE20K if palette is None else palette
    pixels, where = open_map(source, MAX_SIDE, colours=True)
    codes = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    known: dict[int, str] = {}
    for name, colour in palette.items():  # of two classes with one colour the first is meant
        known.setdefault(_code(colour), name)
    classes: dict[str, Array] = {}
    for code in np.unique(codes):
        here = codes == code
        if int(code) == _code(NOTHING) and int(code) not in known:
            continue
        if int(code) not in known:
            raise _stray_colour(int(code), here, palette, where)
        classes[known[int(code)]] = here
    return _assembled(classes, phrases, where)


def from_indices(source: Any, phrases: Mapping[str, Any], names: Mapping[int, str] | Sequence[str] | None = None) -> Segmentation:
    """See `Segmentation.from_indices`."""
    import numpy as np

    indices, where = open_map(source, MAX_SIDE, colours=False)
    if names is None:
        names = dict(enumerate(ADE20K, start=1))
    table = {int(key): name for key, name in names.items()} if isinstance(names, Mapping) else dict(enumerate(names))
    classes: dict[str, Array] = {}
    for value in np.unique(indices):
        here = indices == value
        if int(value) not in table:
            if value == 0:
                continue
            x, y = _first(here)
            raise BadCondition(
                f"the index {int(value)} has no name (first at x = {x}, y = {y}; {int(here.sum())} pixels)",
                where=where,
                mend=f"give names = {{ {int(value)} = … }}; known: {min(table, default=0)} to {max(table, default=0)}",
            )
        name = table[int(value)]
        classes[name] = classes[name] | here if name in classes else here
    return _assembled(classes, phrases, where)


def from_coco(source: Any, phrases: Mapping[str, Any] | Sequence[str], image_id: int | None = None) -> Segmentation:
    """See `Segmentation.from_coco`."""
    data, where = read_json(source)
    annotations, size, categories = coco_picture(data, image_id, where)
    if size is None:
        sizes = {tuple(s["size"]) for a in annotations if isinstance(s := a.get("segmentation"), Mapping) and "size" in s}
        if len(sizes) != 1:
            raise BadCondition("nothing says how large the picture is", where=where, mend="keep COCO's table of images: width and height")
        size = next(iter(sizes))
    shapes = [(categories.get(one.get("category_id"), ""), _shape(one, f"{where}, annotation {n}")) for n, one in enumerate(annotations)]
    if not isinstance(phrases, Mapping):
        if isinstance(phrases, str) or len(phrases) != len(shapes):
            raise BadCondition(
                f"{len(phrases)} phrases for {len(shapes)} annotations", where=where, mend="give one each, or a table of category = phrase"
            )
        items = [Segment(phrase=phrase, label=label, **shape) for phrase, (label, shape) in zip(phrases, shapes, strict=True)]
        return Segmentation(items=tuple(items), size=size)
    items, backdrop = [], []
    waiting = _waiting(phrases, {label for label, _ in shapes}, where)
    for label, shape in shapes:
        if label not in waiting:
            backdrop.append(Segment(label=label, **shape))
            continue
        if not waiting[label]:
            raise _count_differs(label, phrases[label], sum(name == label for name, _ in shapes), where)
        items.append(Segment(phrase=waiting[label].pop(0), label=label, **shape))
    for label, left in waiting.items():
        if left:
            raise _count_differs(label, phrases[label], sum(name == label for name, _ in shapes), where)
    return Segmentation(items=tuple(items), backdrop=tuple(backdrop), size=size)


# -- parts ---------------------------------------------------------------------------------------------------------------------


def _assembled(classes: Mapping[str, Array], phrases: Mapping[str, Any], where: str) -> Segmentation:
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
        items += [Segment(phrase=phrase, label=label, rle=encode(part)) for phrase, part in zip(words, parts, strict=True)]
    backdrop = [Segment(label=label, rle=encode(mask)) for label, mask in classes.items() if label not in waiting]
    return Segmentation(items=tuple(items), backdrop=tuple(backdrop), size=(int(size[0]), int(size[1])))


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


def _shape(annotation: Mapping[str, Any], where: str) -> dict[str, Any]:
    found = annotation.get("segmentation")
    if isinstance(found, Mapping):
        return {"rle": found}
    if isinstance(found, list) and found:
        return {"polygons": tuple(tuple(one) if isinstance(one, list) else (one,) for one in found)}
    raise BadCondition("it has no segmentation", where=where, mend="COCO writes polygons or {counts, size} there")


def _code(colour: Sequence[int]) -> int:
    return (int(colour[0]) << 16) + (int(colour[1]) << 8) + int(colour[2])


def _first(mask: Array) -> tuple[int, int]:
    """(x, y) of the first pixel, in reading order."""
    place = int(mask.argmax())
    return place % mask.shape[1], place // mask.shape[1]


def _stray_colour(code: int, here: Array, palette: Palette, where: str) -> BadCondition:
    colour = (code >> 16, (code >> 8) & 255, code & 255)
    x, y = _first(here)
    close = min(palette, key=lambda name: sum((a - b) ** 2 for a, b in zip(colour, palette[name], strict=True)))
    return BadCondition(
        f"the colour {colour} is not in the palette (first at x = {x}, y = {y}; {int(here.sum())} pixels)",
        where=where,
        mend=f"the nearest is {close!r} {palette[close]}; draw without smoothing and save as PNG: JPEG and resizing mix colours",
    )
