"""Toys that fail: what batches with a manifest are tried on, in this process and in their workers."""

from __future__ import annotations

import os
import signal
from typing import Any

from realcompo.registry import Registry
from realcompo.testing import toy_registry, toys


def failing_registry() -> Registry:
    """The toys; a prompt with "tree" is NaN, and one with "bomb" kills the process that draws it."""
    plain = toys.ToyBranch.encode
    if plain.__name__ == "encode":

        def failing(self: Any, request: Any) -> Any:
            told = plain(self, request)
            for b, prompt in enumerate(request.prompts):
                if "bomb" in prompt:
                    os.kill(os.getpid(), signal.SIGKILL)
                if "tree" in prompt:
                    told.mean[b, 0, 0, 0] = float("nan")
            return told

        toys.ToyBranch.encode = failing  # type: ignore[method-assign]
    return toy_registry()
