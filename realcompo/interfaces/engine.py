"""What carries the drawing of a batch out: in this process, in several, or on a cluster.

All that passes between a batch and its engine is plain data, so that it can go through a pipe, into another machine, or into a log.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Unit:
    """Pictures that are drawn at once. Which those are, the recipe decides, and not what is left to draw: a picture's last digits depend on
    what it is drawn beside.

    Attributes:
        number: of the unit; the same at every run.
        pictures: plain data of each: its entry of the recipe, its file, whether it is to be written or is there already, and whether it is
            judged.
    """

    number: int
    pictures: tuple[Mapping[str, Any], ...]

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"number": self.number, "pictures": list(self.pictures)}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Unit:
        """Of plain data."""
        return cls(data["number"], tuple(data["pictures"]))


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        number: of the unit.
        lines: one for each picture that was to be written: it is there, or why it could not be drawn.
        lost: why nothing is known of the unit: its worker died.
        fatal: an error that concerns every unit, as plain data: the batch ends.
    """

    number: int
    lines: tuple[Mapping[str, Any], ...] = ()
    lost: str | None = None
    fatal: Mapping[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"number": self.number, "lines": list(self.lines), "lost": self.lost, "fatal": self.fatal}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Outcome:
        """Of plain data."""
        return cls(data["number"], tuple(data["lines"]), data["lost"], data["fatal"])


class Work(Protocol):
    """How a unit is drawn, as plain data that any process of any machine with the same plugins can open."""

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; `realcompo.interfaces.engine.opened` opens it again."""

    def open(self) -> Callable[[Unit], Outcome]:
        """What draws units and writes their pictures. Loads the weights when the first is drawn."""


@dataclass(frozen=True)
class Crew:
    """How many draw, and what each may take.

    Attributes:
        workers: processes or actors, each with the weights of its own unless they can share them.
        in_flight: units that are handed out and not yet back, at most; None: two a worker.
        gpus: of each worker; a share of one lets several stand on it. None: one if the machine has any.
        address: of a cluster to join; None starts what is needed on this machine.
        cpus: logical CPUs of each worker.
    """

    workers: int = 1
    in_flight: int | None = None
    gpus: float | None = None
    address: str | None = None
    cpus: float = 1.0


class Engine(ABC):
    """Draws units, each once, in any order. A worker that dies costs its units an outcome that says so, and is replaced."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew

    @abstractmethod
    def run(self, work: Work, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Outcomes as they come. `units` is read as workers become free: it may be long, and planning goes on in it.

        Raises:
            RealCompoError: the engine cannot be started.
        """

    @property
    def told(self) -> str:
        """What a user may want to know of it, such as where its dashboard is."""
        return ""

    @property
    def workers(self) -> int:
        """Processes other than this one that write pictures; 0: this one does."""
        return self.crew.workers

    @property
    def elsewhere(self) -> bool:
        """Whether workers may be on other machines: that this one lacks the recipe's device is no error then."""
        return False

    def close(self) -> None:  # noqa: B027 - an engine may have nothing to end
        """End what was started; what it was at is lost. May be called twice."""
