"""What is fuzzed: each target makes a mutated input from a generator, and feeds it to the code that reads strangers' input.

An input that is refused raises a RealCompoError; one that is taken is used as far as it can be without weights. What is in a table of the
product (formats of layouts, readers of conditions, parts of a checkpoint) is read from there, so that a new one is fuzzed without a change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .checkpoints import Configs, Headers, Keys, Loras
from .conditions import Conditions
from .floods import Floods
from .layouts import Layouts
from .mutations import Mutator
from .pictures import Pictures
from .recipes import Recipes
from .replies import Replies

__all__ = ["SHARES", "TARGETS", "Mutator"]


class Target(Protocol):
    """One kind of input."""

    def make(self, mutator: Mutator) -> Any:
        """A mutated input."""

    def feed(self, sample: Any) -> None:
        """Read it, and use what was read."""


TARGETS: Mapping[str, Callable[[Path], Target]] = {
    "recipe-toml": lambda folder: Recipes(folder, ".toml"),
    "recipe-yaml": lambda folder: Recipes(folder, ".yaml"),
    "recipe-json": lambda folder: Recipes(folder, ".json"),
    "layouts": Layouts,
    "conditions": Conditions,
    "replies": Replies,
    "png": Pictures,
    "headers": Headers,
    "keys": Keys,
    "configs": Configs,
    "loras": Loras,
    "floods": Floods,
}
SHARES = {
    **{"recipe-toml": 10.0, "recipe-yaml": 3.0, "recipe-json": 10.0, "layouts": 22.0, "conditions": 24.0, "replies": 13.0},
    **{"png": 5.0, "headers": 8.0, "keys": 2.5, "configs": 2.35, "loras": 0.05, "floods": 0.1},
}
"""Hundredths of all inputs: more where one is quick to feed."""
