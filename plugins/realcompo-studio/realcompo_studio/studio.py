"""One server's parts, and what its routes do: plain functions from data to data, in threads of their own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import realcompo
from realcompo.conditions import KINDS, Condition
from realcompo.errors import BadRecipe, PlanningError, RealCompoError
from realcompo.interfaces import Region
from realcompo.pictures.drawing import SERIES
from realcompo.pictures.png import Embedded
from realcompo.plans.planning import Task, raise_first
from realcompo.recipes.configuration import resolve
from realcompo.recipes.recipe import PictureEntry, Recipe, dump_condition, read_condition
from realcompo.registry import Registry, installed
from realcompo.specs import BranchSpec

from .checking import check, composed, counted_cost, regions_plain, spans_of
from .describing import Catalogue
from .drawing import Artist, parents_of
from .events import Hub
from .first import alone
from .jobs import Job, Queues
from .models import PhrasesBody, PlanBody
from .problems import Problem, Unfit
from .reading import read
from .settings import Settings, told_limits
from .store import Store

Plain = dict[str, Any]


class Studio:
    """What the routes of one server share."""

    def __init__(self, settings: Settings, registry: Registry | None = None) -> None:
        self.settings, self.registry = settings, registry or installed()
        self.store = Store(settings.folder)
        self.hub = Hub(settings.limits.events)
        self.catalogue = Catalogue(self.registry)
        self.artist = Artist(self.store, self.registry)
        self.queues = Queues(self.store, self.hub, settings.limits, self.artist.draw)
        self.artist.queues = self.queues

    def close(self, patience: float = 60.0) -> None:
        """End: see `Queues.close`."""
        self.hub.close()
        self.queues.close(patience)

    # -- state ---------------------------------------------------------------------------------------------------------------------

    def state(self) -> Plain:
        """See GET /api/state in API.md."""
        problems = [str(problem) for problem in self.registry.problems]
        trouble = None
        try:
            recipe = resolve(sets=self.settings.sets, registry=self.registry).recipe
        except RealCompoError as error:
            recipe, trouble = Recipe(), Problem(error)
            problems.append(str(error))
        embedded = next((Problem(e) for e in [_missing(self.registry, "mini/fidelity", "mini/boxes")] if e is not None), None)
        plain = recipe.plain()
        plain.pop("pictures")
        return {
            "version": realcompo.__version__,
            "api": 1,
            "run": self.hub.run,
            "warm": self.catalogue.checked,
            "device": _device() if self.catalogue.checked else None,
            "devices": self.queues.busy(),
            "embedded": {"ready": embedded is None, "problem": None if embedded is None else embedded.plain()},
            "recipe": plain,
            "configuration": None if trouble is None else trouble.plain(),
            "sample": self._sample(recipe),
            "kinds": sorted(KINDS),
            "colours": [list(colour) for colour in SERIES],
            "problems": problems,
            "limits": told_limits(self.settings.limits),
            "folder": str(self.settings.folder),
        }

    def _sample(self, recipe: Recipe) -> Plain | None:
        """Something to draw with a recipe's branches: what its spatial branches give as an example."""
        for entry in reversed(recipe.branches):
            try:
                sample = dict(self.registry.find(BranchSpec, entry.name).sample or {})
                conditions = {kind: dump_condition(read_condition(kind, sample[kind])) for kind in KINDS if kind in sample}
            except RealCompoError:
                continue
            if "prompt" in sample:
                return {"prompt": sample["prompt"], "conditions": conditions}
        return None

    def components(self) -> Plain:
        """See GET /api/components; the first call begins to look at what takes the libraries."""
        if self.settings.warm:
            self.catalogue.look_soon(lambda: self.hub.tell("components", {"checked": True}))
        return self.catalogue.plain()

    # -- words, plans, checks ----------------------------------------------------------------------------------------------------------

    def phrases(self, asked: PhrasesBody) -> Plain:
        """See POST /api/phrases."""
        told = []
        for item, (match, problem) in zip(asked.items, spans_of(asked.prompt, asked.items), strict=True):
            told.append(
                {
                    "id": item.id,
                    "span": None if match is None else list(match.span),
                    "how": None if match is None else match.how,
                    "problem": None if problem is None else Problem(problem).plain(),
                }
            )
        return {"matches": told}

    def plan(self, asked: PlanBody) -> Plain:
        """See POST /api/plan.

        Raises:
            Unfit: the recipe cannot be planned, or there is no layout.
        """
        recipe = read(asked.recipe, self.registry, self.settings.sets)
        if not recipe.pictures:
            raise Unfit([Problem(BadRecipe("it holds no picture", mend="give pictures = [{prompt: …}]"), ("pictures",))])
        with alone("plan", *(entry.name for entry in recipe.branches), str(recipe.planner and recipe.planner.name)):
            return self._planned(asked, recipe)

    def _planned(self, asked: PlanBody, recipe: Recipe) -> Plain:
        composer = composed(recipe, self.registry)
        picture = recipe.pictures[0]
        kinds = {m.spec.condition for m in composer.members if m.role == "spatial"} - {None}
        mine = {key: one for key, one in picture.conditions.items() if key in kinds}
        # A box says all there is of a box; points and pixels are told to the planner as they are.
        before = next((one for one in mine.values() if one.kind != "boxes"), next(iter(mine.values()), None))
        regions: tuple[Region, ...] = ()
        if asked.wish or asked.locked:
            regions = self._union(mine, composer.size)
        kept = tuple(region for region in regions if region.id in asked.locked)
        bare = picture.model_copy(update={"conditions": {key: one for key, one in picture.conditions.items() if key not in mine}})
        held = bool(kept or asked.wish)
        task = Task(bare, keep=kept, layout=regions if asked.wish else (), wish=asked.wish, before=before if held else None)
        try:
            planned = raise_first(composer.plan([task]))[0]
        except PlanningError as error:
            raise Unfit([Problem(error, ("wish",) if asked.wish else ("pictures", 0, "prompt"))]) from None
        found = planned.picture
        if not found.conditions:
            problem = BadRecipe("no branch of the recipe takes a condition: there is nothing to plan", mend="add a spatial branch")
            raise Unfit([Problem(problem, ("branches",))])
        return {
            "picture": found.model_dump_plain(),
            "regions": self._regions(found, composer.size),
            "remarks": list(planned.remarks),
            "transcript": list(planned.transcript),
        }

    def _regions(self, picture: PictureEntry, size: tuple[int, int]) -> list[Plain]:
        """Regions of a picture's conditions, each id once, as the API tells them."""
        return regions_plain(self._union(picture.conditions, size), picture.conditions)

    def _union(self, conditions: Mapping[str, Condition], size: tuple[int, int]) -> tuple[Region, ...]:
        found: dict[str, Region] = {}
        for condition in conditions.values():
            for region in self.registry.transfer(condition.kind)(condition, size):
                found.setdefault(region.id, region)
        return tuple(found.values())

    def check(self, data: Mapping[str, Any]) -> Plain:
        """See POST /api/check."""
        try:
            found = check(data, self.registry, self.settings.sets)
        except Unfit as unfit:
            told = [problem.plain() for problem in unfit.problems]
            return {"fine": False, "errors": told, "remarks": [], "recipe": None, "pictures": [], "cost": None}
        whole = found.recipe.model_copy(update={"height": found.composer.size[0], "width": found.composer.size[1]})
        planner = None if whole.planner is None else whole.planner.name
        pictures = [
            {"regions": regions_plain(regions, entry.conditions), "planner": planner if lacking else None, "words": words}
            for entry, regions, lacking, words in zip(whole.pictures, found.regions, found.lacking, found.words, strict=True)
        ]
        measured = self.artist.measured(self._ready(whole, found.composer.device, 0) if whole.pictures else whole)
        parts, seconds = measured if measured is not None else (counted_cost(found.composer), None)
        sampling = sum(value for part, value in parts.items() if part not in ("text", "decode"))
        cost = {"total": sampling, "parts": parts, "seconds": seconds, "how": "counted" if measured is None else "measured"}
        return {"fine": True, "errors": [], "remarks": list(found.remarks), "recipe": whole.plain(), "pictures": pictures, "cost": cost}

    # -- drawing -----------------------------------------------------------------------------------------------------------------------

    def draw(self, data: Mapping[str, Any], client: str | None) -> list[Job]:
        """See POST /api/draw.

        Raises:
            Unfit: it cannot be drawn. Denied: the queue is full.
        """
        found = check(data, self.registry, self.settings.sets)
        count = len(found.recipe.pictures)
        if not 1 <= count <= self.settings.limits.pictures:
            what = "it holds no picture" if not count else f"{count} pictures in one recipe"
            mend = f"give pictures = [{{prompt: …}}], at most {self.settings.limits.pictures}"
            raise Unfit([Problem(BadRecipe(what, mend=mend), ("pictures",))])
        whole = found.recipe.model_copy(update={"height": found.composer.size[0], "width": found.composer.size[1]})
        device = str(found.composer.device)
        ready = [(device, self._ready(whole, device, n)) for n in range(count)]
        return self.queues.submit(ready, client=client, remarks=found.remarks)

    def _ready(self, recipe: Recipe, device: Any, index: int) -> Recipe:
        """The recipe of one of its pictures, with a seed, on a device."""
        alone = recipe.alone(index)
        entry = alone.pictures[0]
        if entry.seed is None:
            entry = entry.model_copy(update={"seed": secrets.randbits(32)})
        return alone.model_copy(update={"pictures": (entry,), "device": str(device)})

    def parents(self, name: str, client: str | None = None) -> list[Job]:
        """See POST /api/pictures/NAME/parents.

        Raises:
            Denied: there is no such picture. And what `safe_recipe` raises.
        """
        recipe = self.safe(name)
        there = self.store.parents(name)
        with_device = recipe if recipe.device is not None else recipe.model_copy(update={"device": "cpu"})
        with alone("parents", *(entry.name for entry in recipe.branches)):
            composed(with_device, self.registry)
        made: list[Job] = []
        for which, parent in parents_of(with_device).items():
            if which not in there:
                made += self.queues.submit([(str(parent.device), parent)], client=client, kind="parent", of=name, parent=which)
        return made

    # -- the gallery -------------------------------------------------------------------------------------------------------------------

    def safe(self, name: str) -> Recipe:
        """The recipe of a picture of the gallery, as little trusted as any stranger's.

        Raises:
            BadPicture, BadRecipe, BadOption, UnknownName: see `realcompo.safe_recipe`.
        """
        found: Recipe = realcompo.safe_recipe(self.store.embedded(name), name, registry=self.registry)
        return found

    def pictures(self, offset: int, limit: int) -> Plain:
        """See GET /api/pictures. What carries no recipe is no picture of ours."""
        found: list[Plain] = []
        names = [name for name in self.store.names() if self._ours(name)]
        for name in names[offset : offset + limit]:
            found.append(self.picture(name))
        return {"total": len(names), "pictures": found}

    def _ours(self, name: str) -> bool:
        try:
            return bool(self.store.embedded(name).recipe.pictures)
        except RealCompoError:
            return False

    def picture(self, name: str, whole: bool = False) -> Plain:
        """One picture of the gallery; `whole`: with recipe and facts."""
        embedded = self.store.embedded(name)
        recipe = embedded.recipe
        entry = recipe.pictures[0]
        told: Plain = {
            "name": name,
            "prompt": entry.prompt,
            "seed": entry.seed,
            "width": recipe.width,
            "height": recipe.height,
            "modified": self.store.picture(name).stat().st_mtime,
            "branches": [branch.name for branch in recipe.branches],
            "trace": self.store.has_trace(name),
            "parents": self.store.parents(name),
            "stopped": embedded.facts.get("stopped"),
        }
        return {**told, "recipe": recipe.plain(), "facts": embedded.facts} if whole else told

    def restored(self, embedded: Embedded, where: str) -> Plain:
        """What the page goes on from: see POST /api/import.

        Raises:
            BadPicture, BadOption, UnknownName: see `realcompo.safe_recipe`.
        """
        recipe = realcompo.safe_recipe(embedded, where, registry=self.registry)
        remarks = []
        if embedded.recipe.planner is not None:
            remarks.append(f"its planner {embedded.recipe.planner.name!r} is left out: a picture asks no server")
        if recipe.branches != embedded.recipe.branches:
            remarks.append("it asked for downloads, which are turned off: a picture asks no network")
        if isinstance(embedded.facts.get("stopped"), int):
            remarks.append(f"it was stopped after step {embedded.facts['stopped'] + 1} of {recipe.num_inference_steps}")
        entry = recipe.pictures[0]
        size = (recipe.height or 512, recipe.width or 512)
        return {"recipe": recipe.plain(), "facts": embedded.facts, "remarks": remarks, "regions": self._regions(entry, size)}


def _missing(registry: Registry, *names: str) -> RealCompoError | None:
    for name in names:
        try:
            registry.find(BranchSpec, name)
        except RealCompoError as error:
            return error
    return None


def _device() -> str:
    from realcompo.noise.devices import default_device

    return str(default_device())
