"""What a worker does: draw a unit, write its pictures, judge them, and say so. It knows no batch, no manifest and no other worker."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ... import errors
from ...errors import DeviceError, RealCompoError
from ...interfaces.engine import Outcome, Unit
from ...plans.planning import PlannedPicture
from ...recipes.recipe import PictureEntry, Recipe
from ...registry import Registry, installed
from ..entries import other_weights, weights_id
from ..kept import composer_of
from .attempt import attempt
from .judging import Bench, Scorers
from .stores import Store, open_store

if TYPE_CHECKING:
    from ...compose.composer import Composer, Progress
    from ...pictures.result import Picture


@dataclass(frozen=True)
class DrawingWork:
    """How the units of one recipe are drawn.

    Attributes:
        recipe: plain data, without pictures.
        address: of the store that pictures are written to.
        registry: ``package.module:function`` that makes the registry; None: of what is installed.
        costed: pictures and their lines say what they cost, as those of evaluations do.
        scorers: that judge each picture after it is drawn, where its unit asks for it.
        weights: ID → fingerprints by branch; by others no picture is written. Empty: by any.
    """

    recipe: Mapping[str, Any]
    address: str
    registry: str | None = None
    costed: bool = False
    scorers: Scorers = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> DrawingWork:
        """Of plain data."""
        return cls(data["recipe"], data["address"], data["registry"], data["costed"], data["scorers"], data["weights"])

    def open(self) -> Drawer:
        """What draws; the weights are loaded with the first unit, or by `Drawer.load`."""
        return Drawer(self)


class Drawer:
    """Draws units and writes their pictures.

    Args:
        going: asked before anything is written: whether somebody still waits for it.
    """

    def __init__(self, work: DrawingWork, going: Callable[[], bool] = lambda: True, progress: Progress | None = None) -> None:
        self.work, self.going, self.progress = work, going, progress
        self._composer: Composer | None = None
        self._opened: Store | None = None
        self._bench: Bench | None = None

    def load(self) -> None:
        """Load the weights, and take their fingerprints: what is remembered here, no worker that is forked reads gigabytes for.

        Raises:
            RealCompoError: they cannot be.
        """
        for branch in self.composer.branches:
            branch.fingerprint()

    @property
    def composer(self) -> Composer:
        """Of the recipe."""
        if self._composer is None:
            self._composer = composer_of(Recipe.model_validate(self.work.recipe), registry_of(self.work.registry))
        return self._composer

    @property
    def bench(self) -> Bench:
        """The scorers."""
        if self._bench is None:
            registry = registry_of(self.work.registry) or installed()
            self._bench = Bench(self.work.scorers, self.work.recipe.get("device"), registry)
        return self._bench

    @property
    def _store(self) -> Store:
        if self._opened is None:
            self._opened = open_store(self.work.address)
        return self._opened

    def __call__(self, unit: Unit) -> Outcome:
        """Draw a unit, or judge pictures that are there. An error that concerns every unit is an outcome, too, beside the lines of what was
        done before it; a full device's memory is one unit's bad luck."""
        lines: list[dict[str, Any]] = []
        try:
            for line in self._lines(unit):
                lines.append(line)
        except (DeviceError, MemoryError) as error:
            return Outcome(unit.number, lost=str(error) or type(error).__name__)
        except RealCompoError as error:
            return Outcome(unit.number, tuple(lines), fatal=packed(error))
        return Outcome(unit.number, tuple(lines))

    def _lines(self, unit: Unit) -> Iterator[dict[str, Any]]:
        if any(one.get("there") for one in unit.pictures):
            yield from (self.bench.of_file(self._store, one) for one in unit.pictures)
            return
        entries = [PlannedPicture(PictureEntry.model_validate(one["entry"]), tuple(one["transcript"])) for one in unit.pictures]
        written = []
        for one, planned, outcome in zip(
            unit.pictures, entries, attempt(self.composer, entries, self.progress, self.work.costed), strict=True
        ):
            if not one["write"]:
                continue
            line = {"picture": one["file"], "request": one["request"]}
            if isinstance(outcome, str):
                yield {**line, "state": "failed", "error": outcome}
                continue
            if not self.going():
                break
            line |= self._written(outcome, one)
            if one.get("judge"):
                written.append((line, planned.picture.model_copy(update=one["judge"]), outcome))  # not the planner's words: what was asked
            else:
                yield line
        for number, (line, entry, image) in enumerate(written):  # all are written before one is judged
            try:
                scores = self.bench(entry, line["picture"], image.convert("RGB"))
            except RealCompoError:
                yield from (line for line, _, _ in written[number:])
                raise
            yield {**line, "scores": scores}

    def _written(self, outcome: Picture, one: Mapping[str, Any]) -> dict[str, Any]:
        """What the line of a picture says of its file.

        Raises:
            DifferentWeights: it is another's than those that the work allows; nothing is written. StoreError: it cannot be written.
        """
        known, by = self.work.weights, outcome.facts["weights"]
        if known and weights_id(by) not in known:
            raise other_weights(known, by, self.work.address)
        outcome.facts["request"] = one["request"]
        stream = io.BytesIO()
        outcome.save(stream, "PNG")
        data = stream.getvalue()
        self._store.write(one["place"], data)
        facts = outcome.facts
        line = {"state": "done", "size": len(data), "pixels": facts["pixels"], "weights": facts["weights"]}
        return {**line, "cost": facts["cost"]} if self.work.costed else line


def registry_of(target: str | None) -> Registry | None:
    """The registry that a target makes; None for what is installed."""
    if target is None:
        return None
    module, _, name = target.partition(":")
    made: Registry = getattr(importlib.import_module(module), name)()
    return made


def packed(error: RealCompoError) -> dict[str, Any]:
    """An error as plain data."""
    return {"kind": type(error).__name__, "what": error.what, "where": error.where, "mend": error.mend}


def unpacked(data: Mapping[str, Any]) -> RealCompoError:
    """The error of plain data; of a kind that is not the core's: the base of all."""
    kind = getattr(errors, str(data["kind"]), RealCompoError)
    cls = kind if isinstance(kind, type) and issubclass(kind, RealCompoError) else RealCompoError
    return cls(str(data["what"]), where=data["where"], mend=data["mend"])
