"""Jobs: one picture to draw each, in queues, one a device, each with a thread of its own that draws.

A job is on disk from the moment that it is asked for until it is forgotten. What a killed server left is put right when the next one
starts: what waited waits again, what was being drawn is told as interrupted.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from realcompo.errors import PlanningError, RealCompoError
from realcompo.recipes.recipe import Recipe, migrate

from .events import Hub
from .problems import Denied, Problem, not_found, unexpected
from .settings import Limits
from .store import Store

Status = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
OVER = ("done", "failed", "cancelled", "interrupted")
Plain = dict[str, Any]


@dataclass
class Seen:
    """What was seen of a run so far.

    Attributes:
        steps: the numbers of each step. maps: its maps. previews: step → PNG.
    """

    steps: list[Plain] = field(default_factory=list)
    maps: list[Plain] = field(default_factory=list)
    previews: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Job:
    """One picture to draw. Changed only under its queues' lock, or by the thread that draws it."""

    id: str
    device: str
    recipe: Recipe
    client: str | None = None
    kind: Literal["picture", "parent"] = "picture"
    of: str | None = None
    parent: str | None = None
    status: Status = "queued"
    step: int = 0
    count: int | None = None
    phase: str | None = None
    left: float | None = None
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    regions: list[Plain] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    preview: int | None = None
    picture: str | None = None
    error: Plain | None = None
    seen: Seen = field(default_factory=Seen, repr=False)
    stop: threading.Event = field(default_factory=threading.Event, repr=False)
    keep: bool = False

    def plain(self, position: int | None = None) -> Plain:
        """As the API tells it."""
        entry = self.recipe.pictures[0]
        same = ("id", "client", "kind", "status", "device", "step", "phase", "left", "created", "started", "ended")
        rest = ("regions", "remarks", "preview", "picture", "of", "parent", "error")
        return {
            **{name: getattr(self, name) for name in same},
            "position": position,
            "count": self.recipe.num_inference_steps if self.count is None else self.count,
            "prompt": entry.prompt,
            "seed": entry.seed,
            "size": [self.recipe.height, self.recipe.width],
            "branches": [branch.name for branch in self.recipe.branches],
            **{name: getattr(self, name) for name in rest},
        }


Draw = Callable[[Job], None]
"""Draws a job: sets its picture, or raises. `Interrupted` where it was stopped."""


class Interrupted(Exception):
    """A job that was stopped before its end."""


class Queues:
    """All jobs of a server.

    Args:
        draw: what draws a job; called in the thread of its device.
    """

    def __init__(self, store: Store, hub: Hub, limits: Limits, draw: Draw) -> None:
        self.store, self.hub, self.limits, self._draw = store, hub, limits, draw
        self._lock = threading.RLock()
        self._door = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._jobs: dict[str, Job] = {}
        self._waiting: dict[str, list[Job]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._closing = False
        self._restore()

    # -- asking ------------------------------------------------------------------------------------------------------------------

    def submit(self, jobs: Sequence[tuple[str, Recipe]], *, remarks: Sequence[str] = (), **common: Any) -> list[Job]:
        """Put pictures into the queues of their devices.

        Args:
            jobs: (device, recipe of one picture with its seed) each.
            remarks: what is known of them before they are drawn.
            common: client, kind, of, parent.

        Raises:
            Denied: the queue is full, or the server ends.
        """
        made = [Job(_new_id(), device, recipe, **common) for device, recipe in jobs]
        with self._door:  # files are written while nobody else waits for the queues
            self._check_room(len(made))
            for job in made:
                job.remarks = list(remarks)
                self._write(job)
            with self._lock:
                for job in made:
                    self._enter(job)
                self._news.notify_all()
        return made

    def _check_room(self, count: int) -> None:
        with self._lock:
            if self._closing:
                raise Denied("the server is ending", mend="start it again: realcompo studio", status=503)
            busy = sum(job.status in ("queued", "running") for job in self._jobs.values())
        if busy + count > self.limits.queue:
            mend = f"wait for some of them, or cancel some: {self.limits.queue} can wait"
            raise Denied(f"{busy} pictures wait already", where="queue", mend=mend, status=429)

    def _enter(self, job: Job) -> None:
        self._jobs[job.id] = job
        line = self._waiting.setdefault(job.device, [])
        line.append(job)
        self._tell(job, "queued", {"state": job.plain(len(line) - 1)})
        if job.device not in self._threads:
            thread = threading.Thread(target=self._work, args=(job.device,), name=f"draws on {job.device}", daemon=True)
            self._threads[job.device] = thread
            thread.start()

    def get(self, id: str) -> Job:
        """A job by its id.

        Raises:
            Denied: there is none.
        """
        with self._lock:
            job = self._jobs.get(id)
        if job is None:
            raise not_found(f"no job is called {id[:60]!r}", "see GET /api/jobs")
        return job

    def plain(self, job: Job) -> Plain:
        """A job as it stands, with its position."""
        with self._lock:
            line = self._waiting.get(job.device, [])
            return job.plain(line.index(job) if job in line else None)

    def state(self, job: str | None = None, client: str | None = None) -> Plain:
        """How everything stands: the data of the event `state`."""
        with self._lock:
            chosen = [
                one for one in self._jobs.values() if (job is None or one.id == job) and (client is None or one.client in (None, client))
            ]
            return {"jobs": [self.plain(one) for one in chosen]}

    def busy(self) -> dict[str, int]:
        """Device → jobs that wait or run."""
        with self._lock:
            found: dict[str, int] = {}
            for job in self._jobs.values():
                if job.status in ("queued", "running"):
                    found[job.device] = found.get(job.device, 0) + 1
            return found

    def cancel(self, id: str, keep: bool = False) -> Job:
        """Take a job out of its queue, or stop it after its present step.

        Raises:
            Denied: there is none, or it is over.
        """
        job = self.get(id)
        with self._lock:
            if job.status in OVER:
                raise Denied(f"the job is over: {job.status}", where=f"job {id}", mend="nothing is left to cancel", status=409)
            waited = job.status == "queued"
            if waited:
                self._waiting[job.device].remove(job)
            else:
                job.keep = keep
                job.stop.set()
        if waited:
            self._over(job, "cancelled")
            self._tell_order(job.device)
        return job

    def close(self, patience: float) -> None:
        """End: stop what is being drawn after its present step, and wait for its thread so many seconds. What waits stays on disk."""
        with self._lock:
            self._closing = True
            for job in self._jobs.values():
                if job.status == "running":
                    job.stop.set()
            self._news.notify_all()
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(patience)

    # -- drawing ---------------------------------------------------------------------------------------------------------------------

    def _work(self, device: str) -> None:
        while True:
            with self._lock:
                while not self._waiting[device] and not self._closing:
                    self._news.wait()
                if self._closing:
                    return
                job = self._waiting[device].pop(0)
                job.status, job.started = "running", time.time()
            self._write(job)
            self._tell(job, "started", {"state": job.plain()})
            self._tell_order(device)
            try:
                self._draw(job)
            except Interrupted:
                self._over(job, "interrupted" if self._closing and not job.picture else "cancelled")
            except BaseException as error:  # whatever a plugin raises: the next job is drawn
                job.error = Problem(unexpected(error), ("pictures", 0, "prompt") if isinstance(error, PlanningError) else None).plain()
                self._over(job, "failed")
            else:
                self._over(job, "done")

    def _over(self, job: Job, status: Status) -> None:
        """Write a job's end down, tell it, and forget the oldest of those that are over."""
        with self._lock:
            job.status, job.ended, job.phase, job.left = status, time.time(), None, None
            job.seen = Seen()  # a finished picture's stands beside it on disk
            over = [one for one in self._jobs.values() if one.status in OVER]
            forgotten = over[: max(0, len(over) - self.limits.finished)]
            for old in forgotten:
                del self._jobs[old.id]
        self._write(job)
        for old in forgotten:
            self.store.drop_job(old.id)
        self._tell(job, status, {"picture": job.picture, "error": job.error, "state": job.plain()})

    def _tell(self, job: Job, name: str, data: Mapping[str, Any]) -> None:
        self.hub.tell(name, {"job": job.id, **data}, job=job.id, client=job.client)

    def tell(self, job: Job, name: str, data: Mapping[str, Any]) -> None:
        """An event of a job that is being drawn."""
        self._tell(job, name, data)

    def _tell_order(self, device: str) -> None:
        with self._lock:
            self.hub.tell("queue", {"device": device, "order": [one.id for one in self._waiting[device]]})

    # -- on disk ---------------------------------------------------------------------------------------------------------------------------

    def _write(self, job: Job) -> None:
        self.store.write_job(job.id, {"job": job.plain(), "recipe": job.recipe.plain()})

    def _restore(self) -> None:
        """The jobs of earlier runs."""
        again: list[Job] = []
        for data in self.store.jobs():
            told = data["job"]
            try:
                recipe = Recipe.model_validate(migrate(data["recipe"]))
                job = Job(told["id"], told["device"], recipe)
                for name in (
                    "client",
                    "kind",
                    "of",
                    "parent",
                    "status",
                    "step",
                    "count",
                    "created",
                    "started",
                    "ended",
                    "regions",
                    "remarks",
                ):
                    setattr(job, name, told[name])
                job.picture, job.error = told["picture"], told["error"]
            except (KeyError, TypeError, ValueError, RealCompoError):
                continue  # of a version that wrote other files
            if job.status == "queued":
                again.append(job)
                continue
            if job.status == "running":
                job.status, job.ended = "interrupted", time.time()
                self._write(job)
            self._jobs[job.id] = job
        with self._lock:
            for job in again:
                self._enter(job)


def _new_id() -> str:
    now = time.time_ns()
    day = time.strftime("%Y%m%d-%H%M%S", time.localtime(now // 10**9))
    return f"{day}-{now % 10**9 // 1000:06d}-{secrets.token_hex(2)}"
