"""Hostile inputs from good ones: bytes that were flipped, cut and spliced; plain data with values of other kinds, sizes and depths. All
from one generator, so that a seed makes the same input again."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

TEXTS = (
    *(
        "",
        " ",
        "\0",
        "\n",
        "a\nb",
        "\x1b[2J",
        "%s%n{}",
        "$(touch canary)",
        "`touch canary`",
        "'; touch canary; '",
        "__class__",
        "nan",
        "None",
    ),
    *("\ud800", "a\udfffb", "\ufeff", "é", "e\u0301", "‮טקסט", "好", "👩‍👩‍👧", "İ", "ß", "\u2028", "\U0010ffff", "a" * 5000, "🦊" * 400),
    *("../../etc/passwd", "/etc/passwd", "~/.ssh/id_rsa", "/dev/stdin", "/dev/zero", "C:\\x", "file:///etc/passwd", "package://os/x", "."),
    *(
        "package:///etc",
        "package://../x/y",
        "http://127.0.0.1:9/",
        "a/b",
        "toy/fidelity",
        "toy/spatial",
        "core/balance",
        "core/fixed",
        "{prompt}",
    ),
)
NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 8, 255, 2**31, -(2**31), 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400, -(10**400)),
    *(0.0, -0.0, 0.5, 1e-320, 1e-9, 1.0000001, 1e300, -1e308, float("nan"), float("inf"), float("-inf"), True, False),
)


class Mutator:
    """All kinds of change, from one generator."""

    def __init__(self, seed: str) -> None:
        self.seed, self.random = seed, random.Random(seed)

    # -- plain data -------------------------------------------------------------------------------------------------------------

    def data(self, value: Any, others: Sequence[Any] = ()) -> Any:
        """A copy of plain data with one to four changes; parts of `others` may get into it."""
        box = [copy.deepcopy(value)]
        for _ in range(self.random.choice((1, 1, 1, 2, 2, 4))):
            self._change(box, others)
        return box[0]

    def _change(self, box: list[Any], others: Sequence[Any]) -> None:
        holder, key = self.random.choice(places(box))
        old = holder[key]
        kind = self.random.randrange(12)
        if kind == 0 and len(places(box)) > 1 and holder is not box:
            del holder[key]
        elif kind == 1 and isinstance(holder, list) and holder is not box:
            holder[key:key] = [copy.deepcopy(old)] * self.random.choice((1, 1, 2, 30))
        elif kind == 2 and isinstance(holder, dict):
            holder[self.key(holder)] = holder.pop(key)
        elif kind == 3 and isinstance(holder, dict):
            holder[self.key(holder)] = copy.deepcopy(self.value())
        elif kind == 4:
            holder[key] = self.other_kind(old)
        elif kind == 5:
            pool = places([*others, box[0]])
            from_, name = self.random.choice(pool)
            holder[key] = copy.deepcopy(from_[name])
        elif kind == 6:
            holder[key] = self.nested(old)
        elif kind == 7 and isinstance(old, list):
            self.random.shuffle(old)
        elif isinstance(old, (int, float)) and not isinstance(old, bool):
            holder[key] = self.number(old)
        elif isinstance(old, str):
            holder[key] = self.text(old)
        else:
            holder[key] = copy.deepcopy(self.value())

    def key(self, table: dict[Any, Any]) -> str:
        """A name: another's, or one that nobody has."""
        return self.text(self.random.choice(list(table))) if table and self.random.random() < 0.5 else self.random.choice(TEXTS[:40])

    def value(self) -> Any:
        """A hostile value."""
        return self.random.choice((None, [], {}, [[]], {"": {}}, self.random.choice(NUMBERS), self.random.choice(TEXTS)))

    def other_kind(self, value: Any) -> Any:
        """The same as another type."""
        made: Sequence[Callable[[], Any]] = (
            lambda: [value],
            lambda: {"a": value},
            lambda: str(value)[:200],
            lambda: list(value) if isinstance(value, (dict, str)) else {str(i): one for i, one in enumerate(value or ())},
            lambda: list(value.items()) if isinstance(value, dict) else None,
            lambda: float(value) if isinstance(value, int) else int(value),
        )
        try:
            return self.random.choice(made)()
        except (TypeError, ValueError, OverflowError):
            return None

    def number(self, value: float) -> Any:
        """Another number."""
        if not abs(value) < 1e300:
            return self.random.choice(NUMBERS)
        return self.random.choice((value + 1, -value, value * 2, value / 3, value * 1e6, value + 1e-9, *NUMBERS))

    def text(self, value: str) -> str:
        """Another text, or a changed one."""
        kind, at = self.random.randrange(5), self.random.randrange(len(value) + 1)
        if kind == 0:
            return self.random.choice(TEXTS)
        if kind == 1:
            return value[:at] + self.random.choice(TEXTS) + value[at:]
        if kind == 2:
            return value[:at] + value[at + 1 :]
        if kind == 3:
            return value[:at]
        return value.swapcase() if self.random.random() < 0.5 else (value * 40)[:4000]

    def nested(self, value: Any) -> Any:
        """Inside many lists or tables."""
        for _ in range(self.random.choice((1, 3, 20, 90))):
            value = [value] if self.random.random() < 0.5 else {"a": value}
        return value

    # -- texts and bytes -----------------------------------------------------------------------------------------------------------

    def words(self, text: str, hostile: Sequence[str] = ()) -> str:
        """A text with changes of its letters, lines and numbers; pieces of `hostile` are put in."""
        for _ in range(self.random.choice((1, 1, 2, 3))):
            at, end = sorted((self.random.randrange(len(text) + 1), self.random.randrange(len(text) + 1)))
            kind = self.random.randrange(10)
            if kind == 0:
                text = text[:at]
            elif kind == 1:
                text = text[:at] + text[end:]
            elif kind == 2:
                text = text[:end] + text[at : at + 300] + text[end:]
            elif kind == 3 and hostile:
                text = text[:at] + self.random.choice(hostile) + text[at:]
            elif kind == 4:
                opening = self.random.choice("[{(\"'")
                text = text[:at] + opening * self.random.choice((1, 50, 2000, 60_000)) + text[at:]
            elif kind == 5:
                text = text[:at] + self.random.choice(TEXTS) + text[at:]
            elif kind == 6:
                numbers = list(re.finditer(r"-?\d+(?:\.\d+)?", text))
                if numbers:
                    one = self.random.choice(numbers)
                    said = self.random.choice(("1e999", "-1", "0", "NaN", "Infinity", "9" * 400, "0x1F", "1_0", "٣", "1e-400", "1e5", ".5"))
                    text = text[: one.start()] + said + text[one.end() :]
            elif kind == 7:
                lines = text.splitlines(keepends=True) or [""]
                line = self.random.randrange(len(lines))
                again = self.random.choice((1, 1, 3))
                text = "".join([*lines[:line], *[lines[line]] * (1 + again), *lines[line + 1 :]])  # also a key that is said twice
            elif kind == 8 and text:
                at = min(at, len(text) - 1)
                text = text[:at] + chr(ord(text[at]) ^ self.random.choice((1, 2, 4, 16, 32))) + text[at + 1 :]
            else:
                text = text[:at] + self.random.choice(",:=[]{}()'\"\\\n#&*!|<>-") + text[at:]
        return text

    def bytes(self, data: bytes, other: bytes = b"") -> bytes:
        """Bytes that were flipped, cut, doubled, spliced with others, or have another number in them."""
        body = bytearray(data)
        for _ in range(self.random.choice((1, 1, 2, 5))):
            at, end = sorted((self.random.randrange(len(body) + 1), self.random.randrange(len(body) + 1)))
            kind = self.random.randrange(7)
            if kind == 0 and body:
                body[at % len(body)] ^= 1 << self.random.randrange(8)
            elif kind == 1:
                del body[at:]
            elif kind == 2:
                del body[at : min(end, at + 64)]
            elif kind == 3:
                body[at:at] = body[at : min(end, at + 256)]
            elif kind == 4:
                body[at:at] = other[: self.random.randrange(len(other) + 1)]
            elif kind == 5:
                width, order = self.random.choice((2, 4, 8)), self.random.choice(("little", "big"))
                number = self.random.choice((0, 1, 255, 65535, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)) % (1 << 8 * width)
                body[at : at + width] = number.to_bytes(width, order)  # type: ignore[arg-type]
            else:
                body[at:at] = self.random.randbytes(self.random.choice((1, 4, 64)))
        return bytes(body)


def places(value: Any) -> list[tuple[Any, Any]]:
    """(holder, key) of every value in plain data, the first 2,000."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting and len(found) < 2000:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        for key in keys:
            found.append((one, key))
            if isinstance(one[key], (dict, list)):
                waiting.append(one[key])
    return found


def json_text(value: Any, mutator: Mutator) -> str:
    """JSON in one of its looks. Numbers that are none stay as Python writes them; a key may be written twice."""
    text = json.dumps(value, ensure_ascii=mutator.random.random() < 0.5, indent=mutator.random.choice((None, 1)))
    if mutator.random.random() < 0.05 and (keys := re.findall(r'"[^"\\]*":', text)):
        key = mutator.random.choice(keys)
        text = text.replace(key, f"{key} 1, {key}", 1)
    return text


def encoded(text: str, mutator: Mutator) -> bytes:
    """A text as a file's bytes: UTF-8 nearly always. Half a surrogate pair, which is no text, is written as such programs write it."""
    encoding = "utf-16" if mutator.random.random() < 0.01 else "utf-8"
    head = b"\xef\xbb\xbf" if mutator.random.random() < 0.02 else b""
    return head + text.encode(encoding, errors="surrogatepass")
