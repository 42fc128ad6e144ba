"""`draw_many`: the pictures of a recipe into a store, by any engine, so that nothing is lost and nothing drawn twice.

Workers write pictures; this process alone writes the manifest and the shards. A picture that is there without a line (its worker or this
process was killed in between) is known by the request that it carries, and gets its line.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import BadOption, PluginProblem
from ...files import claimed
from ...interfaces.engine import Crew, Engine, Outcome
from ...pictures.png import KEYWORD
from ...recipes.recipe import Recipe
from ...registry import installed
from ..batch import Item, groups, items
from ..entries import digest_of, in_the_way, require_pictures
from .attempt import SURELY, TRIES
from .here import Here
from .judging import Scorers
from .manifest import LOCK, Manifest, at_work
from .packing import Format, check_format
from .scores import TOGETHER, Scores, judging
from .shards import SIZE, Packing, Shards
from .stores import Folder, Store, open_store
from .tally import ManyInterrupted, Tally
from .units import Units, made_of
from .work import DrawingWork, registry_of, unpacked

if TYPE_CHECKING:
    from ...compose.composer import Composer

LOOKED = 64
"""Pictures whose prompts are looked at for remarks before workers draw them."""
SHOWN = 3
"""Pictures that a note names; of the others it says how many they are."""


def draw_many(
    recipe: Recipe,
    address: str | Path,
    *,
    engine: Engine | None = None,
    batch_size: int = 1,
    format: Format = "png",
    shard_size: int = SIZE,
    retry: bool = False,
    overwrite: bool = False,
    scorers: Scorers | None = None,
    registry: str | None = None,
    told: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Draw the pictures of a recipe that are not there yet.

    Args:
        recipe: of all layers.
        address: a folder, or an address of fsspec.
        engine: that draws; this process by default. It is closed at the end.
        batch_size: pictures drawn at once; which those are, the recipe decides.
        format: a PNG a picture, or shards.
        shard_size: pictures of a shard.
        retry: try pictures again that an earlier run gave up, and judge again what a scorer stumbled over.
        overwrite: draw also over pictures of another recipe, or by other weights.
        scorers: id → options, of those that judge each picture where it is drawn; what they say is kept in its line of the manifest.
        registry: ``package.module:function`` that makes it, in this process and in every worker.
        told: before the first unit, and after every one.

    Raises:
        BadOption: another run is at work there, or it was begun otherwise. StoreError: the store failed for good. BadPicture: another
        picture is in the way. UnknownName: there is no such scorer. PluginProblem: every picture fails, or a scorer stumbles over each.
        ManyInterrupted: Ctrl-C. And what concerns the recipe as a whole.
    """
    engine = engine or Here(Crew())
    with ExitStack() as held:
        held.callback(engine.close)
        require_pictures(recipe)
        for name, number in (("batch_size", batch_size), ("shard_size", shard_size)):
            if number < 1:
                raise BadOption(f"{name} = {number}", mend="1 or more")
        check_format(format)
        store = open_store(address)
        if engine.workers and not store.shared:
            raise BadOption("it is the memory of one process", where=store.address, mend="choose a folder or another address for workers")
        if isinstance(store, Folder):
            _claim(store, held)
        asked = Asked(recipe, batch_size, scorers or {}, registry)
        batch = Batch(asked, store, engine, Packing(format, shard_size), Again(retry, overwrite), told)
        try:
            batch.begin()
            if batch.pending and not isinstance(store, Folder):  # a folder's lock was written
                batch.manifest.begin()
            told(batch.tally)
            batch.draw()
            batch.judge()
        except KeyboardInterrupt:
            raise ManyInterrupted(batch.tally) from None
        finally:
            batch.manifest.flush()
        batch.end()
        if isinstance(store, Folder):
            store.clear()  # of workers that were killed while they wrote
    return batch.tally


def _claim(store: Folder, held: ExitStack) -> None:
    try:
        store.path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise BadOption("it is a file, and pictures need a folder", where=store.address, mend="choose another place with -o") from None
    except OSError as error:
        raise store.failed(error) from None
    try:
        free = held.enter_context(claimed(store.path / LOCK))
    except OSError as error:
        raise store.failed(error, LOCK) from None
    if not free:
        raise at_work(store.address)
    store.clear()


@dataclass(frozen=True)
class Asked:
    """The pictures of a batch, how many are drawn at once, who judges them, and where components are found; see `draw_many`."""

    recipe: Recipe
    batch_size: int
    scorers: Scorers
    registry: str | None


@dataclass(frozen=True)
class Again:
    """What of earlier runs is done again; see `draw_many`."""

    retry: bool
    overwrite: bool


class Batch:
    """A batch that is being drawn; see `draw_many` for what it does."""

    def __init__(self, asked: Asked, store: Store, engine: Engine, packing: Packing, again: Again, told: Callable[[Tally], None]) -> None:
        from ...compose.composer import Composer

        self.store, self.engine, self.packing, self.again, self.told = store, engine, packing, again, told
        recipe, alone = asked.recipe, asked.recipe.model_copy(update={"pictures": ()})
        found = registry_of(asked.registry) or installed()
        here = alone.model_copy(update={"device": None}) if engine.elsewhere else alone  # a head node needs no GPU
        self.composer: Composer = Composer.from_recipe(here, found)  # what is wrong with the recipe is said now
        self.composer.check_named(recipe.pictures)
        self.scores = Scores(asked.scorers, recipe, found, again.retry)
        self.items = list(items(recipe, Path()))
        self.groups = groups(self.items, asked.batch_size)
        self.sizes = store.sizes()
        head: dict[str, Any] = {"format": packing.format, "batch_size": asked.batch_size, "pictures": len(self.items)}
        if packing.format != "png":
            head |= {"shard_size": packing.size, "plan": digest_of([[item.path.name, item.request] for item in self.items])}
        self.manifest = Manifest(store, self.sizes, head)
        known = {} if again.overwrite else self.manifest.weights
        self.work = DrawingWork(alone.plain(), store.address, asked.registry, scorers=self.scores.scorers, weights=known)
        self.tally = Tally(store.address, len(self.items))
        self.shards = Shards(packing, store, self.manifest, self.sizes, [item.path.name for item in self.items], self.tally)
        self.pending: set[str] = set()
        self.made: dict[str, dict[str, Any]] = {}

    # -- what is there ---------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """What earlier runs left."""
        gone: list[str] = []
        self.shards.begin()
        for item in self.items:
            name = item.path.name
            line = self.manifest.get(name)
            if line is not None and line["request"] != item.request and not self.again.overwrite:
                raise in_the_way(f"{self.store.address}/{name}", "place with -o")
            line = line if line is not None and line["request"] == item.request else None
            if line is not None and line["state"] == "failed" and not self.again.retry:
                self.tally.failed[name] = line["error"]
            elif (line is not None and line["state"] == "done" and self._is_there(line)) or self._adopted(item, line):
                self.tally.kept += 1
            else:
                self.pending.add(name)
                gone += [name] if line is not None and line["state"] == "done" else []
        self.tally.notes += [f"{name} is drawn again: it is gone, or not as it was written" for name in gone[:SHOWN]]
        self.tally.notes += [f"{len(gone) - SHOWN} more are drawn again"] if len(gone) > SHOWN else []
        if self.engine.workers:  # what they would say, each of them, is said once
            some = [item.entry for item in self.items if item.path.name in self.pending][:LOOKED]
            self.tally.notes += self.composer.remarks(some) if some else []
        self.shards.wait_for(self.pending)

    def _is_there(self, line: Mapping[str, Any]) -> bool:
        return self.shards.has(line["picture"], line["size"])

    def _adopted(self, item: Item, line: Mapping[str, Any] | None) -> bool:
        """A picture without a line that answers the request."""
        name = item.path.name
        if self.shards.place(name) not in self.sizes or (line is not None and line["state"] == "done"):
            return False
        data = self.store.read(self.shards.place(name))
        try:
            told = _told(data)
        except (OSError, SyntaxError, ValueError, KeyError):  # PIL's ways to say that a file is torn, or no picture of ours
            told = None
        if told is not None and told["facts"].get("request") == item.request:
            self._done(name, item.request, len(data), told["facts"], made_of(item.entry, told["recipe"]["pictures"][0]))
            return True
        if told is not None and not self.again.overwrite and self.packing.format == "png":
            raise in_the_way(f"{self.store.address}/{name}", "place with -o")
        return False

    # -- drawing ---------------------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        """All that is pending, then what failed, twice more."""
        asked = {item.path.name: item.request for item in self.items}
        why: dict[str, str] = {}
        good = self.tally.kept > 0
        for attempt in range(TRIES):
            if not self.pending:
                break
            waiting = [(number, group) for number, group in enumerate(self.groups) if any(item.path.name in self.pending for item in group)]
            for outcome in self.engine.run(self.work, self._watched(waiting, why, attempt == 0, good)):
                self._take(outcome, asked, why)
                good = good or self.tally.drawn > 0
                if not good and attempt == 0 and len(why) >= SURELY:
                    first, _, mend = next(iter(why.values())).partition("\n  mend: ")
                    raise PluginProblem(
                        f"all of the first {len(why)} pictures failed; the first: {first}",
                        where=self.store.address,
                        mend=f"{mend or 'mend the recipe'}; then run the same again",
                    )
                self.told(self.tally)
        for name in sorted(self.pending):
            error = why.get(name, "it was not drawn")
            self.manifest.add({"picture": name, "request": asked[name], "state": "failed", "error": error, "tries": TRIES})
            self.tally.failed[name] = error
            self.shards.settled(name)
        self.told(self.tally)

    def _watched(self, waiting: Sequence[tuple[int, list[Item]]], why: dict[str, str], first: bool, good: bool) -> Iterator[Any]:
        """The units of a round; why pictures of a unit have no line is known before the unit is. Who died may have died of a scorer: later
        rounds only draw, and what they drew is judged for itself. And they hold what failed: that all of it fails again ends nothing."""

        def failed(item: Item, reason: str) -> None:
            why[item.path.name] = reason

        pending, judge = (lambda item: item.path.name in self.pending), first and bool(self.scores.scorers)
        surely = (SURELY if good else 1) if first else None
        units = Units(self.composer, self.manifest, waiting, pending, self.shards.place, failed, judge, surely)
        entries = {item.path.name: item.entry for item in self.items} if self.composer.planner is not None else {}
        for unit in units:
            for one in unit.pictures if entries else ():
                self.made[one["file"]] = made_of(entries[one["file"]], one["entry"])
            yield unit

    def _take(self, outcome: Outcome, asked: Mapping[str, str], why: dict[str, str]) -> None:
        if outcome.lost is not None:
            why |= {item.path.name: outcome.lost for item in self.groups[outcome.number] if item.path.name in self.pending}
        for line in outcome.lines:
            name = line["picture"]
            if name not in self.pending:
                continue  # a unit that came back twice
            if line["state"] == "failed":
                why[name] = line["error"]
                continue
            why.pop(name, None)
            self._done(name, asked[name], line["size"], line, self.made.pop(name, {}), line.get("scores"))
            self.tally.drawn += 1
            self.pending.discard(name)
            self.shards.settled(name)
            if "scores" in line:
                self._heard(name, line["scores"])
        if outcome.fatal is not None:
            raise unpacked(outcome.fatal)

    def _done(self, name: str, request: str, size: int, facts: Mapping[str, Any], made: Mapping[str, Any], scores: Any = None) -> None:
        by = self.manifest.by(facts["weights"], self.again.overwrite, f"{self.store.address}/{self.shards.place(name)}")
        line = {"picture": name, "request": request, "state": "done", "size": size, "pixels": facts["pixels"], "by": by}
        self.manifest.add({**line, **made, **({"scores": scores} if scores else {})})

    # -- judging ---------------------------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """What is there and was not judged where it was drawn: of earlier runs, or its worker died. So often as drawing is tried."""
        items = self.items if self.scores.scorers else []
        left = [item for item in items if self.scores.lacking(item, self.manifest.get(item.path.name))]
        why: dict[str, str] = {}
        for attempt in range(TRIES):
            if not left:
                break
            parts: dict[int, Sequence[Item]] = {}
            units = judging(left, self.manifest, self.shards.holder, TOGETHER if attempt == 0 else 1, parts)
            for outcome in self.engine.run(self.work, units):
                why |= {item.path.name: outcome.lost for item in parts[outcome.number] if outcome.lost is not None}
                for line in outcome.lines:
                    name = line["picture"]
                    if "scores" in line:
                        why.pop(name, None)
                        self.manifest.add(self.scores.kept(self.manifest.get(name) or {}, line["scores"]))
                        self._heard(name, line["scores"])
                    else:
                        why[name] = line["error"]
                if outcome.fatal is not None:
                    raise unpacked(outcome.fatal)
                self.told(self.tally)
            left = [item for item in left if item.path.name in why]
        for item in left:
            line = self.manifest.get(item.path.name) or {}
            self.manifest.add(self.scores.kept(line, self.scores.failing(item, line, why[item.path.name])))

    def _heard(self, name: str, scores: Mapping[str, Any]) -> None:
        self.tally.judged += 1
        self.scores.told(scores, name)

    def end(self) -> None:
        """Shards that a killed run left open, the manifest in its order, and what scorers said of all."""
        self.shards.end()
        self.manifest.finish(item.path.name for item in self.items)
        if self.scores.scorers:
            lines = {item.path.name: self.manifest.get(item.path.name) or {} for item in self.items}
            self.tally.unjudged = {name: error for name, line in lines.items() if (error := self.scores.errors(line)) is not None}
            self.tally.records = self.scores.records(iter(lines.values()))


def _told(data: bytes) -> dict[str, Any]:
    """What a PNG carries, its pixels looked at: a torn one is none."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.load()
        told = json.loads(image.info[KEYWORD])
    if not isinstance(told, dict) or not isinstance(told.get("facts"), dict) or not isinstance(told.get("recipe"), dict):
        raise ValueError("no recipe")
    return told
