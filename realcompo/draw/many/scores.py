"""The books of a batch's scores: which pictures are judged, by what, and what is still to be. A line of the manifest that says "done" keeps
them: ``"scores": {"plugin/scorer": {"asked": …, "score": {…}}}``, or "error" in place of a score. `asked` is the digest of scorer, options
and what it reads: where it is another, the picture is judged again, and not drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...errors import PluginProblem
from ...interfaces.engine import Unit
from ...recipes.recipe import PictureEntry, Recipe, read_condition
from ...registry import Registry
from ...specs import ScorerSpec
from ..batch import Item
from .attempt import SURELY
from .judging import Scorers, asked_of_entry, scorers_of
from .manifest import Manifest

TOGETHER = 8
"""Pictures of a unit of judging. A worker that dies takes all of them with it: after that they are asked one by one."""


class Scores:
    """What a batch's scorers have said.

    Args:
        asked: see `scorers_of`, which also says what is raised.
        retry: judge again what a scorer stumbled over in an earlier run.
    """

    def __init__(self, asked: Scorers, recipe: Recipe, registry: Registry, retry: bool) -> None:
        self.scorers = scorers_of(asked, recipe, registry)
        self._specs = {name: registry.find(ScorerSpec, name) for name in self.scorers}
        self._retry = retry
        self._tried: set[str] = set()
        self._good: set[str] = set()
        self._bad: dict[str, list[str]] = {name: [] for name in self.scorers}

    def told(self, scores: Mapping[str, Mapping[str, Any]], file: str) -> None:
        """What a worker says of a picture.

        Raises:
            PluginProblem: a scorer stumbles over every picture.
        """
        self._tried.add(file)
        for name, said in scores.items():
            if "error" not in said:
                self._good.add(name)
                continue
            bad = self._bad[name]
            bad.append(str(said["error"]))
            if len(bad) >= SURELY and name not in self._good:
                raise PluginProblem(
                    f"{name} stumbles over all of the first {len(bad)} pictures; the first: {bad[0]}",
                    where=f"--score {name}",
                    mend="mend the scorer, then run the same with --retry; the pictures are kept",
                )

    def lacking(self, item: Item, line: Mapping[str, Any] | None) -> bool:
        """Whether a picture is there and some scorer has not said anything of it."""
        if line is None or line.get("state") != "done":
            return False
        there: Mapping[str, Mapping[str, Any]] = line.get("scores", {})
        again = self._retry and item.path.name not in self._tried
        for name, options in self.scorers.items():
            said = there.get(name)
            if said is None or (again and "error" in said):
                return True
            if said["asked"] != asked_of_entry(self._specs[name], options, item.entry, line.get("planned")):
                return True
        return False

    def failing(self, item: Item, line: Mapping[str, Any], error: str) -> dict[str, dict[str, Any]]:
        """Scores of a picture that nobody could judge."""
        return {
            name: {"asked": asked_of_entry(self._specs[name], options, item.entry, line.get("planned")), "error": error}
            for name, options in self.scorers.items()
        }

    def errors(self, line: Mapping[str, Any]) -> str | None:
        """Why a picture that is there lacks scores that are asked for; None where it has all."""
        there = line.get("scores", {})
        bad = [f"{name}: {there[name]['error']}" for name in sorted(self.scorers) if "error" in there.get(name, {})]
        return "; ".join(bad) or None

    def records(self, lines: Iterator[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """Scorer → its records, of pictures that have one."""
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in self.scorers}
        for line in lines:
            for name, records in found.items():
                said = line.get("scores", {}).get(name, {})
                if "score" in said:
                    records.append(said["score"])
        return found

    def kept(self, line: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
        """A line with what was said beside what other scorers said before."""
        both = {**line.get("scores", {}), **scores}
        return {**line, "scores": {name: both[name] for name in sorted(both)}}


def judging(
    items: Sequence[Item], manifest: Manifest, place: Callable[[str], str], together: int, names: dict[int, Sequence[Item]]
) -> Iterator[Unit]:
    """Units of pictures that are there and are only to be judged; those of one shard beside each other.

    Args:
        place: picture's file → the file that holds it.
        together: pictures of a unit.
        names: is told which pictures each unit has.
    """
    for number, mine in enumerate(_batched(items, together)):
        names[number] = mine
        lines = [manifest.get(item.path.name) or {} for item in mine]
        yield Unit(number, tuple(_asked(item, line, place(item.path.name)) for item, line in zip(mine, lines, strict=True)))


def _batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _asked(item: Item, line: Mapping[str, Any], place: str) -> dict[str, Any]:
    entry, planned = item.entry, line.get("planned")
    conditions = entry.conditions if planned is None else {key: read_condition(key, data) for key, data in planned.items()}
    told = PictureEntry(prompt=entry.prompt, negative_prompt=entry.negative_prompt, seed=entry.seed, conditions=conditions)
    return {
        "entry": told.model_dump_plain(),
        "file": item.path.name,
        "place": place,
        "request": item.request,
        "pixels": line["pixels"],
        "there": True,
    }
