"""What can go wrong between a prompt and a plan. All are `PlanningError`s, so that whoever plans has one thing to catch."""

from __future__ import annotations

import re

from realcompo.errors import PlanningError


class ServerProblem(PlanningError):
    """The server cannot be reached, refuses, or does not answer in time."""


class KeyProblem(ServerProblem):
    """No key, a wrong one, or one that must not be sent there."""


class ReplyProblem(PlanningError):
    """The model answered, and no answer was a valid layout. Shows the last reply.

    Attributes:
        kind: ``"length"``, ``"refusal"``, ``"null"`` or ``"layout"``.
    """

    kind = "layout"


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]|[\ud800-\udfff]")


def shown(text: str, length: int = 300) -> str:
    """A foreign text that may be printed: no control characters (a terminal would obey them), and not too long."""
    text = _CONTROL.sub("�", text[: length * 4]).strip()
    return text if len(text) <= length else text[: length - 1] + "…"
