"""Draws jobs: loads networks, plans what is lacking, watches the run, writes the picture. In the thread of its device.

Networks are kept between jobs. A job with the same branches as the last takes its networks (the loader shares them while the last composer
lives); for others the last composer is let go first.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from realcompo.errors import RealCompoError, Stopped
from realcompo.interfaces import Branch, Region, Step
from realcompo.interfaces.previews import rows_of
from realcompo.plans.planning import PlannedPicture, Task, raise_first
from realcompo.recipes.recipe import Recipe
from realcompo.registry import Registry

from .checking import regions_plain
from .first import alone
from .inside import maps, numbers
from .jobs import Interrupted, Job, Queues
from .store import Store

if TYPE_CHECKING:
    from realcompo import Composer, Result

PARENT = {"fidelity": 0.0, "spatial": 1.0}
"""A parent alone → the weight of the spatial branches everywhere (`core/fixed`): 0 and 1 leave the others out of the run."""

DECODED = 8
"""Previews of a run, where each costs a pass of the decoder."""


class Artist:
    """Draws for one server."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store, self.registry = store, registry
        self.queues: Queues | None = None
        self._composers: dict[str, tuple[str, str, Composer]] = {}
        self._lock = threading.Lock()
        self._measured: dict[str, tuple[dict[str, float], float]] = {}

    def measured(self, recipe: Recipe) -> tuple[dict[str, float], float] | None:
        """(F by part, seconds) of the last run that cost what this one will."""
        return self._measured.get(_cost_key(recipe))

    def draw(self, job: Job) -> None:
        """Draw a job.

        Raises:
            Interrupted: it was stopped; its picture, if it was to be kept, is there.
        """
        self._phase(job, "loading")
        with alone("draw", *(entry.name for entry in job.recipe.branches), job.recipe.scheduler):
            composer = self._composer(job)
        from realcompo import check_picture

        planned = PlannedPicture(job.recipe.pictures[0])
        if composer.planner is not None:
            self._phase(job, "planning")
            planned = raise_first(composer.plan([Task(planned.picture)]))[0]
        _stop_if_asked(job)
        regions = check_picture(composer, planned.picture).regions
        job.regions = regions_plain(regions, planned.picture.conditions)
        job.remarks += [one for one in planned.remarks if one not in job.remarks]
        conditions = planned.picture.model_dump_plain()["conditions"]
        self._tell(job, "planned", {"regions": job.regions, "conditions": conditions, "remarks": job.remarks})
        watch = _Watch(self, job, [m.name for m in composer.members], regions, is_quick(composer.branches[0]))
        try:
            result = composer.compose([planned], progress=watch)
        except Stopped as stopped:
            if stopped.result is not None:
                self._keep(job, stopped.result, composer, regions)
            raise Interrupted from None
        job.remarks += [one for one in result.remarks if one not in job.remarks]
        self._measured[_cost_key(job.recipe)] = (dict(result.cost.parts), time.time() - watch.began)
        self._keep(job, result, composer, regions)

    def _composer(self, job: Job) -> Composer:
        from realcompo import Composer

        recipe = job.recipe
        plain = recipe.model_copy(update={"pictures": ()}).plain()
        whole = json.dumps(plain, sort_keys=True)
        networks = json.dumps({key: plain.get(key) for key in ("branches", "dtype", "offload")}, sort_keys=True)
        kept = self._composers.get(job.device)
        if kept is not None and kept[0] == whole:
            return kept[2]
        if kept is not None and kept[1] != networks:
            self._composers.pop(job.device)
            del kept  # two composers' weights may not fit the memory
        composer = Composer.from_recipe(recipe, self.registry)
        composer.branches  # noqa: B018 (while the last composer still lives, so that its networks are shared)
        self._composers[job.device] = (whole, networks, composer)
        return composer

    def _keep(self, job: Job, result: Result, composer: Composer, regions: tuple[Region, ...]) -> None:
        """Write a picture and what was seen of it."""
        image = result.image
        if job.kind == "parent":
            self.store.keep_parent(image, job.of or "", job.parent or "")
            job.picture = job.of
            return
        entry = result.recipe.pictures[0]
        trace = {
            "version": 1,
            "branches": [m.name for m in composer.members],
            "regions": job.regions,
            "count": len(job.seen.steps),
            "steps": job.seen.steps,
            "maps": job.seen.maps,
            "previews": {str(index): base64.b64encode(data).decode() for index, data in job.seen.previews.items()},
            "cost": dict(result.cost.parts),
            "remarks": job.remarks,
        }
        job.picture = self.store.keep(image, entry.name or entry.prompt, trace)
        if self.queues is not None:
            self.queues.hub.tell("picture", {"job": None, "name": job.picture})

    def _phase(self, job: Job, phase: str) -> None:
        _stop_if_asked(job)
        job.phase = phase
        self._tell(job, "phase", {"phase": phase})

    def _tell(self, job: Job, name: str, data: Mapping[str, Any]) -> None:
        if self.queues is not None:
            self.queues.tell(job, name, data)


class _Watch:
    """The progress function of one run."""

    def __init__(self, artist: Artist, job: Job, names: list[str], regions: tuple[Region, ...], quick: bool = True) -> None:
        self.artist, self.job, self.names, self.regions, self.quick = artist, job, names, regions, quick
        self.began, self.before = time.time(), 0

    def __call__(self, step: Step, event: Any) -> None:
        job, seen = self.job, self.job.seen
        which, passes = getattr(event, "passes", (1, 1))
        if step.index == 0:
            self.before = len(seen.steps)
        index = self.before + step.index  # over all passes of a run that has several
        told = numbers(event, self.names, self.regions)
        left = (time.time() - self.began) / (index + 1) * (step.count - step.index - 1)
        told |= {"index": index, "count": self.before + step.count, "pass": [which, passes]}
        told |= {"left": round(left, 2), "preview": self._due(step) and self._preview(index, event)}
        seen.steps.append(told)
        seen.maps.append(maps(event, self.names, self.regions))
        job.step, job.count, job.phase, job.left = index + 1, told["count"], told["phase"], told["left"]
        if told["preview"]:
            job.preview = index
        self.artist._tell(job, "step", told)
        if which == passes and step.index + 1 == step.count:
            job.phase = "decoding"
            self.artist._tell(job, "phase", {"phase": "decoding"})
        elif job.stop.is_set():
            event.stop(keep=job.keep)

    def _due(self, step: Step) -> bool:
        """Whether a step gets a preview: each, or where the decoder itself has to make it, a few of the run."""
        return self.quick or step.index % max(1, -(-step.count // DECODED)) == 0 or step.index + 1 == step.count

    def _preview(self, index: int, event: Any) -> bool:
        """Keep a look at what the step expects; a branch that has none costs the picture nothing."""
        try:
            image = event.preview()[0]
        except (RealCompoError, NotImplementedError):
            return False
        buffer = BytesIO()
        image.convert("RGB").save(buffer, "PNG", compress_level=1)
        self.job.seen.previews[index] = buffer.getvalue()
        return True


def is_quick(branch: Branch) -> bool:
    """Whether a branch's previews cost next to nothing: by the numbers of its latent space, or in a way of its own."""
    return type(branch).preview is not Branch.preview or rows_of(branch.traits.latent) is not None


def parents_of(recipe: Recipe) -> dict[str, Recipe]:
    """Recipes that draw each parent alone with the same noise: the same networks, with one weight everywhere all the time. Without spatial
    branches the fidelity model is alone already."""
    from realcompo.recipes.recipe import Component, ProbeOptions

    spatial = len(recipe.branches) > 1
    return {
        which: recipe.model_copy(
            update={"balancer": Component(name="core/fixed", options={"spatial": weight}), "probe": ProbeOptions(), "planner": None}
        )
        for which, weight in PARENT.items()
        if spatial or which == "fidelity"
    }


def _stop_if_asked(job: Job) -> None:
    if job.stop.is_set():
        raise Interrupted


def _cost_key(recipe: Recipe) -> str:
    plain = recipe.plain()
    kept = ("branches", "balancer", "probe", "scheduler", "num_inference_steps", "height", "width", "device", "dtype")
    return json.dumps({key: plain.get(key) for key in kept}, sort_keys=True)
