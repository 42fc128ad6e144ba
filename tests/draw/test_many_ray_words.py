"""What --on ray hands to Ray: a stand-in takes the words down, so that shares of GPUs and clusters are tried where there are none."""

from __future__ import annotations

import json
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from realcompo.draw.many.engines import engine_of
from realcompo.draw.many.on_ray import LOST, PATIENCE, Actor, _said
from realcompo.draw.many.run import draw_many
from realcompo.draw.many.work import DrawingWork
from realcompo.errors import BadOption, DeviceError, PluginProblem, StoreError
from realcompo.interfaces import Crew, Engine, Outcome, Unit
from realcompo.recipes.recipe import PictureEntry, Recipe


class Died(Exception):
    """As Ray tells an error of another process: its traceback in the message, and what was raised in `cause`."""

    def __init__(self) -> None:
        super().__init__("Traceback …")
        self.cause = KeyError("dataset_1")


class StandIn(ModuleType):
    """As much of ray and ray.data as the engine calls. Rows of units of which none dies come back; those of `dead` do not.

    Args:
        draws: units are drawn; without it their outcomes are empty.
        breaks: for each pipeline, after how many rows it breaks; those behind them do not.
    """

    def __init__(self, gpus: float = 0.0, dead: tuple[int, ...] = (), draws: bool = False, breaks: tuple[int, ...] = ()) -> None:
        super().__init__("ray")
        self.draws, self.breaks = draws, list(breaks)
        self.inits: list[dict[str, Any]] = []
        self.mapped: list[dict[str, Any]] = []
        self.gpus, self.dead, self.up, self.rows = gpus, dead, False, [{}]
        self.context = SimpleNamespace(max_errored_blocks=0, enable_progress_bars=True)
        self.errored: list[int] = []
        self.data: Any = ModuleType("ray.data")
        self.data.DataContext = SimpleNamespace(get_current=lambda: self.context)
        self.data.ActorPoolStrategy = lambda **words: words
        self.data.from_items = self._from_items
        self.worker = SimpleNamespace(get_dashboard_url=lambda: "127.0.0.1:8265")

    def is_initialized(self) -> bool:
        return self.up

    def init(self, **words: Any) -> None:
        if words.get("address") == "nowhere":
            raise ConnectionError("no such cluster")
        self.inits.append(words)
        self.up = True

    def shutdown(self) -> None:
        self.up = False

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(gcs_address="10.0.0.1:6379")

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.inits[-1].get("num_cpus", 4.0), **({"GPU": self.gpus} if self.gpus else {})}

    def _from_items(self, rows: list[dict[str, str]], override_num_blocks: int) -> Any:
        assert override_num_blocks == len(rows), "a unit that dies with its actor takes no other along"
        self.rows = rows
        return self

    def map_batches(self, actor: Any, **words: Any) -> Any:
        assert actor is Actor
        self.mapped.append(words)
        self.errored.append(self.context.max_errored_blocks)
        return self

    def iter_rows(self) -> Iterator[dict[str, str]]:
        left = self.breaks.pop(0) if self.breaks else -1
        actor = Actor(*self.mapped[-1]["fn_constructor_args"]) if self.draws else None
        for row in self.rows:
            if not left:
                raise Died()
            left -= 1
            number = json.loads(row["unit"])["number"]
            if actor is not None:
                yield {"outcome": actor({"unit": [row["unit"]]})["outcome"][0]}
            elif number not in self.dead:
                yield {"outcome": json.dumps(Outcome(number).plain())}


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Callable[..., StandIn]:
    def put(**told: Any) -> StandIn:
        made = StandIn(**told)
        monkeypatch.setitem(sys.modules, "ray", made)
        monkeypatch.setitem(sys.modules, "ray.data", made.data)
        return made

    return put


def drawn(engine: Engine, units: int = 3) -> list[Outcome]:
    return list(engine.run(DrawingWork({"device": "cpu"}, "out"), [Unit(number, ()) for number in range(units)]))


@pytest.mark.parametrize(("gpus", "machine", "handed"), [(0.5, 2, 0.5), (2, 8, 2), (None, 4, 1), (None, 0, None), (0, 2, None)])
def test_each_worker_has_its_share_of_a_gpu(ray: Callable[..., StandIn], gpus: Any, machine: float, handed: Any) -> None:
    """As it was asked; without a word one where the cluster has any; none where 0 is asked."""
    found = ray(gpus=machine)
    drawn(engine_of("ray", Crew(4, gpus=gpus)))
    (words,) = found.mapped
    assert words.get("num_gpus") == handed
    assert words["num_cpus"] == 1 and words["compute"]["size"] == 4 and json.loads(words["fn_constructor_args"][0])["address"] == "out"


@pytest.mark.parametrize(
    ("workers", "gpus", "machine", "mend"),
    [
        (1, 1, 0, "--gpus 0 draws on the CPU"),
        (4, 0.5, 1, "--workers 2, or a smaller share"),
        (4, 0.3, 1, "--workers 3, or a smaller share"),
        (4, None, 1, "--workers 1, or a smaller share"),
        (2, 2, 3, "--workers 1, or a smaller share"),
        (2, 1.5, 3, "a whole number, or a share of one"),
    ],
)
def test_gpus_that_are_not_there_are_refused(
    ray: Callable[..., StandIn], workers: int, gpus: float | None, machine: float, mend: str
) -> None:
    """Ray would wait for them for ever, and say nothing. The control: on a cluster, which may grow, nothing is refused, and it is told how
    many have room there."""
    found = ray(gpus=machine)
    with pytest.raises(BadOption, match=mend):
        engine_of("ray", Crew(workers, gpus=gpus))
    assert not found.up and not found.mapped, "the local Ray has ended"
    if gpus == 1.5:
        return
    told = engine_of("ray", Crew(workers, gpus=gpus, address="auto")).told
    assert f" of {workers} workers have room there now, the others wait until it grows" in told


def test_what_is_in_flight_is_bounded_and_ray_tries_nothing_again(ray: Callable[..., StandIn]) -> None:
    found = ray()
    for in_flight, ahead in ((None, 2), (8, 2), (16, 4), (4, 1), (7, 1)):
        drawn(engine_of("ray", Crew(4, in_flight)))
        assert found.mapped[-1]["compute"]["max_tasks_in_flight_per_actor"] == ahead
    with pytest.raises(BadOption, match="3 in flight and 4 workers"):
        engine_of("ray", Crew(4, 3))
    assert {words["max_task_retries"] for words in found.mapped} == {0} and {words["max_restarts"] for words in found.mapped} == {-1}
    assert set(found.errored) == {-1} and found.context.max_errored_blocks == 0, "any number may die meanwhile, and the setting is put back"


def test_ray_data_writes_nothing_into_the_terminal(ray: Callable[..., StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handler of that name says nothing while a batch draws, and what it did before afterwards; a file keeps all. The control: it is
    asked in the midst."""
    logger, said = logging.Logger("ray.data"), StringIO()
    for name in ("console", "file"):
        handler = logging.StreamHandler(said)
        handler.set_name(name)
        handler.setFormatter(logging.Formatter(f"{name} %(message)s"))
        logger.addHandler(handler)
    get = logging.getLogger
    monkeypatch.setattr(logging, "getLogger", lambda name=None: logger if name == "ray.data" else get(name))
    ray()
    for number, _ in enumerate(engine_of("ray", Crew(1)).run(DrawingWork({"device": "cpu"}, "out"), [Unit(0, ()), Unit(1, ())])):
        logger.error("row %d", number)
    logger.error("after")
    assert said.getvalue().splitlines() == ["file row 0", "file row 1", "console after", "file after"]


def test_a_unit_without_an_outcome_is_told_as_lost(ray: Callable[..., StandIn]) -> None:
    ray(dead=(1,))
    assert [(one.number, one.lost) for one in drawn(engine_of("ray", Crew(2)))] == [(0, None), (2, None), (1, LOST)]


def test_a_pipeline_that_breaks_is_followed_by_another_with_the_rest(ray: Callable[..., StandIn]) -> None:
    """Each outcome once. One that breaks before it gave any counts; three of them in succession, and it is given up."""
    found = ray(breaks=(0, 0, 2, 0, 1))
    assert [one.number for one in drawn(engine_of("ray", Crew(2)), 6)] == [0, 1, 2, 3, 4, 5]
    assert len(found.mapped) == 6 and len(found.rows) == 3 and found.context.max_errored_blocks == 0
    ray(breaks=(1, 0, 0))
    with pytest.raises(PluginProblem, match=r"(?s)gave up 3 times in succession; the last time: KeyError: 'dataset_1'.*the same command"):
        drawn(engine_of("ray", Crew(2)))


def test_a_batch_that_ray_gave_up_goes_on_by_the_same_command(ray: Callable[..., StandIn], tmp_path: Path) -> None:
    """What was drawn has its line; the same again draws the rest and nothing twice; all is as one process draws it."""
    pictures = tuple(PictureEntry(prompt=f"a dog, take {number}") for number in range(6))
    recipe = Recipe(branches=("toy/fidelity",), num_inference_steps=2, device="cpu", pictures=pictures)  # type: ignore[arg-type]
    words: dict[str, Any] = {"registry": "realcompo.testing:toy_registry"}
    draw_many(recipe, tmp_path / "one", **words)
    ray(draws=True, breaks=(2, 0, 0))
    with pytest.raises(PluginProblem, match="start the same command again"):
        draw_many(recipe, tmp_path / "ray", engine=engine_of("ray", Crew(2)), **words)
    assert (tmp_path / "ray" / "manifest.jsonl").read_text().count('"state": "done"') == 2
    assert str(draw_many(recipe, tmp_path / "ray", engine=engine_of("ray", Crew(2)), **words)) == "4 drawn, 2 already there"
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "ray"))
    assert one == two and len(one) == 6 + 2, "pictures, manifest and lock"


def test_a_cluster_is_joined_and_a_local_one_has_a_cpu_for_reading(ray: Callable[..., StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    found = ray()
    asked: list[Any] = []
    monkeypatch.setattr("realcompo.draw.many.on_ray.socket.create_connection", lambda *told: asked.append(told) or StringIO())
    engine = engine_of("ray", Crew(4, address="ray://head:10001"))
    assert asked == [(("head", 10001), PATIENCE)]
    assert found.inits[0]["address"] == "ray://head:10001" and "num_cpus" not in found.inits[0]
    assert engine.told == "Ray at 10.0.0.1:6379, dashboard at http://127.0.0.1:8265"
    drawn(engine)
    engine.close()
    assert not found.up
    engine_of("ray", Crew(300))
    assert found.inits[1]["num_cpus"] == 301 and found.inits[1]["address"] == "local", (
        "a Ray of its own, also beside another on this machine"
    )
    engine_of("ray", Crew(1)).close()
    assert len(found.inits) == 2 and found.up, "one that is running is used, and left running"
    found.up = False
    with pytest.raises(PluginProblem, match="nowhere: it cannot be started or joined: ConnectionError: no such cluster"):
        engine_of("ray", Crew(1, address="nowhere"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PluginProblem, match=r"(?s)Ray is not installed.*realcompo\[ray\]"):
        engine_of("ray", None)


# Texts of errors as Ray 2.60 raised them where an actor was made so that it fails.
MADE = (
    "The actor died because of an error raised in its creation task, \x1b[36mray::MapWorker(MapBatches(Actor)).__init__()\x1b[39m "
    "(pid=26758, ip=10.0.0.1, actor_id=9397e8efec35dbce249b3df701000000, repr=MapWorker(MapBatches(Actor)))\n"
)
CARETS = "           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
INSIDE = (
    f'{MADE}{CARETS}{CARETS}  File "/ray/data/_internal/actor_pool_map_operator.py", line 765, in _init_udf_with_retries\n'
    "    raise last_exception\n"
    '  File "/ray/data/_internal/planner/plan_udf_map_op.py", line 673, in init_fn\n'
    f"    udf_instances[udf_key] = spec.instantiation_class(\n                             ^^^^^^^^^^^^^^^^^^^^^^^^^\n"
    '  File "/app/actor.py", line 8, in __init__\n    self._drawer = DrawingWork.of(json.loads(work)).open()\n'
)
IN_A_CALL = (
    "\x1b[36mray::MapWorker(MapBatches(Actor)).submit()\x1b[39m (pid=7078, ip=10.0.0.1, actor_id=2aea, repr=MapWorker(MapBatches(Actor)))\n"
    '  File "/lib/concurrent/futures/thread.py", line 58, in run\n    result = self.fn(*self.args, **self.kwargs)\n'
    '             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n  File "/app/actor.py", line 9, in __call__\n    raise KeyError("x")\n'
    "KeyError: 'x'\n\n"
    "The above exception was the direct cause of the following exception:\n\n"
    "\x1b[36mray::MapWorker(MapBatches(Actor)).submit()\x1b[39m (pid=7078, ip=10.0.0.1)\n"
    "ray.exceptions.UserCodeException: UDF failed to process a data block.\n"
    "Failed to apply UDF transform after 1/1 attempts (total backoff 0.0s)."
)
NOT_THERE = (
    f"{MADE}  At least one of the input arguments for this task could not be computed:\n"
    "ray.exceptions.RaySystemError: System error: No module named 'realcompo'\ntraceback: Traceback (most recent call last):\n"
    f"{CARETS}{CARETS}ModuleNotFoundError: No module named 'realcompo'"
)
KILLED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: MapWorker(MapBatches(Actor))\n\tpid: 4652\n\tip: 10.0.0.1\n"
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits "
    "with a connection error code 2. End of file. Some common causes include: (1) the process was killed by the OOM killer due to high "
    "memory usage, (2) ray stop --force was called, or (3) the worker crashed unexpectedly due to SIGSEGV or another unexpected error."
)


class ActorDiedError(Exception):
    """As Ray names it: its traceback in the message, no `cause`."""

    cause: BaseException | None = None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(
            f"{INSIDE}RuntimeError: CUDA error: no kernel image\nsecond line", "RuntimeError: CUDA error: no kernel image", id="made"
        ),
        pytest.param(
            f"{INSIDE}realcompo.errors.PluginProblem: --on ray: not installed\n  mend: pip install it",
            "PluginProblem: --on ray: not installed",
            id="our own",
        ),
        pytest.param(IN_A_CALL, "KeyError: 'x'", id="in a call"),
        pytest.param(NOT_THERE, "ModuleNotFoundError: No module named 'realcompo'", id="not on that machine"),
        pytest.param(KILLED, "ActorDiedError: The actor is dead because its worker process has died. Worker exit type", id="killed"),
        pytest.param("The actor 12 is unavailable: the node is gone.", "ActorDiedError: The actor 12 is unavailable", id="one line"),
        pytest.param("", "ActorDiedError: ", id="nothing"),
    ],
)
def test_the_line_that_says_why_is_told(text: str, why: str) -> None:
    """And not the first, which says of every actor that it died; in colour for nobody, and no page of it. The control: the first lines."""
    error = ActorDiedError(text)
    if text is IN_A_CALL:
        error.cause = ValueError("UDF failed to process a data block.")  # Ray's own wrapper says less than the text
    told = _said(error)
    assert told.startswith(why) and "\x1b" not in told and "\n" not in told and len(told) <= 300
    first = f"ActorDiedError: {(text.splitlines() or [''])[0]}"
    assert told != first or "\n" not in text


@pytest.mark.parametrize("shape", ["{}:{}", "ray://{}:{}"])
def test_an_address_where_nobody_listens_is_told_at_once(ray: Callable[..., StandIn], shape: str) -> None:
    """Ray is not asked: it would ask for minutes. The control: where somebody listens, it is."""
    found = ray()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = shape.format(*listening.getsockname())
        with pytest.raises(PluginProblem, match=f"{address}: nobody answers there: Connection refused"):
            engine_of("ray", Crew(1, address=address))
        assert not found.inits
        listening.listen()
        engine_of("ray", Crew(1, address=address))
    assert found.inits == [{**found.inits[0], "address": address}]
    found.up = False
    with pytest.raises(PluginProblem, match="nobody answers there"):
        engine_of("ray", Crew(1, address="127.0.0.1:70000"))


def test_a_head_node_needs_no_gpu(ray: Callable[..., StandIn], tmp_path: Path) -> None:
    """A recipe's device is its workers'. The control: without an address they are on this machine, which has no such device; and what is
    refused before anything is drawn leaves no Ray running."""
    recipe = Recipe(branches=("toy/fidelity",), num_inference_steps=2, device="cuda:7", pictures=(PictureEntry(prompt="a dog"),))  # type: ignore[arg-type]
    words: dict[str, Any] = {"registry": "realcompo.testing:toy_registry"}
    found = ray()
    with pytest.raises(DeviceError, match="cuda:7"):
        draw_many(recipe, tmp_path, engine=engine_of("ray", Crew(1)), **words)
    assert not found.up
    with pytest.raises(StoreError, match="no such kind of address"):
        draw_many(recipe, "nowhere://x", engine=engine_of("ray", Crew(1)), **words)
    assert not found.up and not found.mapped
    tally = draw_many(recipe, tmp_path, engine=engine_of("ray", Crew(1, address="auto")), **words)
    handed = json.loads(found.mapped[0]["fn_constructor_args"][0])["recipe"]
    assert handed["device"] == "cuda:7" and tally.failed.keys() == {"a-dog.png"}, "the stand-in gives no line of it"


def test_a_node_without_realcompo_is_named(ray: Callable[..., StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    """The mend is what mends it: the same command again would not."""
    for text, mend in ((NOT_THERE, "install realcompo and the recipe's plugins on every node"), (KILLED, "start the same command again")):
        monkeypatch.setattr(Died, "__init__", lambda self, text=text: Exception.__init__(self, text))
        monkeypatch.setattr(Died, "cause", None, raising=False)
        ray(breaks=(0, 0, 0))
        with pytest.raises(PluginProblem, match=f"(?s)gave up 3 times in succession; the last time: .*mend: {mend}"):
            drawn(engine_of("ray", Crew(2)))
