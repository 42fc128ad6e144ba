"""Evaluations drawn by workers: the same files as by one process, whoever was first or died."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realcompo.draw.many.work import DrawingWork
from realcompo.errors import NotFinite
from realcompo.evaluation.crew import TRIES, by_engine
from realcompo.evaluation.jobs import Job
from realcompo.evaluation.run import evaluate
from realcompo.interfaces import Case, Crew, Engine, Outcome, Unit
from realcompo.recipes.recipe import PictureEntry
from realcompo.testing import toy_registry
from tests import ROOT

FAILING = "tests.draw.many_toys:failing_registry"
RECIPE = 'branches = ["toy/fidelity"]\nnum_inference_steps = 2\ndevice = "cpu"\n'


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_workers_make_the_folder_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte, lines and their order too; a scene with a tree is NaN in both. The control: pictures are there, and some failed."""
    from realcompo.testing.toys import ToyBranch

    monkeypatch.setattr(ToyBranch, "encode", ToyBranch.encode)  # put back what the failing toys put in its place
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "none.toml"))
    (tmp_path / "toy.toml").write_text(RECIPE)
    from tests.draw.many_toys import failing_registry

    failing_registry()
    registry = toy_registry()
    told: dict[str, Any] = {"options": ["count=8"], "scorers": [], "registry": registry, "batch_size": 3}
    evaluate("toy/scenes", [tmp_path / "toy.toml"], tmp_path / "one", **told)
    evaluate("toy/scenes", [tmp_path / "toy.toml"], tmp_path / "two", limit=6, **told)
    evaluate("toy/scenes", [tmp_path / "toy.toml"], tmp_path / "two", crew=Crew(2), maker=FAILING, **told)
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert one == two
    assert sum(name.endswith(".png") for name in one) > 8 and b"NaN" in one["toy/drawn.jsonl"]


class Scripted(Engine):
    """Answers backwards; units of `dies` lose their worker each time, others of `once` the first time."""

    def __init__(self, dies: set[int], once: set[int], fatal: bool = False) -> None:
        super().__init__(Crew())
        self.dies, self.once, self.fatal = dies, once, fatal
        self.asked: list[int] = []

    def run(self, work: Any, units: Iterable[Unit]) -> Iterator[Outcome]:
        for unit in reversed(list(units)):
            self.asked.append(unit.number)
            if self.fatal:
                yield Outcome(unit.number, fatal={"kind": "NotFinite", "what": "all of it", "where": None, "mend": None})
            elif unit.number in self.dies or unit.number in self.once:
                self.once.discard(unit.number)
                yield Outcome(unit.number, lost="its worker died")
            else:
                yield Outcome(unit.number, tuple({"picture": one["file"], "state": "done"} for one in unit.pictures if one["write"]))


def test_lines_wait_for_those_before_them() -> None:
    """In order though all come backwards; what was lost once is drawn, what is lost each time is told; what is there is not told again."""
    jobs = [Job(Case(id=str(n), prompt="a dog", seed=n), PictureEntry(prompt="a dog"), str(n)) for n in range(8)]
    batches = [jobs[n : n + 2] for n in range(0, 8, 2)]
    engine, work = Scripted(dies={2}, once={1}), DrawingWork({}, "")
    found = [one for batch in by_engine(engine, work, batches, lambda job: job.request, lambda job: job.request != "0") for one in batch]
    assert [job.request for job, _ in found] == [str(n) for n in range(1, 8)]
    assert [job.request for job, told in found if isinstance(told, str)] == ["4", "5"] and found[3][1] == "its worker died"
    assert sorted(engine.asked) == [0, 1, 1, *([2] * TRIES), 3]
    with pytest.raises(NotFinite, match="all of it"):
        list(by_engine(Scripted(set(), set(), fatal=True), work, batches, lambda job: job.request, lambda job: True))
