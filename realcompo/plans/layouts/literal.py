"""A reader for lists of plain values as Python writes them: texts in either quotes, numbers, lists and tuples. Nothing is evaluated."""

from __future__ import annotations

import math
import re
from typing import Any

from ...errors import BadCondition

_DEPTH = 8
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "\n": ""}
_CLOSING = {"[": "]", "(": ")"}


def read_literal(text: str, where: str, at: int = 0) -> tuple[Any, int]:
    """The value that begins at a place, and the place after it; lists and tuples both as lists.

    Raises:
        BadCondition: no such value; says on which line.
    """
    return _Reader(text, where, at).read()


def write_text(text: str) -> str:
    """A text as `read_literal` reads it back, on one line."""
    quote = '"' if "'" in text and '"' not in text else "'"
    letters = []
    for letter in text:
        if letter in ("\\", quote):
            letters.append("\\" + letter)
        elif letter.isprintable():
            letters.append(letter)
        else:
            code = ord(letter)
            letters.append(f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
    return quote + "".join(letters) + quote


class _Reader:
    def __init__(self, text: str, where: str, at: int) -> None:
        self.text, self.where, self.at, self.depth = text, where, at, 0

    def read(self) -> tuple[Any, int]:
        value = self.value()
        return value, self.at

    def fail(self, what: str) -> BadCondition:
        line = self.text.count("\n", 0, self.at) + 1
        return BadCondition(f"line {line}: {what}", where=self.where, mend="write [('a cat', [x, y, width, height]), …]")

    def blank(self) -> str:
        """Pass over white space; the next character, or nothing at the end."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def value(self) -> Any:
        here = self.blank()
        if here in _CLOSING:
            return self.several(_CLOSING[here])
        if here in ("'", '"'):
            return self.quoted(here)
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            raise self.fail(f"{self.text[self.at : self.at + 12]!r} is no text, number or list" if here else "it ends too early")
        self.at = found.end()
        words = found.group()
        number = float(words) if len(words) < 40 else math.inf
        if not math.isfinite(number):
            raise self.fail("a number is too long")
        return int(words) if words.lstrip("+-").isdigit() else number

    def several(self, closing: str) -> list[Any]:
        self.depth += 1
        if self.depth > _DEPTH:
            raise self.fail("lists are nested too deeply")
        self.at += 1
        found: list[Any] = []
        while self.blank() != closing:
            found.append(self.value())
            here = self.blank()
            if here == ",":
                self.at += 1
            elif here != closing:
                raise self.fail(f"a comma or {closing!r} is missing" if here else f"it ends before {closing!r}")
        self.at += 1
        self.depth -= 1
        return found

    def quoted(self, quote: str) -> str:
        end = self.at + 1
        while end < len(self.text) and self.text[end] != quote:
            if self.text[end] == "\n":
                break
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text) or self.text[end] != quote:
            raise self.fail(f"a text that {quote} opens is not closed")
        body, self.at = self.text[self.at + 1 : end], end + 1
        return _ESCAPE.sub(self.escaped, body)

    def escaped(self, found: re.Match[str]) -> str:
        code = found.group(1) or found.group(2) or found.group(3)
        if code is None:
            return _SIMPLE.get(found.group(4), found.group())
        number = int(code, 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise self.fail(f"{found.group()!r} is no character")
        return chr(number)
