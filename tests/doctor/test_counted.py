"""How many components a plugin brings is said in words that a person would use."""

from __future__ import annotations

import pytest

from realcompo.doctor.machine import _counted


@pytest.mark.parametrize(
    ("noun", "one"),
    [
        ("branches", "1 branch"),
        ("synthetics", "1 synthetic"),
        ("suites", "1 suite"),
        ("planners", "1 planner"),
    ],
    ids=lambda value: value,
)
def test_one_is_no_plural(noun: str, one: str) -> None:
    assert _counted(noun, 1) == one and _counted(noun, 2) == f"2 {noun}"
