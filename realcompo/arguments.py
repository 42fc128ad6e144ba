"""Numbers of a call, a recipe or the command line, by one rule each: which types are taken, and within which bounds. No torch here.

A whole number is an int, or of another type that is one (numpy's integers): no bool, no float, no text. A number may be fractional, but
must be finite.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Mapping
from typing import Any

from .errors import BadOption

MAX_SIDE = 16384
"""Pixels: a recipe is not trusted, and this is more than any network here draws."""

MAX_PICTURES = 1024
"""Pictures of one batch."""

SEEDS = (-(2**63), 2**64 - 1)
"""The least and the largest seed that a generator takes."""


def whole(name: str, value: Any, least: int | None = None, most: int | None = None, mend: str | None = None) -> int:
    """A whole number from `least` to `most`.

    Raises:
        BadOption: of another type, or out of bounds; names it.
    """
    try:
        number = None if _is_bool(value) or isinstance(value, str) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise BadOption(f"{name} = {shown(value)} is no whole number", mend=mend or _mend(value, least, most))
    if (least is not None and number < least) or (most is not None and number > most):
        raise BadOption(f"{name} = {shown(number)} is out of bounds", mend=mend or _mend(value, least, most))
    return number


def real(name: str, value: Any, least: float | None = None) -> float:
    """A finite number, `least` or more.

    Raises:
        BadOption: of another type, not finite, or less; names it.
    """
    number = value.item() if _is_scalar(value) else value
    if _is_bool(number) or not isinstance(number, numbers.Real):
        raise BadOption(f"{name} = {shown(value)} is no number", mend="write a finite number, such as 7.5")
    try:
        number = float(number)
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise BadOption(f"{name} = {number} is no finite number", mend="write a finite number, such as 7.5")
    if least is not None and number < least:
        raise BadOption(f"{name} = {number:g} is less than {least:g}", mend=f"write {least:g} or more")
    return number


def steps(value: Any, name: str = "num_inference_steps") -> int:
    """A number of denoising steps; how many the scheduler can do is for `noise` to say."""
    return whole(name, value, least=1)


def side(name: str, value: Any) -> int:
    """A height or width in pixels."""
    return whole(name, value, 1, MAX_SIDE)


def seed(value: Any, name: str = "seed") -> int:
    """A seed that a generator takes."""
    return whole(name, value, *SEEDS)


def guidance(value: Any, name: str = "guidance_scale") -> float:
    """A scale of classifier-free guidance; 1 or less is none."""
    return real(name, value, least=0)


def guidances(value: Any) -> float | dict[str, float] | None:
    """One scale for all branches, a table of branch name → scale, or None."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {key: guidance(one, f"guidance_scale of {key!r}") for key, one in value.items()}
    return guidance(value)


def flag(name: str, value: Any) -> bool:
    """True or False.

    Raises:
        BadOption: anything else, such as the text "no", which Python takes for true.
    """
    if not _is_bool(value):
        raise BadOption(f"{name} = {shown(value)} is neither True nor False", mend="write True or False")
    return bool(value)


def text(name: str, value: Any) -> str:
    """A text.

    Raises:
        BadOption: of another type.
    """
    if not isinstance(value, str):
        raise BadOption(f"{name} = {shown(value)} is no text", mend='write a text, such as "a cat and a dog"')
    return str(value)


def called(name: str, value: Any) -> None:
    """Raise BadOption where a function was to be given, and something else was."""
    if value is not None and not callable(value):
        raise BadOption(f"{name} = {shown(value)} cannot be called", mend="give a function, or None")


def shown(value: Any) -> str:
    """A value in a message: its text where that is short, else its type."""
    try:
        said = repr(value)
    except Exception:
        said = ""
    return said if 0 < len(said) <= 60 and "\n" not in said else f"a {type(value).__name__}"


def plain_number(value: Any) -> Any:
    """A number of numpy's as one of Python's; anything else as it is."""
    if isinstance(value, (bool, int, float, str)) and type(value).__module__ == "builtins":
        return value
    return value.item() if _is_scalar(value) else value


def _is_scalar(value: Any) -> bool:
    """A number, bool or text of numpy, or an array or tensor without axes."""
    return hasattr(value, "item") and hasattr(value, "dtype") and getattr(value, "ndim", None) == 0


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or (_is_scalar(value) and isinstance(value.item(), bool))


def _mend(value: Any, least: int | None, most: int | None) -> str:
    bounds = {
        (True, True): f"a whole number from {least} to {most}",
        (True, False): f"a whole number, {least} or more",
        (False, True): f"a whole number, {most} or less",
        (False, False): "a whole number",
    }[least is not None, most is not None]
    if isinstance(value, float) and value.is_integer() and (least is None or value >= least) and (most is None or value <= most):
        bounds += f", such as {int(value)}"
    return f"write {bounds}"
