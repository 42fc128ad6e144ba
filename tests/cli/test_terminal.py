"""Previews in a terminal: which way it shows pictures, what is sent, and that the progress line stays whole."""

from __future__ import annotations

import base64
import io
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from realcompo.cli import app
from realcompo.cli.terminal import MOST, Preview, asked, lacking, sixel, strip, way_of
from tests.toyworld import PROMPT, TWO, toys

SILENT = lambda query, end: ""  # noqa: E731
SIXELS = lambda query, end: "\x1b[?62;4;22c"  # noqa: E731
XTERM = {"TERM": "xterm-256color"}


def checkered(side: int = 16) -> Image.Image:
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[: side // 2, : side // 2] = (255, 0, 0)
    pixels[side // 2 :, side // 2 :] = (0, 0, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("environment", "ask", "encoding", "way"),
    [
        ({"TERM": "xterm-kitty"}, SILENT, "utf-8", "kitty"),
        ({**XTERM, "TERM_PROGRAM": "WezTerm"}, SIXELS, "utf-8", "kitty"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "KITTY_WINDOW_ID": "1"}, SILENT, "utf-8", "blocks"),
        (XTERM, SIXELS, "utf-8", "sixel"),
        (XTERM, lambda query, end: "\x1b[?64;1;2c", "UTF-8", "blocks"),
        (XTERM, lambda query, end: "\x1b_Gi=7301;OK\x1b\\\x1b[?62;4c" if "a=q" in query else "", "utf-8", "kitty"),
        (XTERM, lambda query, end: "\x1b_Gi=7301;ENOTSUP:c\x1b\\\x1b[?62;4c", "utf-8", "sixel"),
        ({"TERM": "linux"}, lambda query, end: "" if "_G" in query else "\x1b[?6c", "utf-8", "blocks"),
        ({**XTERM, "TMUX": "/tmp/x"}, lambda query, end: "" if "_G" in query else "\x1b[?62;4c", "utf-8", "sixel"),
        (XTERM, SILENT, "ascii", None),
        ({"TERM": "dumb"}, SIXELS, "utf-8", None),
        ({**XTERM, "NO_COLOR": "1"}, SIXELS, "utf-8", None),
    ],
    ids=[
        "kitty",
        "wezterm",
        "kitty in tmux",
        "sixel",
        "no sixel",
        "asked kitty",
        "refuses kitty",
        "linux",
        "sixel in tmux",
        "ascii",
        "dumb",
        "no colour",
    ],
)
def test_the_way_of_a_terminal(environment: dict[str, str], ask: Any, encoding: str, way: str | None) -> None:
    assert way_of(environment, ask, encoding) == way


@pytest.mark.skipif(os.name != "posix", reason="terminals are asked on POSIX only")
@pytest.mark.parametrize("answer", [b"\x1b[?62;4c", b""], ids=["answers", "silent"])
def test_a_terminal_is_asked_and_left_as_it_was(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    import pty
    import termios

    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)

    def terminal() -> None:
        assert os.read(master, 3) == b"\x1b[c"
        os.write(master, answer)

    thread = threading.Thread(target=terminal)
    thread.start()
    with os.fdopen(slave, "r+b", buffering=0) as stream:
        text = io.TextIOWrapper(stream, write_through=True)  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stdin", text)
        monkeypatch.setattr(sys, "stderr", text)
        found = asked("\x1b[c", "c")
        thread.join()
        assert termios.tcgetattr(slave) == before
    os.close(master)
    assert found == answer.decode()


def drawn_sixel(told: str) -> np.ndarray[Any, Any]:
    """A sixel picture decoded, (H, W, 3) in percent: written from the manual of the VT340, not from our encoder."""
    head, body = re.fullmatch(r'\x1bP0;1q"1;1;(\d+;\d+)(.*)\x1b\\', told, re.DOTALL).groups()  # type: ignore[union-attr]
    wide, high = map(int, head.split(";"))
    canvas = np.full(((high + 5) // 6 * 6, wide, 3), -1)
    colours: dict[int, tuple[int, ...]] = {}
    x, y, colour = 0, 0, 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|(\$)|(-)", body):
        if token[1]:
            colours[int(token[1])] = tuple(int(token[i]) for i in (2, 3, 4))
        elif token[5]:
            colour = int(token[5])
        elif token[9]:
            x = 0
        elif token[10]:
            x, y = 0, y + 6
        else:
            count, code = (int(token[6]), token[7]) if token[6] else (1, token[8])
            for bit in range(6):
                if (ord(code) - 63) >> bit & 1:
                    canvas[y + bit, x : x + count] = colours[colour]
            x += count
    return canvas[:high]


def test_sixels_are_the_picture() -> None:
    picture = checkered(24).resize((30, 22), Image.Resampling.NEAREST)
    wanted = np.asarray(picture).astype(int) * 100 / 255
    assert np.abs(drawn_sixel(sixel(picture)) - wanted).max() <= 1


def refreshed(preview: Preview, text: str = "drawing") -> str:
    """What a console is sent when a preview stands above a line."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, height=30, color_system="truecolor")
    console.print(preview, end="")
    console.print(text, end="")
    return out.getvalue()


def test_kitty_is_sent_the_picture_once_and_told_to_forget_it() -> None:
    preview = Preview("kitty")
    assert refreshed(preview) == "drawing" and preview.gone() == "", "nothing is shown before the first step"
    preview.show([checkered()])
    told = refreshed(preview)
    pieces = re.findall(r"\x1b_G[^;]*;([^\x1b]*)\x1b\\", told)
    with Image.open(io.BytesIO(base64.b64decode("".join(pieces)))) as seen:
        assert np.array_equal(np.asarray(seen), np.asarray(checkered()))
    rows = int(re.search(r"r=(\d+)", told)[1])  # type: ignore[index]
    assert told.count("\n") == rows and f"\x1b7\x1b[{rows}A\r\x1b_G" in told and "\x1b8drawing" in told, "up, the picture, and back"
    assert "\x1b_G" not in refreshed(preview), "erasing lines leaves kitty's pictures: they are not sent again"
    assert "a=d" in preview.gone()


def test_sixels_are_sent_again_since_they_are_erased_with_their_lines() -> None:
    preview = Preview("sixel", cell=(8, 18))
    preview.show([checkered()])
    first, second = refreshed(preview), refreshed(preview)
    assert "\x1bP" in first and first == second and preview.gone() == ""
    high = drawn_sixel(re.search(r"\x1bP.*?\x1b\\", first, re.DOTALL)[0]).shape[0]  # type: ignore[index]
    assert high <= first.count("\n") * 18, "it must fit its lines, or the progress line is painted over"


def test_half_blocks_are_the_picture() -> None:
    preview = Preview("blocks")
    preview.show([checkered()])
    told = refreshed(preview)
    assert told.endswith("drawing") and told.count("▀") % told.count("\n") == 0
    assert "38;2;255;0;0" in told and "48;2;0;0;255" in told


def test_a_batch_is_a_strip_of_a_few() -> None:
    whole = strip([checkered()] * (MOST + 3))
    assert whole.size == (16 * MOST, 16)


def test_nothing_is_shown_where_nobody_looks(tmp_path: Path) -> None:
    """The runner's stderr is no terminal: --preview draws the same picture, and says once that nothing is shown."""
    words = ["generate", "a cat on grass", "--seed", "1", "--steps", "2", "-o"]
    plain = CliRunner().invoke(app, [*words, str(tmp_path / "a.png")])
    shown = CliRunner().invoke(app, [*words, str(tmp_path / "b.png"), "--preview"])
    assert plain.exit_code == shown.exit_code == 0, shown.output
    assert plain.stdout.replace("a.png", "b.png") == shown.stdout and "\x1b" not in shown.output
    assert shown.stderr.count("note: no previews: the output is no terminal") == 1 and "no previews" not in plain.output
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "b.png") as other:
        assert one.tobytes() == other.tobytes()


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent")
def test_ctrl_c_keeps_what_the_picture_was_to_become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from realcompo.cli import progress as module

    plain = module.StepProgress.__call__

    def interrupted(self: Any, step: Any, entry: Any) -> None:
        if step.index == 1:
            os.kill(os.getpid(), signal.SIGINT)
        plain(self, step, entry)

    monkeypatch.setattr(module.StepProgress, "__call__", interrupted)
    before = signal.getsignal(signal.SIGINT)
    words = ["generate", "a cat on grass", "--seed", "1", "--steps", "4", "-o", str(tmp_path / "a.png")]
    kept = CliRunner().invoke(app, [*words, "--keep-stopped"])
    assert kept.exit_code == 130 and "stopped after step 2 of 4" in kept.output and (tmp_path / "a.png").exists(), kept.output
    assert signal.getsignal(signal.SIGINT) is before
    (tmp_path / "a.png").unlink()
    lost = CliRunner().invoke(app, words)
    assert lost.exit_code == 130 and not (tmp_path / "a.png").exists()


def test_previews_of_a_run_stand_above_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way on a terminal that is none: the bar's words are there after a preview was drawn, and nothing else is left."""
    from realcompo.cli import progress as module

    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr(module, "console", lambda stderr=False: Console(file=out, force_terminal=True, width=80, height=40))
    monkeypatch.setattr("realcompo.cli.terminal.way_of", lambda *_: "blocks")
    with module.StepProgress(preview=True) as progress:
        toys()(PROMPT, TWO, seed=0, progress=progress)
        progress._bar.refresh()
    told = out.getvalue()
    assert "▀" in told and told.rindex("drawing") > told.rindex("▀"), "the bar is the last line"


class Terminal:
    """A terminal of another program's: it reads what it is sent, and answers the question what it is."""

    def __init__(self, answer: bytes) -> None:
        import pty

        self.master, self.slave = pty.openpty()
        self.answer, self.seen = answer, b""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        while True:
            try:
                got = os.read(self.master, 1 << 16)
            except OSError:
                return
            if not got or got.endswith(b"\0end"):
                self.seen += got
                return
            self.seen += got
            if b"\x1b[c" in got:
                os.write(self.master, self.answer)


@pytest.mark.skipif(os.name != "posix", reason="terminals are asked on POSIX only")
@pytest.mark.parametrize(
    ("answer", "preview", "mark", "others"),
    [
        (b"\x1b_Gi=7301;OK\x1b\\\x1b[?62c", True, b"\x1b_Ga=T", (b"\x1bP0;1q", "▀".encode())),
        (b"\x1b[?62;4c", True, b"\x1bP0;1q", (b"\x1b_Ga=T", "▀".encode())),
        (b"\x1b[?62c", True, "▀".encode(), (b"\x1b_Ga=T", b"\x1bP0;1q")),
        (b"\x1b[?62;4c", False, b"drawing", (b"\x1b_G", b"\x1bP0;1q", "▀".encode(), b"\x1b[c")),
    ],
    ids=["kitty", "sixel", "blocks", "unasked"],
)
def test_a_run_in_a_terminal(answer: bytes, preview: bool, mark: bytes, others: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way through a pseudo-terminal: the question, the answer, and the pictures of each step in the way that it has."""
    import fcntl
    import struct
    import termios

    from realcompo.cli.progress import StepProgress

    terminal = Terminal(answer)
    fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 1000, 800))
    for name in ("TMUX", "STY", "KITTY_WINDOW_ID", "TERM_PROGRAM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    with os.fdopen(os.dup(terminal.slave), "r+b", buffering=0) as raw:
        stream = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stdin", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        with StepProgress(preview=preview) as progress:
            toys()(PROMPT, TWO, seed=0, progress=progress)
            progress._bar.refresh()
        monkeypatch.undo()
        stream.write("\0end")
        terminal.thread.join()
    os.close(terminal.slave)
    os.close(terminal.master)
    assert mark in terminal.seen, terminal.seen[-400:]
    assert not [other for other in others if other in terminal.seen]


@pytest.mark.parametrize(
    ("environment", "tty", "said"),
    [({}, False, "no terminal"), ({"NO_COLOR": "1"}, True, "NO_COLOR"), ({"TERM": "dumb"}, True, "dumb"), (XTERM, True, "UTF-8")],
    ids=["pipe", "no colour", "dumb", "ascii"],
)
def test_why_nothing_is_shown_is_said(environment: dict[str, str], tty: bool, said: str) -> None:
    assert said in lacking(environment, tty)
