"""What every part of a recipe keeps to: frozen, no name that it has not, numbers of arguments.py's kinds, options as plain data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, field_validator, model_validator

from ..arguments import flag, plain_number, real, shown, whole
from ..errors import BadOption, BadRecipe, UnknownName, nearest


def _by(rule: Callable[[str, Any], Any]) -> BeforeValidator:
    """A rule of arguments.py as pydantic asks for it: the same types are taken in a recipe and in a call."""

    def check(value: Any) -> Any:
        try:
            return value if value is None else rule("it", value)
        except BadOption as error:
            raise ValueError(str(error.mend).replace("write", "should be", 1)) from None

    return BeforeValidator(check)


Whole = Annotated[int, _by(whole)]
Real = Annotated[float, _by(real)]
Flag = Annotated[bool, _by(flag)]


class Part(BaseModel):
    """The base of every table of a recipe."""

    # A number that is not finite decides no picture, and JSON cannot hold it.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @field_validator("options", "scheduler_options", mode="before", check_fields=False)
    @classmethod
    def _plain_options(cls, value: Any) -> Any:
        return plain_data(value) if isinstance(value, Mapping) else value

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        """A bare name will do for a branch, a balancer or a planner without more to say."""
        return {"name": value} if isinstance(value, str) and "options" in cls.model_fields else value


MAX_DEPTH = 64
"""Tables and lists inside each other: a recipe has nine, and what walks it calls itself."""


def plain_data(value: Any, depth: int = 0) -> Any:
    """Plain data as files hold it: tuples become lists, paths become texts, numpy's numbers Python's; an object in memory is left as it is.

    Raises:
        ValueError: a number that is not finite, a key that is not a text, a text that no file can hold, or too many tables in each other.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} tables or lists stand in each other")
    if isinstance(value, str):
        return check_text(value)
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise ValueError(f"a name must be a text, not {wrong[0]!r}")
        return {check_text(key): plain_data(one, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(one, depth + 1) for one in value]
    value = plain_number(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return str(value) if isinstance(value, PurePath) else value


def check_text(text: str) -> str:
    """The text, if it is one: JSON can spell half a surrogate pair, which no file and no tokenizer takes.

    Raises:
        ValueError: it holds one.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text[:60]!r} holds half of a surrogate pair, which is no character") from None
    return text


P = TypeVar("P", bound=Part)


def read_part(cls: type[P], data: Mapping[str, Any], where: str) -> P:
    """A part of a recipe from a mapping of the caller's.

    Raises:
        UnknownName: a key that it has not. BadRecipe: a value that it cannot take.
    """
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise BadOption(f"{where} cannot be {shown(data)}", mend=f"give a table of {', '.join(cls.model_fields)}")
    try:
        return cls(**data)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UnknownName(f"{where} has no {name!r}", mend=nearest(name, cls.model_fields)) from None
        raise BadRecipe(
            f"{name}: {first['msg'].removeprefix('Value error, ')}", where=where, mend=f"its fields: {', '.join(cls.model_fields)}"
        ) from None
