"""Errors as the API tells them: what, where, mend, and the field of the recipe that each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from realcompo.errors import RealCompoError

At = tuple[str | int, ...]
"""Where a value stands in a recipe: ("pictures", 0, "seed")."""


class Denied(RealCompoError):
    """A request to the studio that is not answered: nobody's, to the wrong place, or too much."""

    def __init__(self, what: str, *, status: int, where: str | None = None, mend: str | None = None, kind: str = "Refused") -> None:
        super().__init__(what, where=where, mend=mend)
        self.status, self.kind = status, kind


def not_found(what: str, mend: str) -> Denied:
    """404."""
    return Denied(what, mend=mend, kind="NotFound", status=404)


def too_large(what: str, mend: str) -> Denied:
    """413."""
    return Denied(what, mend=mend, kind="TooLarge", status=413)


@dataclass(frozen=True)
class Problem:
    """One error and its place in the recipe; None where it has none."""

    error: RealCompoError
    at: At | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        error = self.error
        return {
            "kind": getattr(error, "kind", None) or type(error).__name__,
            "what": error.what,
            "where": error.where,
            "mend": error.mend,
            "at": None if self.at is None else list(self.at),
            "text": str(error),
        }


class Unfit(Exception):
    """A recipe that cannot be drawn, with all that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(one.error) for one in problems))
        self.problems = tuple(problems)


def answer(problems: Sequence[Problem]) -> dict[str, Any]:
    """The body of an answer that is an error."""
    return {"errors": [one.plain() for one in problems]}


def unexpected(error: BaseException) -> RealCompoError:
    """A mistake of ours or of a plugin's, as an error that can be told."""
    if isinstance(error, RealCompoError):
        return error
    return RealCompoError(
        f"unexpected {type(error).__name__}: {error}",
        mend="this is a mistake of RealCompo or of a plugin: start the studio with --debug, see the terminal, and report it",
    )
