"""The engine of one machine: so many processes that share one copy of the weights (mother.py), each with one thread."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from ...errors import BadOption, PluginProblem
from ...interfaces.engine import Crew, Engine, Outcome, Unit, Work
from .work import unpacked

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
EACH, LEAST = 4, 16
"""Workers for each CPU, and on any machine: each has a thread, a few hundred megabytes of its own, and more than one a CPU gain nothing."""


@dataclass
class Hand:
    """A worker as its batch sees it, and the unit that it is at."""

    line: Connection
    mother: int
    unit: Unit | None = None


class Workers(Engine):
    """Draws in processes of this machine.

    Args:
        devices: GPUs that workers are spread over, as CUDA_VISIBLE_DEVICES names them; none: the CPU, and shared weights.
    """

    def __init__(self, crew: Crew, devices: tuple[str, ...] = ()) -> None:
        super().__init__(crew)
        if not hasattr(os, "fork"):
            raise BadOption("this system cannot fork processes", where="--workers", mend="leave it out, or use --on ray")
        cpus = os.cpu_count() or 1
        if crew.workers > (most := max(LEAST, EACH * cpus)):
            raise BadOption(
                f"{crew.workers} workers on a machine of {cpus} CPUs", where="--workers", mend=f"take {most} at most: each has one thread"
            )
        self._devices = devices
        self._mothers: list[tuple[subprocess.Popen[bytes], socket.socket]] = []
        self._hands: list[Hand] = []

    def run(self, work: Work, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Outcomes as they come; a worker that died is replaced, and its unit's outcome says that it is lost."""
        more = iter(units)
        if not self._mothers:
            for device in self._devices[: self.crew.workers] or (None,):
                self._mothers.append(_mother(work, device))
        while True:
            while sum(hand.unit is not None for hand in self._hands) < self.crew.workers and (unit := next(more, None)) is not None:
                hand = next((one for one in self._hands if one.unit is None), None)
                if hand is None:  # no more are hired than there are units
                    hand = self._hire(len(self._hands) % len(self._mothers))
                    self._hands.append(hand)
                hand.unit = unit
                self._give(hand, unit)
            busy = {hand.line: hand for hand in self._hands if hand.unit is not None}
            if not busy:
                return
            for line in wait(list(busy)):
                yield self._taken(work, busy[line])  # type: ignore[index]

    def _give(self, hand: Hand, unit: Unit) -> None:
        try:
            hand.line.send_bytes(json.dumps(unit.plain()).encode())
        except OSError:
            return  # it is dead: reading says so

    def _taken(self, work: Work, hand: Hand) -> Outcome:
        unit, hand.unit = hand.unit, None
        try:
            return Outcome.of(json.loads(hand.line.recv_bytes()))
        except (EOFError, OSError):
            pass
        hand.line.close()
        if self._mothers[hand.mother][0].poll() is not None:
            device = self._devices[hand.mother] if self._devices else None
            self._mothers[hand.mother] = _mother(work, device)
        self._hands[self._hands.index(hand)] = self._hire(hand.mother)
        return Outcome(-1 if unit is None else unit.number, lost="its worker died")

    def _hire(self, mother: int) -> Hand:
        """A new worker of a mother."""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.suppress(OSError):  # she is dead: so is the line, and reading says so
            socket.send_fds(self._mothers[mother][1], [b"w"], [theirs.fileno()])
        return Hand(Connection(ours.detach()), mother)

    def close(self) -> None:
        """Hang up: workers leave their pictures, mothers end."""
        for hand in self._hands:
            hand.line.close()
        for process, control in self._mothers:
            control.close()
            process.kill()
            process.wait()
        self._hands, self._mothers = [], []


def _mother(work: Work, device: str | None) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A mother whose weights are loaded.

    Raises:
        RealCompoError: what loading them raised.
    """
    ours, theirs = socket.socketpair()
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    shares = "loads" if device is None and sys.platform == "linux" else "later"
    with theirs, _uninterrupted():
        command = [sys.executable, "-m", f"{__package__}.mother", str(theirs.fileno()), shares]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
    told = Connection(os.dup(ours.fileno()))
    try:
        told.send_bytes(json.dumps(work.plain()).encode())
        problem = json.loads(told.recv_bytes())
    except (EOFError, OSError):
        code = process.wait()
        raise PluginProblem(
            f"the process that loads the weights ended with {code}", where="--workers", mend="see above what it said; try without --workers"
        ) from None
    except BaseException:  # Ctrl-C: nobody waits for gigabytes that are loaded
        process.kill()
        process.wait()
        ours.close()
        raise
    finally:
        told.close()
    if problem is not None:
        process.wait()
        raise unpacked(problem)
    return process, ours


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal: what is started here does not see it before it has said that it is not meant."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
