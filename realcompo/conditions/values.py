"""Numbers, sides and ids as files write them: also as texts ("640"), as many exports do."""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_LONGEST = 40
"""Characters of a number: more are no measurement, and cost time."""
_LONGEST_SIDE = 1 << 20


def number(value: Any) -> float | None:
    """The finite number that a value is or spells; None for everything else (NaN, infinity, true, null, words)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
            return None
        value = float(text)
    if not isinstance(value, Real):
        return None
    try:
        found = float(value)
    except OverflowError:  # a whole number of four hundred digits
        return None
    return found if math.isfinite(found) else None


def side(value: Any) -> int | None:
    """Pixels of a picture's side, whole and at least 1; None where a value is none."""
    found = number(value)
    return int(found) if found is not None and found == int(found) and 1 <= found <= _LONGEST_SIDE else None


def key(value: Any) -> str | None:
    """An id as a text, so that 7, 7.0 and "7" are one; None where there is none."""
    if isinstance(value, str):
        return value.strip()
    found = number(value)
    if found is None:
        return None
    return str(value) if isinstance(value, int) else str(int(found)) if found == int(found) else str(found)
