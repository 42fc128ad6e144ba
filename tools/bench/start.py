"""What a user waits for before anything is drawn."""

from __future__ import annotations

import subprocess
import sys

from . import benchmark, best, seconds


def _python(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)


@benchmark("python alone")
def python_alone() -> str:
    """What no import of ours can undercut."""
    return seconds(best(lambda: _python("-c", ""), times=5))


@benchmark("realcompo --help")
def help_time() -> str:
    """All verbs, no torch."""
    return seconds(best(lambda: _python("-m", "realcompo", "--help"), times=5))


@benchmark("realcompo list")
def list_time() -> str:
    """Every plugin's declarations, no torch."""
    return seconds(best(lambda: _python("-m", "realcompo", "list"), times=3))
