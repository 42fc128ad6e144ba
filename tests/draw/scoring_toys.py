"""Scorers that batches are tried on: one that stumbles or kills who asks it, as the prompt says, and one that reads what no recipe has.
What they are asked is written into the folder that JUDGED names."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from realcompo.hookspecs import hookimpl
from realcompo.interfaces import Record, Scorer, Shot
from realcompo.registry import GROUP, Registry
from realcompo.specs import Column, ScorerSpec
from realcompo.testing import toy_registry

REALCOMPO_API = 1
HERE = "tests.draw.scoring_toys"


class Moody(Scorer):
    """Stumbles over "tree", kills over "bomb", and says of the rest how light it is. CALM ends its moods."""

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        return [self._one(shot) for shot in shots]

    def _one(self, shot: Shot) -> dict[str, Any]:
        if folder := os.environ.get("JUDGED"):
            with (Path(folder) / "judged").open("a") as stream:
                stream.write(f"{shot.case.id}\n")
        if "CALM" not in os.environ:
            if "bomb" in shot.case.prompt:
                os.kill(os.getpid(), signal.SIGKILL)
            if "tree" in shot.case.prompt:
                raise ValueError("a tree is too much")
        return {"light": sum(shot.image.convert("L").tobytes()) / (shot.image.width * shot.image.height)}


@hookimpl
def register_scorers() -> list[ScorerSpec]:
    """Of this module."""
    column = (Column(name="light", title="light", top="light"),)
    return [
        ScorerSpec(id="judges/moody", target=f"{HERE}:Moody", columns=column, summary="light, by its mood", reads=("prompt",)),
        ScorerSpec(id="judges/truth", target=f"{HERE}:Moody", columns=column, summary="reads what only suites know", reads=("truth",)),
    ]


def judging_registry() -> Registry:
    """The toys, and these scorers."""
    found: Registry = toy_registry(EntryPoint("judges", HERE, GROUP))
    return found
