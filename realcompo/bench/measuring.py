"""Draws, timed, counted and weighed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ..noise.spans import watched
from ..pictures.result import Result
from ..pictures.trace import Cost
from .clock import Parts, Steps, named, wait
from .memory import Peak
from .pairing import Spread, spread, turns
from .subjects import Subject


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of a subject.

    Attributes:
        seconds: from call to pictures.
        steps: of each step, the first with encoding before it.
        phases: what the run does in a step → seconds of each.
        parts: see `clock.Parts`; empty where the device was not waited for.
    """

    seconds: float
    steps: tuple[float, ...]
    phases: Mapping[str, Sequence[float]]
    parts: Mapping[str, Sequence[float]]
    result: Result

    @property
    def own(self) -> float:
        """Seconds outside of all parts: balancing, masks, looking for NaN, the trace, the PNG's signature."""
        return self.seconds - sum(map(sum, self.parts.values()))

    @property
    def step(self) -> float:
        """The median of the steps after the first, which has the encoding before it; of one step, that one."""
        return median(self.steps[1:] or self.steps)


def draw(subject: Subject, parts: bool = True, latents: bool = False) -> Draw:
    """Draw a subject's pictures once.

    Args:
        parts: time the parts, too, for which the device is waited for at each: on a CPU that costs nothing.
        latents: decode nothing.
    """
    composer = subject.composer
    clock, watch = Parts(composer.device), Steps([m.name for m in composer.members])
    with ExitStack() as stack:
        if parts:
            stack.enter_context(watched(clock))
        wait(composer.device)
        watch.last = begin = time.perf_counter()
        result = composer.compose(subject.pictures, output_type="latent" if latents else "pil", progress=watch)
        wait(composer.device)
        seconds = time.perf_counter() - begin
    return Draw(seconds, tuple(watch.all), watch.found, clock.found, result)


def weigh(subject: Subject, latents: bool = False) -> Peak:
    """The most memory that a draw of a subject holds; it is a draw of its own, for on a CPU counting slows it down."""
    composer = subject.composer
    with Peak(composer.device, composer.branches) as peak:
        composer.compose(subject.pictures, output_type="latent" if latents else "pil")
    return peak


@dataclass
class Measured:
    """All draws of a subject.

    Attributes:
        draws: timed, in their order.
        apart: draws whose parts were timed: the same where the device need not be waited for.
        memory: of a draw; None where it was not asked.
    """

    subject: Subject
    draws: list[Draw] = field(default_factory=list)
    apart: list[Draw] = field(default_factory=list)
    memory: Peak | None = None

    def go(self) -> float:
        """One draw more; returns its seconds."""
        parts = self.subject.composer.device.type != "cuda"
        self.draws.append(draw(self.subject, parts=parts))
        if parts:
            self.apart.append(self.draws[-1])
        return self.draws[-1].seconds

    @property
    def cost(self) -> Cost:
        return self.draws[0].result.cost

    @property
    def own(self) -> float:
        """The share of a draw that is the framework's own: the median over draws."""
        return median(one.own / one.seconds for one in self.apart)

    def told(self) -> dict[str, Any]:
        """For a record."""
        result, count = self.draws[0].result, len(self.subject.pictures)
        recipe, made = result.recipe.plain(), self.subject.made
        seconds = [one.seconds for one in self.draws]
        whole = median(one.seconds for one in self.apart)
        return {
            "label": self.subject.label,
            "networks": self.subject.networks,
            "recipe": recipe if made is None else made.named(recipe),
            "remarks": list(result.remarks),
            "pictures": count,
            "steps": len(result.trace.entries),
            "cost_f": {named(part): value for part, value in result.cost.parts.items()},
            "sampling_f": result.cost.sampling,
            "flop_of_one_f": result.cost.unit,
            "seconds": {
                "draws": seconds,
                "draw": median(seconds),
                "picture": median(seconds) / count,
                "step": median(one.step for one in self.draws),
                "phases": _phases(self.draws),
            },
            "parts": {part: self._part(part, whole) for part in sorted({part for one in self.apart for part in one.parts}, key=_order)},
            "own": {"seconds": median(one.own for one in self.apart), "share": self.own},
            "memory": None if self.memory is None else self.memory.told(),
        }

    def _part(self, part: str, whole: float) -> dict[str, Any]:
        """Calls and seconds of a draw; the first call of a kind also counts operations, and is slower by that."""
        found = [one.parts.get(part, ()) for one in self.apart]
        total = median(sum(calls) for calls in found)
        calls = [span for one in found for span in one]
        return {
            "calls": len(found[0]),
            "seconds": total,
            "share": total / whole,
            "call": median(calls),
            "first_call": median(one[0] for one in found if one),
        }


_PARTS = ("encode", "predict", "probe", "move", "solver", "decode")


def _order(part: str) -> tuple[int, str]:
    kind = part.split(" ")[0]
    return (_PARTS.index(kind) if kind in _PARTS else len(_PARTS), part.replace("backward", "~"))


def _phases(draws: Sequence[Draw]) -> dict[str, Any]:
    """What the run does in a step → how many of a draw's steps, and the median of one."""
    found: dict[str, list[float]] = {}
    for one in draws:
        for phase, spans in one.phases.items():
            found.setdefault(phase, []).extend(spans)
    return {phase: {"steps": len(spans) // len(draws), "seconds": median(spans)} for phase, spans in found.items()}


def warm(subject: Subject) -> None:
    """Load the weights and draw once, so that what is made once is not timed: kernels that are chosen, code that is compiled."""
    draw(subject, parts=False)


def measure(subject: Subject, runs: int, memory: bool = True, warmed: bool = True) -> Measured:
    """Draw a subject alone, `runs` times."""
    if warmed:
        warm(subject)
    found = Measured(subject)
    for _ in range(runs):
        found.go()
    _finish(found, memory)
    return found


def compare(a: Subject, b: Subject, pairs: int, memory: bool = True, warmed: bool = True) -> tuple[Measured, Measured, Spread]:
    """Draw two subjects in turn, A B B A …, and the spread of A's seconds by B's."""
    for one in (a, b) if warmed else ():
        warm(one)
    found = {"a": Measured(a), "b": Measured(b)}
    for turn in turns(pairs):
        for name in turn:
            found[name].go()
    for side in found.values():
        _finish(side, memory)
    ratios = [x.seconds / y.seconds for x, y in zip(found["a"].draws, found["b"].draws, strict=True)]
    return found["a"], found["b"], spread(ratios)


def _finish(found: Measured, memory: bool) -> None:
    if not found.apart:
        found.apart.append(draw(found.subject))
    if memory:
        found.memory = weigh(found.subject)
