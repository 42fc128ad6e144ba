"""The branch contract for layout guidance: with a window that covers the step that the contract looks at."""

from __future__ import annotations

from realcompo.testing import BranchContract


class TestLayoutGuidance(BranchContract):
    """The third of ten steps lies just past the original's window."""

    component = "layguide/sd"
    options = {"window": (0.0, 0.9)}  # noqa: RUF012


class TestLayoutGuidanceOnAny(BranchContract):
    """The same on a transformer."""

    component = "layguide/any"
    options = {"window": (0.0, 0.9)}  # noqa: RUF012
