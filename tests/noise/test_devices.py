"""Devices: a gradient that is the same at every run, and what is left as it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils import deterministic

from realcompo.noise.devices import steadily

CARD: Any = SimpleNamespace(type="cuda")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # put back afterwards


def modes() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )


def test_on_a_card_operations_are_steady_and_afterwards_all_is_as_before():
    before = modes()
    assert steadily(CARD, modes) == (True, False, False)  # strict: torch's attentions only warn otherwise
    assert modes() == before != (True, False, False)


def test_on_a_cpu_nothing_is_switched():
    assert steadily(torch.device("cpu"), modes) == modes()


def test_an_operation_that_has_no_steady_form_is_made_as_it_comes():
    seen = []

    def call() -> str:
        seen.append(modes()[0])
        if seen[-1]:
            raise RuntimeError("upsample_bicubic2d_backward does not have a deterministic implementation")
        return "done"

    assert steadily(CARD, call) == "done"
    assert seen == [True, False]


def test_another_error_is_told_and_the_modes_are_put_back():
    def call() -> None:
        raise RuntimeError("a shape is wrong")

    before = modes()
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        steadily(CARD, call)
    assert modes() == before


def test_what_the_user_asked_for_stays_asked():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        steadily(CARD, modes)
        assert modes()[:2] == (True, True)
    finally:
        torch.use_deterministic_algorithms(False)
