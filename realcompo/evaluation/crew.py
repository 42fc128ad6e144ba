"""A study's pictures by an engine: workers write them, this process alone writes the lines, in the order of the cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..draw.many.attempt import TRIES
from ..draw.many.work import unpacked
from ..interfaces.engine import Engine, Outcome, Unit, Work
from .jobs import Job, Told


def by_engine(
    engine: Engine,
    work: Work,
    batches: Sequence[Sequence[Job]],
    place: Callable[[Job], str],
    wanted: Callable[[Job], bool],
) -> Iterator[list[tuple[Job, Told]]]:
    """What became of each batch, in their order, whoever was first: what is behind a batch that is not back waits for it.

    Args:
        place: of a job's picture, below the address of `work`.
        wanted: whether it is to be written; the others of its batch are drawn for its sake.

    Raises:
        RealCompoError: what concerns every picture, or the engine.
    """
    back: dict[int, list[tuple[Job, Told]]] = {}
    why: dict[int, str] = {}
    first, left = 0, set(range(len(batches)))
    for _ in range(TRIES):
        if not left:
            break
        for outcome in engine.run(work, (_unit(number, batches[number], place, wanted) for number in sorted(left))):
            if outcome.fatal is not None:
                raise unpacked(outcome.fatal)
            if outcome.lost is not None:
                why[outcome.number] = outcome.lost
            elif outcome.number in left:
                left.discard(outcome.number)
                back[outcome.number] = _told(batches[outcome.number], outcome, place)
            while first in back:
                yield back.pop(first)
                first += 1
    back |= {number: [(job, why.get(number, "it was not drawn")) for job in batches[number] if wanted(job)] for number in left}
    for number in sorted(back):
        yield back[number]


def _unit(number: int, jobs: Sequence[Job], place: Callable[[Job], str], wanted: Callable[[Job], bool]) -> Unit:
    return Unit(
        number,
        tuple(
            {
                "entry": job.entry.model_dump_plain(),
                "transcript": [],
                "file": place(job),
                "place": place(job),
                "request": job.request,
                "write": wanted(job),
            }
            for job in jobs
        ),
    )


def _told(jobs: Sequence[Job], outcome: Outcome, place: Callable[[Job], str]) -> list[tuple[Job, Told]]:
    lines: Mapping[str, Mapping[str, Any]] = {line["picture"]: line for line in outcome.lines}
    return [(job, line["error"] if line["state"] == "failed" else line) for job in jobs if (line := lines.get(place(job))) is not None]
