"""Looks at a run: the layout over the picture, the weights over the steps, each branch's attention to each region. PIL only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image, ImageDraw

from ..errors import UnknownName, nearest
from ..interfaces import Region
from .charts import loss_chart
from .drawing import GRID, MUTED, PAPER, TEXT, Colour, colour, enlarge, fit, font, heat_bar, ink_on, outline, over, save_whole, text_size
from .trace import TraceEntry

if TYPE_CHECKING:
    from .result import Result

Show = Literal["layout", "weights", "attention", "loss"]
SHOWS: tuple[Show, ...] = get_args(Show)

_PAD = 20
_CELL = 224
"""Pixels: around the parts of a sheet, and the least side of a cell."""
_SHEET_CELL, _SHEET_TEXT = 384, 18
"""Pixels: the longer side of a layout on a contact sheet, and its title's height."""


def parse_shows(text: str) -> tuple[Show, ...]:
    """``layout,weights`` → names; the loss curve comes with any of them.

    Raises:
        UnknownName: none of `SHOWS`.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in (*SHOWS, "all"):
            raise UnknownName(f"--show knows no {name!r}", mend=nearest(name, (*SHOWS, "all")))
    chosen = SHOWS if "all" in names else tuple(name for name in SHOWS if name in names)
    return (*chosen, "loss") if chosen and "loss" not in chosen else chosen


def save_overlays(result: Result, paths: Sequence[Path], shows: Sequence[Show], scale: int | None = None) -> list[Path]:
    """Write pets.layout.png, pets.weights.png … beside each pets.png; what a run has nothing of (no probe, no maps) is left out."""
    makers = {"layout": layout, "weights": weights, "attention": attention, "loss": loss}
    written = []
    for index, path in enumerate(paths):
        for name in shows:
            sheet = makers[name](result, index, scale)
            if sheet is not None:
                written.append(path.with_name(f"{path.stem}.{name}.png"))
                save_whole(sheet, written[-1])
    return written


_NOTHING = {
    "weights": "one branch drew alone",
    "attention": "no step read the fidelity branch's maps",
    "loss": "no step measured it",
}


def lacking(shows: Sequence[Show], written: Sequence[Path]) -> str:
    """What was asked for and a run has nothing of, and why; empty where all of it was written."""
    missing = [name for name in shows if not any(path.name.endswith(f".{name}.png") for path in written)]
    if not missing:
        return ""
    reasons = dict.fromkeys(_NOTHING.get(name, "there was no picture") for name in missing)
    return f"nothing to show of {', '.join(missing)}: {'; '.join(reasons)}"


# -- layout ------------------------------------------------------------------------------------------------------------------


def layout(result: Result, index: int = 0, scale: int | None = None) -> Image.Image | None:
    """The picture with each region's box or mask and its phrase."""
    return draw_layout(enlarge(result.images[index], scale), result.batch_regions.pictures[index])


def draw_layout(picture: Image.Image, regions: Sequence[Region]) -> Image.Image:
    """Boxes, masks and phrases over a picture, which is changed and returned."""
    width = max(2, min(picture.size) // 120)
    size = max(13, min(picture.size) // 30)
    for number, region in enumerate(regions):
        if region.mask is not None:
            _tint(picture, region.mask, colour(number))
    for number, region in enumerate(regions):
        if region.box is not None:
            outline(picture, region.box, colour(number), width)
    placed: list[tuple[int, int, int, int]] = []
    for number, region in enumerate(regions):
        placed.append(_tag(picture, region.phrase, _bounds(region), colour(number), size, placed))
    return picture


def draw_layouts(layouts: Sequence[tuple[str, Sequence[Region]]], size: tuple[int, int], columns: int = 0) -> Image.Image:
    """A contact sheet: each layout on an empty picture, under its title.

    Args:
        layouts: (title, regions) each, one or more.
        size: (height, width) of the pictures in pixels.
        columns: a row; as square as it gets where it is 0.
    """
    height, width = size
    shrink = _SHEET_CELL / max(height, width)
    cell = Image.new("RGB", (max(1, round(width * shrink)), max(1, round(height * shrink))), GRID)
    columns = columns or max(1, round(len(layouts) ** 0.5 + 0.49))
    line, gap = text_size("X", _SHEET_TEXT)[1], _PAD
    step_x, step_y = cell.width + gap, cell.height + line + gap
    rows = -(-len(layouts) // columns)
    wide = min(columns, len(layouts)) * step_x + gap
    sheet = Image.new("RGB", (wide, rows * step_y + gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (title, regions) in enumerate(layouts):
        x, y = gap + number % columns * step_x, gap + number // columns * step_y
        draw.text((x, y), fit(title, _SHEET_TEXT, cell.width), font=font(_SHEET_TEXT), fill=TEXT)
        sheet.paste(draw_layout(cell.copy(), regions), (x, y + line + 2))
    return sheet


def _tint(picture: Image.Image, mask: Any, ink: Colour) -> None:
    alpha = Image.fromarray((np.clip(mask, 0, 1) * 110).astype(np.uint8)).resize(picture.size, Image.Resampling.BILINEAR)
    picture.paste(Image.new("RGB", picture.size, ink), mask=alpha)


def _bounds(region: Region) -> tuple[float, float, float, float]:
    if region.box is not None:
        return region.box
    mask = np.asarray(region.mask) > 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    h, w = mask.shape
    return columns[0] / w, rows[0] / h, (columns[-1] + 1) / w, (rows[-1] + 1) / h


def _tag(
    picture: Image.Image,
    phrase: str,
    box: Sequence[float],
    ink: Colour,
    size: int,
    placed: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """The phrase on a label of the region's colour: above the box, or inside it, where no other label is."""
    text = fit(phrase, size, picture.width * 0.6)
    wide, high = text_size(text, size)
    wide, high = wide + size, high + size // 3
    x0, y0, x1, y1 = (round(share * side) for share, side in zip(box, (*picture.size, *picture.size), strict=True))
    gap = max(3, size // 4)
    goals = [(x0, y0 - high - 2), (x0 + gap, y0 + gap), (x1 - wide - gap, y0 + gap), (x0 + gap, y1 - high - gap), (x0, y1 + 2)]
    goals += [(x0 + gap, y0 + gap + n * (high + 2)) for n in range(1, 12)]
    spots = []
    for x, y in goals:
        x = min(max(x, 0), picture.width - wide)
        if 0 <= y <= picture.height - high:
            spots.append((x, y, x + wide, y + high))
    free = [spot for spot in spots if not any(_meet(spot, other) for other in placed)]
    spot = (free or spots or [(0, 0, wide, high)])[0]
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle(spot, radius=high // 4, fill=ink)
    draw.text(((spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2), text, font=font(size), fill=ink_on(ink), anchor="mm")
    return spot


def _meet(a: Sequence[int], b: Sequence[int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


# -- weights -----------------------------------------------------------------------------------------------------------------


def weights(result: Result, index: int = 0, scale: int | None = None, columns: int = 6) -> Image.Image | None:
    """ξ of each spatial branch over the picture, a strip over the steps; what is missing to 1 is the fidelity branch's."""
    trace = result.trace
    chosen = _spread(trace.entries, columns)
    names = trace.names[1:]
    if not chosen or not names:
        return None
    cell = enlarge(result.images[index], scale, _CELL)
    rows = []
    for k, name in enumerate(names, start=1):
        cells = []
        for entry in chosen:
            tile = over(cell, entry.weights[k, index].float().numpy())
            for number, region in enumerate(result.batch_regions.pictures[index]):
                if region.box is not None:
                    outline(tile, region.box, colour(number), 2)
            cells.append(tile)
        rows.append((f"weight of {name}", cells))
    heads = [f"step {entry.step.index + 1} of {entry.step.count}: {entry.phase(trace.names)}" for entry in chosen]
    return _sheet(heads, rows, "0: fidelity branch", "1: spatial branch")


def _spread(entries: Sequence[TraceEntry], count: int) -> list[TraceEntry]:
    """At most `count` entries, evenly over the run, the first and the last among them."""
    if len(entries) <= count:
        return list(entries)
    return [entries[round(place)] for place in np.linspace(0, len(entries) - 1, count)]


# -- attention ---------------------------------------------------------------------------------------------------------------


def attention(result: Result, index: int = 0, scale: int | None = None) -> Image.Image | None:
    """A branch a row, a region a column: the cross-attention that the last probe or move read, each map by its own maximum, with the
    share of it that lies inside the region."""
    entries = [entry for entry in result.trace.entries if any(maps is not None for maps in entry.seen)]
    regions = result.batch_regions.pictures[index]
    if not entries or not regions:
        return None
    entry = entries[-1]
    cell = enlarge(result.images[index], scale, _CELL)
    rows = []
    for k, name in enumerate(result.trace.names):
        cells = []
        maps = entry.seen[k]
        if maps is None:  # no move was asked of it
            continue
        for r, region in enumerate(regions):
            found = maps[index, r].float().numpy()
            tile = over(cell, found / max(float(found.max()), 1e-12))
            if region.box is not None:
                outline(tile, region.box, colour(r), 2)
            if entry.placement is not None:
                _corner(tile, f"{1 - float(entry.placement[k, index, r]):.0%} inside")
            cells.append(tile)
        rows.append((f"attention of {name}", cells))
    heads = [region.phrase for region in regions]
    return _sheet(heads, rows, "0", f"1: the map's maximum (step {entry.step.index + 1} of {entry.step.count})")


def _corner(tile: Image.Image, text: str) -> None:
    size = max(12, tile.width // 17)
    wide, high = text_size(text, size)
    box = (tile.width - wide - 14, tile.height - high - 8, tile.width - 5, tile.height - 4)
    draw = ImageDraw.Draw(tile)
    draw.rounded_rectangle(box, radius=5, fill=(20, 22, 26))
    draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), text, font=font(size), fill=(255, 255, 255), anchor="mm")


# -- sheets ------------------------------------------------------------------------------------------------------------------


def _sheet(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[Image.Image]]], low: str, high: str) -> Image.Image:
    """Cells in rows under their heads, and the legend of the heat map."""
    width, height = rows[0][1][0].size
    size = max(13, width // 17)
    line = text_size("X", size)[1]
    gap = max(6, width // 30)
    step_x, step_y = width + gap, height + line + gap + 10
    legend = line + 18
    wide = max(2 * _PAD + len(heads) * step_x - gap, 560)
    sheet = Image.new("RGB", (wide, 2 * _PAD + line + 8 + len(rows) * step_y + legend), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((_PAD + column * step_x, _PAD), fit(head, size, width), font=font(size), fill=TEXT)
    y = _PAD + line + 8
    for title, cells in rows:
        draw.text((_PAD, y), fit(title, size, wide - 2 * _PAD), font=font(size), fill=MUTED)
        for column, cell in enumerate(cells):
            sheet.paste(cell, (_PAD + column * step_x, y + line + 4))
        y += step_y
    bar = heat_bar(min(220, wide // 3), max(10, line // 2))
    x = _PAD + text_size(low, size)[0] + 10
    draw.text((_PAD, y + 6), low, font=font(size), fill=MUTED)
    sheet.paste(bar, (x, y + 6 + (line - bar.height) // 2))
    draw.rectangle((x, y + 6 + (line - bar.height) // 2, x + bar.width, y + 6 + (line + bar.height) // 2), outline=GRID)
    draw.text((x + bar.width + 10, y + 6), high, font=font(size), fill=MUTED)
    return sheet


def loss(result: Result, index: int = 0, scale: int | None = None) -> Image.Image | None:
    """The loss and the norms of its gradients over the steps."""
    return loss_chart(result.trace, index)
