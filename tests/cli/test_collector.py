"""The program tells the garbage collector to look seldom; whoever imports the library keeps what is set."""

from __future__ import annotations

import gc
import sys

import pytest

from realcompo.cli import app, main


def test_the_program_has_garbage_collected_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a sixth of the time to the first picture."""
    before = gc.get_threshold()
    monkeypatch.setattr(sys, "argv", ["realcompo", "list"])
    try:
        gc.set_threshold(700, 10, 10)
        with pytest.raises(SystemExit):
            app(args=["list"], prog_name="realcompo")
        assert gc.get_threshold() == (700, 10, 10), "control: a verb alone, as in somebody's process, sets nothing"
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0 and gc.get_threshold()[0] >= 10_000
    finally:
        gc.set_threshold(*before)
