"""The engine that every batch has: this process, a unit after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ...interfaces.engine import Crew, Engine, Outcome, Unit, Work

if TYPE_CHECKING:
    from ...compose.composer import Progress


class Here(Engine):
    """Draws in this process."""

    def __init__(self, crew: Crew, progress: Progress | None = None) -> None:
        super().__init__(crew)
        self._progress = progress

    @property
    def workers(self) -> int:
        """None but this process."""
        return 0

    def run(self, work: Work, units: Iterable[Unit]) -> Iterator[Outcome]:
        """An outcome a unit, in their order."""
        drawer = work.open()
        if self._progress is not None:
            drawer.progress = self._progress  # type: ignore[attr-defined]
        for unit in units:
            yield drawer(unit)
