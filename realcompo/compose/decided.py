"""What feedback decided in a run, picture by picture: kept with the picture, and told again where it is drawn again.

A decision by a threshold flips by rounding: alone and in a batch, or on another processor, sums differ in their last digits. So that a
picture is drawn again as it was, what was decided is told the run, and no threshold is asked a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadPicture
from ..pictures.trace import Trace

MOST = 1000
"""No step makes more moves, and no decision is a larger number, than this in a picture that is believed."""


@dataclass(frozen=True)
class Decided:
    """Of one picture.

    Attributes:
        moves: name of a branch → how many moves of z by its maps, at each step of all passes; 0 at steps beyond its end.
        choices: what `Balancer.decide` said, at each step; () where it decides nothing.
        candidate: the number of the noise that went on, of several; None where there was one.
    """

    moves: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    choices: tuple[int, ...] = ()
    candidate: int | None = None

    def choice(self, position: int, own: int) -> int:
        """The decision of a step; `own` where the picture knows none."""
        return self.choices[position] if position < len(self.choices) else own

    def moved(self, position: int, name: str) -> int:
        """The moves of a step."""
        told = self.moves.get(name, ())
        return told[position] if position < len(told) else 0

    @classmethod
    def read(cls, data: Any, where: str) -> Decided | None:
        """From the facts of a picture; None where it has none.

        Raises:
            BadPicture: they are none.
        """
        if data is None:
            return None
        moves = data.get("moves", {}) if isinstance(data, Mapping) else None
        if not isinstance(moves, Mapping) or not all(_numbers(one) for one in (*moves.values(), data.get("choices", []))):
            raise _damaged(where)
        candidate = data.get("candidate")
        if candidate is not None and not _numbers([candidate]):
            raise _damaged(where)
        return cls({str(name): tuple(one) for name, one in moves.items()}, tuple(data.get("choices", [])), candidate)


def _numbers(told: Any) -> bool:
    return isinstance(told, (list, tuple)) and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MOST for n in told)


def _damaged(where: str) -> BadPicture:
    return BadPicture(
        "what it says was decided in its run (facts, decided) is not lists of whole numbers",
        where=where,
        mend="take another copy of the file",
    )


def decided_in(trace: Trace) -> list[dict[str, Any]]:
    """Of each picture of a run, as plain data, empty where nothing was decided. A run that asked for moves and made none says so."""
    asked = any(entry.moves is not None for entry in trace.entries)
    found = []
    for b in range(trace.entries[0].weights.shape[1] if trace.entries else 0):
        moves = {
            name: [0 if entry.moves is None else int(entry.moves[k, b]) for entry in trace.entries] for k, name in enumerate(trace.names)
        }
        choices = [entry.decided[b] for entry in trace.entries if entry.decided]
        made = {name: told for name, told in moves.items() if any(told)}
        chosen = {"candidate": trace.chosen[b]} if trace.chosen else {}
        found.append({**({"moves": made} if asked else {}), **({"choices": choices} if choices else {}), **chosen})
    return found


def decisions(told: Sequence[Decided | None], position: int, names: Sequence[str]) -> list[list[int | None]] | None:
    """(K, B) how many moves each picture made at a step when it was drawn first; None of those that are drawn for the first time."""
    if not any(told):
        return None
    return [[None if one is None else one.moved(position, name) for one in told] for name in names]
