"""The engine for clusters: Ray Data. A row a unit: read by tasks, drawn by actors that hold one copy of the weights each, and its outcome
streamed back.

Ray Data retries what dies for as long as it takes, so a picture that kills its actor would be drawn for ever. Here nothing is retried by
Ray: a unit that dies with its actor is an errored block, of which any number is allowed, and has no outcome; the batch tries it again,
twice, and records it. A pipeline that Ray Data itself gives up (an actor of its own died) is followed by another with the rest.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ...errors import BadOption, PluginProblem
from ...interfaces.engine import Crew, Engine, Outcome, Unit, Work
from .work import Drawer, DrawingWork

ROUND = 4096
"""Units of one pipeline: what is planned before it is drawn, and what the driver holds of it."""

BREAKS = 3
"""Pipelines that break one after the other, without an outcome between them, before a batch is given up."""

AGAIN = "start the same command again: it goes on from what is drawn; where that does not help, see Ray's logs"
NOT_THERE = "install realcompo and the recipe's plugins on every node, in the same versions; the same command then goes on"

LOST = "its worker died, or the machine that it was on"

SHOWN = 300
"""Characters of Ray's reason that an error tells: some of its lines are advice of a page."""

PATIENCE = 10.0
"""Seconds in which a cluster has to answer."""

LONGEST = 40
"""Of a folder of temporary files: a socket's path has 107 bytes at most, and Ray's are some sixty longer than it."""


class Actor:
    """A drawing actor: opens the work when it is made, draws the units of a batch of rows."""

    def __init__(self, work: str) -> None:
        self._drawer: Drawer = DrawingWork.of(json.loads(work)).open()

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[str]]:
        """A unit and its outcome are JSON: rows of one column."""
        return {"outcome": [json.dumps(self._drawer(Unit.of(json.loads(str(unit)))).plain()) for unit in rows["unit"]]}


class OnRay(Engine):
    """Draws on a local Ray, which starts by itself, or on the cluster at the crew's address.

    Raises:
        BadOption: no worker can have so many GPUs, or some would never have a unit. PluginProblem: Ray is not installed, or does not start.
    """

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
        if crew.gpus is not None and crew.gpus > 1 and crew.gpus % 1:
            raise BadOption(f"{crew.gpus:g} GPUs of each worker", where="--gpus", mend="a whole number, or a share of one, such as 0.5")
        if crew.in_flight is not None and crew.in_flight < crew.workers:
            what = f"{crew.in_flight} in flight and {crew.workers} workers"
            raise BadOption(what, where="--max-in-flight", mend=f"{crew.workers} or more, or fewer --workers")
        try:
            import ray
        except ImportError as error:
            raise PluginProblem(f"Ray is not installed: {error}", where="--on ray", mend="pip install 'realcompo[ray]'") from None
        self._ray: Any = ray
        self._started = not ray.is_initialized()
        if self._started:
            self._start()
        if self._started and crew.address is None and (fit := self._fit) < crew.workers:
            what = f"{crew.workers} workers with {self._gpus:g} of a GPU each on a machine of {self._has.get('GPU', 0):g}"
            self.close()
            mend = f"--workers {fit}, or a smaller share of --gpus" if fit else "--gpus 0 draws on the CPU"
            raise BadOption(what, where="--workers, --gpus", mend=mend)

    def _start(self) -> None:
        """A local Ray has a logical CPU more than its actors take: with none left, reading tasks wait for actors that wait for them.

        Without an address it is one of our own, also beside another that runs on this machine, which takes no number of CPUs from a
        stranger.
        """
        words: dict[str, Any] = {"address": self.crew.address} if self.crew.address else {}
        _check_address(self.crew.address or "")
        if not words:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            words = {"address": "local", "num_cpus": max(cores, int(-(-self.crew.workers * self.crew.cpus // 1)) + 1)}
            if len(tempfile.gettempdir()) > LONGEST and "RAY_TMPDIR" not in os.environ:
                words["_temp_dir"] = "/tmp/ray"  # where Ray's files lie by default
        try:
            self._ray.init(logging_level="ERROR", log_to_driver=False, configure_logging=True, **words)
        except Exception as error:  # of many kinds: no such cluster, another version, no room in /dev/shm
            where = self.crew.address or "a local Ray"
            raise PluginProblem(
                f"it cannot be started or joined: {type(error).__name__}: {error}", where=where, mend="see `ray status`, or leave --on out"
            ) from None

    @property
    def elsewhere(self) -> bool:
        """On the machines of a cluster."""
        return self.crew.address is not None

    @property
    def told(self) -> str:
        """Where Ray's dashboard is."""
        found = self._ray.get_runtime_context().gcs_address if self._ray.is_initialized() else ""
        url = self._ray.worker.get_dashboard_url() if hasattr(self._ray, "worker") else ""
        waits = ""
        if self._fit < self.crew.workers:
            waits = f"; {self._fit} of {self.crew.workers} workers have room there now, the others wait until it grows"
        return f"Ray at {found}" + (f", dashboard at http://{url}" if url else "") + waits

    def run(self, work: Work, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Outcomes as they come; units without one are told as lost at the end of their pipeline.

        Raises:
            PluginProblem: Ray Data ended several pipelines in succession.
        """
        more = iter(units)
        while some := list(islice(more, ROUND)):
            yield from self._round(work, some)

    def _round(self, work: Work, some: list[Unit]) -> Iterator[Outcome]:
        """The outcomes of one pipeline; where it broke, of another with the units that had none yet."""
        missing, broken = {unit.number: unit for unit in some}, 0
        while missing:
            try:
                with self._pipeline(work, list(missing.values())) as rows:
                    for row in rows:
                        outcome = Outcome.of(json.loads(row["outcome"]))
                        missing.pop(outcome.number, None)
                        broken = 0
                        yield outcome
                break  # it came to its end: what is missing died with its actor
            except Exception as error:  # of many kinds: an actor of Ray Data's own died, a node went, an actor cannot be made
                broken += 1
                if broken >= BREAKS:
                    said = _said(error)
                    raise PluginProblem(
                        f"Ray Data gave up {BREAKS} times in succession; the last time: {said}",
                        where=self.crew.address or "a local Ray",
                        mend=NOT_THERE if said.startswith("ModuleNotFoundError") else AGAIN,
                    ) from error
        for number in sorted(missing):
            yield Outcome(number, lost=LOST)

    @contextmanager
    def _pipeline(self, work: Work, units: list[Unit]) -> Iterator[Iterator[dict[str, Any]]]:
        """Rows of outcomes."""
        import ray.data

        context = ray.data.DataContext.get_current()
        kept = context.max_errored_blocks, context.enable_progress_bars
        context.max_errored_blocks, context.enable_progress_bars = -1, False
        levels = _hushed()
        crew = self.crew
        words: dict[str, Any] = {"num_cpus": crew.cpus, "max_restarts": -1, "max_task_retries": 0}
        if self._gpus:
            words["num_gpus"] = self._gpus
        ahead = max(1, (crew.in_flight or 2 * crew.workers) // crew.workers)
        try:
            rows = [{"unit": json.dumps(unit.plain())} for unit in units]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that names for max_restarts and max_task_retries are to come
                drawn = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                    Actor,
                    fn_constructor_args=(json.dumps(work.plain()),),
                    batch_size=1,
                    compute=ray.data.ActorPoolStrategy(size=crew.workers, max_tasks_in_flight_per_actor=ahead),
                    **words,
                )
            yield iter(drawn.iter_rows())
        finally:
            for handler, level in levels:
                handler.setLevel(level)
            context.max_errored_blocks, context.enable_progress_bars = kept

    @property
    def _has(self) -> dict[str, float]:
        """What the cluster has now."""
        return dict(self._ray.cluster_resources()) if self._ray.is_initialized() else {}

    @property
    def _gpus(self) -> float:
        """Of each worker: as asked, and one without a word where the cluster has any."""
        return self.crew.gpus if self.crew.gpus is not None else float(bool(self._has.get("GPU")))

    @property
    def _fit(self) -> int:
        """How many workers have room in the cluster as it is now. A share of a GPU is of one, so what is left of each is of no use."""
        has, gpus = self._has, self._gpus
        shares = has.get("GPU", 0.0) / gpus if gpus >= 1 else has.get("GPU", 0.0) * int(1 / gpus + 1e-6) if gpus else self.crew.workers
        return int(min(has.get("CPU", 0.0) / self.crew.cpus, shares))

    def close(self) -> None:
        """Leave the cluster, and end a local Ray that was started here."""
        if self._started and self._ray.is_initialized():
            self._ray.shutdown()


def _hushed() -> list[tuple[logging.Handler, int]]:
    """Ray Data's handlers that write to the terminal, amid the bar, with the levels that they had; its files keep all. What a user has to
    know, the batch says."""
    found = [(one, one.level) for one in logging.getLogger("ray.data").handlers if one.get_name() == "console"]
    for handler, _ in found:
        handler.setLevel(logging.CRITICAL)
    return found


def _check_address(address: str) -> None:
    """Raise PluginProblem where nobody listens at HOST:PORT: Ray asks for minutes before it says so."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise PluginProblem(
            f"nobody answers there: {said}", where=address, mend="see `ray status` on the head for its address, or leave --address out"
        ) from None


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = re.compile(r'\s+(File ".*", line \d+|[~^]+\s*$)')
"""A line of a traceback; of its own frames Ray leaves only the carets."""
_CAUSED = "The above exception was the direct cause of the following exception:"
_DEAD = "The actor is dead because"
_ROOMS = re.compile(r"^(?:\w+\.)+(?=\w+(?::|$))")


def _said(error: BaseException) -> str:
    """Why Ray gave up, in a line. An error that was raised elsewhere in the cluster has its traceback in its text: the line behind the last
    frame says why, and where errors were raised from others, that of the first."""
    found, lines = error, _lines(error)
    last = max((number for number, line in enumerate(lines) if _FRAME.match(line)), default=len(lines))
    raised = next((line for line in lines[last:] if line and not line[0].isspace()), None)
    if raised is not None:
        return _short(_ROOMS.sub("", raised))
    if isinstance(cause := getattr(error, "cause", None), BaseException):
        found, lines = cause, _lines(cause)
    why = next((line for line in lines if line.startswith(_DEAD)), next((line.strip() for line in lines if line.strip()), ""))
    return _short(f"{type(found).__name__}: {why}")


def _lines(error: BaseException) -> list[str]:
    return _COLOUR.sub("", str(error)).partition(_CAUSED)[0].splitlines()


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1].rstrip()}…"
