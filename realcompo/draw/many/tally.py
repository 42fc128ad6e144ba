"""How a batch stands, as its caller sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """How a batch stands.

    Attributes:
        address: of its store.
        pictures: of the recipe.
        drawn: by this run.
        kept: done by earlier runs.
        failed: file → why; of earlier runs, too.
        shards: written by this run.
        notes: what a user should know.
        judged: pictures that scorers looked at in this run.
        unjudged: file → why a scorer has no score of it; of earlier runs, too.
        records: scorer → its records of all pictures, once the batch is at its end.
    """

    address: str
    pictures: int
    drawn: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    shards: int = 0
    notes: list[str] = field(default_factory=list)
    judged: int = 0
    unjudged: dict[str, str] = field(default_factory=dict)
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        """Pictures that are still to draw."""
        return self.pictures - self.drawn - self.kept - len(self.failed)

    def __str__(self) -> str:
        parts = [f"{self.drawn} drawn", f"{self.kept} already there"]
        parts += [f"{self.pending} still to draw"] if self.pending else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += [f"{self.judged} judged"] if self.judged else []
        return ", ".join(parts)


class ManyInterrupted(KeyboardInterrupt):
    """Ctrl-C during a batch; `tally` says what is done."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(f"stopped: {tally} in {tally.address}; the same command goes on from here")
        self.tally = tally
