"""What betrays a stranger's data that runs or asks: modules and pickles that write a file when they are read, and a terminal that fails
whoever asks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAMES = (
    "tokenization_own",
    "modeling_own",
    "pipeline",
    "pipeline_own",
    "configuration_own",
    "custom",
    "diffusers",
    "transformers",
    "torch",
    "own",
)
CODE = """
import pathlib
pathlib.Path({told!r}).write_text(__name__)
class Own:
    def __init__(self, *_, **__):
        pathlib.Path({told!r}).write_text("made")
"""
ASKED: list[str] = []
"""What was asked or reached for in a test: an exception alone could be taken for a stranger's damage, and refused with a sentence."""


class Silent:
    """A terminal that fails whoever asks it."""

    def __getattr__(self, name: str) -> Any:
        ASKED.append(f"stdin.{name}")
        raise AssertionError(f"the terminal was asked: stdin.{name}")


def refuse(*words: Any, **more: Any) -> Any:
    ASKED.append(repr(words)[:200])
    raise AssertionError(f"asked or reached for: {words!r}")


def sow(folder: Path, told: Path) -> None:
    """Canaries as modules and as packages' beginnings."""
    for name in (*NAMES, "__init__", "sitecustomize", "conftest", "setup"):
        (folder / f"{name}.py").write_text(CODE.format(told=str(told)))


class Sings:
    """Pickled: writes the canary's file when it is read."""

    def __init__(self, told: Path) -> None:
        self.told = told

    def __reduce__(self) -> Any:
        return Path.write_text, (self.told, "a pickle was read")
