"""Pictures in a terminal: by kitty's graphics, by sixels, or as half blocks of colour; each as what rich draws between other lines."""

from __future__ import annotations

import base64
import io
import os
import re
import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

Way = Literal["kitty", "sixel", "blocks"]

ROWS = 16
"""Lines of a preview, and of the strip where there are several pictures."""
MOST = 4
"""Pictures of a batch that are shown."""
CELL = (10, 20)
"""Pixels of a character (width, height), where the terminal does not tell."""
COLOURS = 128
"""Of a sixel picture: all terminals that draw them have more."""
PATIENCE = 0.3
"""Seconds that a terminal has to answer: a local one takes a millisecond, one that does not know the question never does."""

_IMAGE = 7301
"""Number of our picture in the terminal: each new one takes the place of the last."""
_KITTY_QUERY = f"\x1b_Gi={_IMAGE},s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
"""Whether the terminal knows kitty's graphics: it answers OK, and shows nothing."""
_ATTRIBUTES, _ANSWERED = "\x1b[c", r"\x1b\[\?([0-9;]+)c"
"""What it is (DA1), which every terminal answers, and therefore last."""


def way_of(environment: Mapping[str, str], ask: Callable[[str, str], str], encoding: str | None) -> Way | None:
    """How a terminal shows pictures; None where it cannot, or is not to (``NO_COLOR``, ``TERM=dumb``).

    Args:
        environment: of the process.
        ask: query, what its answer ends with (an expression) → what the terminal answered, "" where it did not.
        encoding: of the stream.
    """
    if environment.get("NO_COLOR") or environment.get("TERM", "dumb") == "dumb":
        return None
    inside = any(environment.get(name) for name in ("TMUX", "STY"))  # a multiplexer passes neither on as it is
    program = environment.get("TERM_PROGRAM", "").lower()
    kitty = "kitty" in environment.get("TERM", "") or environment.get("KITTY_WINDOW_ID") or program in ("ghostty", "wezterm")
    if kitty and not inside:
        return "kitty"
    known = not inside and environment.get("TERM") != "linux"  # the console of Linux would print the question
    answer = ask(f"{_KITTY_QUERY if known else ''}{_ATTRIBUTES}", _ANSWERED)
    if known and f"_Gi={_IMAGE};OK" in answer:
        return "kitty"
    attributes = re.search(_ANSWERED, answer)
    if attributes is not None and "4" in attributes[1].split(";"):
        return "sixel"
    return "blocks" if (encoding or "").lower().replace("-", "") == "utf8" else None


def lacking(environment: Mapping[str, str], tty: bool) -> str:
    """Why no previews are shown, and what shows them."""
    if not tty:
        return "no previews: the output is no terminal"
    if environment.get("NO_COLOR") or environment.get("TERM", "dumb") == "dumb":
        said = "NO_COLOR is set" if environment.get("NO_COLOR") else "the terminal says that it is dumb (TERM)"
        return f"no previews: {said}"
    return "no previews: the terminal has neither kitty's graphics nor sixels, and no UTF-8 for blocks of colour"


def asked(query: str, end: str) -> str:
    """What the terminal that this process reads from answers; "" where it is none, or does not answer in time.

    Args:
        query: what it is sent.
        end: an expression that its answer ends with.
    """
    try:
        import termios
        import tty
    except ImportError:  # not a POSIX system
        return ""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    handle = sys.stdin.fileno()
    try:
        before = termios.tcgetattr(handle)
    except termios.error:
        return ""
    answer = b""
    try:
        tty.setcbreak(handle, termios.TCSANOW)
        os.write(sys.stderr.fileno(), query.encode())
        while (
            not re.search(end + r"\Z", answer.decode("ascii", "replace"))
            and len(answer) < 256
            and select.select([handle], [], [], PATIENCE)[0]
        ):
            answer += os.read(handle, 1) or b"\0" * 256
    except OSError:
        return ""
    finally:
        termios.tcsetattr(handle, termios.TCSANOW, before)
    return answer.decode("ascii", "replace")


def cell() -> tuple[int, int]:
    """(width, height) of a character in pixels."""
    try:
        import fcntl
        import struct
        import termios

        rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(sys.stderr.fileno(), termios.TIOCGWINSZ, b"\0" * 8))
    except (ImportError, OSError, ValueError):
        return CELL
    return (width // columns, height // rows) if rows and columns and width >= columns and height >= rows else CELL


class Preview:
    """The latest previews as a renderable of rich's: `ROWS` lines, nothing before the first.

    Args:
        way: how the terminal shows pictures.
        cell: (width, height) of a character in pixels.
    """

    def __init__(self, way: Way, cell: tuple[int, int] = CELL) -> None:
        self.way, self.cell = way, cell
        self._strip: Image.Image | None = None
        self._told: str | None = None

    def show(self, pictures: Sequence[Image.Image]) -> None:
        """Show these from the next refresh on."""
        self._strip, self._told = strip(pictures), None

    def gone(self) -> str:
        """What takes our picture off the terminal where erasing its lines does not."""
        return f"\x1b_Ga=d,d=I,i={_IMAGE},q=2\x1b\\" if self.way == "kitty" and self._strip is not None else ""

    def size(self, picture: Image.Image, columns: int, lines: int) -> tuple[int, int]:
        """(columns, rows) that a picture takes of so many columns and lines."""
        shape = picture.width / picture.height * self.cell[1] / self.cell[0]
        rows = max(1, min(ROWS, lines - 4, int((columns - 1) / shape)))
        return max(1, round(rows * shape)), rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import ControlType, Segment

        if self._strip is None:
            return
        wide, rows = self.size(self._strip, options.max_width, console.height)
        if self.way == "blocks":
            yield from blocks(self._strip, wide, rows)
            return
        yield from (Segment.line() for _ in range(rows))
        if self._told is None or self.way == "sixel":  # erased with its lines, at every refresh
            told = self._told or (_kitty if self.way == "kitty" else self._sixel)(self._strip, wide, rows)
            self._told = told
            # From the line below, where all lines are there and nothing scrolls: up, the picture, and back.
            yield Segment(f"\x1b7\x1b[{rows}A\r{told}\x1b8", None, [(ControlType.BELL,)])

    def _sixel(self, picture: Image.Image, wide: int, rows: int) -> str:
        return sixel(picture.resize((wide * self.cell[0], rows * self.cell[1] // 6 * 6), Image.Resampling.BICUBIC))


def strip(pictures: Sequence[Image.Image]) -> Image.Image:
    """The first few pictures side by side; they are of one size."""
    shown = list(pictures[:MOST])
    wide, high = shown[0].size
    whole = Image.new("RGB", (wide * len(shown), high))
    for index, one in enumerate(shown):
        whole.paste(one.convert("RGB"), (index * wide, 0))
    return whole


def blocks(picture: Image.Image, wide: int, rows: int) -> Iterator[Segment]:
    """Lines of upper half blocks: two pixels a character, the upper one its colour, the lower one the colour behind it."""
    from rich.color import Color
    from rich.segment import Segment
    from rich.style import Style

    pixels: Any = picture.resize((wide, 2 * rows), Image.Resampling.BICUBIC).load()
    for y in range(0, 2 * rows, 2):
        for x in range(wide):
            yield Segment("▀", Style(color=Color.from_rgb(*pixels[x, y]), bgcolor=Color.from_rgb(*pixels[x, y + 1])))
        yield Segment.line()


def _kitty(picture: Image.Image, wide: int, rows: int) -> str:
    """A PNG in pieces of 4 KiB, in so many cells; the cursor stays, and the terminal answers nothing."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    pieces = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    told = []
    for index, piece in enumerate(pieces):
        head = f"a=T,f=100,i={_IMAGE},p=1,c={wide},r={rows},C=1,q=2," if index == 0 else ""
        told.append(f"\x1b_G{head}m={int(index < len(pieces) - 1)};{piece}\x1b\\")
    return "".join(told)


def sixel(picture: Image.Image) -> str:
    """A picture as sixels: bands of six lines, in each a row of characters a colour."""
    import numpy as np

    few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    palette, index = few.getpalette() or [], np.asarray(few)
    told = [f'\x1bP0;1q"1;1;{picture.width};{picture.height}']
    for colour in np.unique(index).tolist():
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * colour : 3 * colour + 3])
        told.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, picture.height, 6):
        band = index[top : top + 6]
        bits = 1 << np.arange(len(band))[:, None]
        rows = []
        for colour in np.unique(band).tolist():
            codes = ((band == colour) * bits).sum(0) + 63
            cuts = np.flatnonzero(np.diff(codes)) + 1
            runs = [(chr(run[0]), len(run)) for run in np.split(codes, cuts)]
            rows.append(f"#{colour}" + "".join(f"!{count}{code}" if count > 3 else code * count for code, count in runs))
        told.append("$".join(rows) + "-")
    return "".join(told) + "\x1b\\"
