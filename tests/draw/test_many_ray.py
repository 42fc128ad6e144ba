"""The same batches on a local Ray: the same files to the byte, whatever is killed. Where Ray is installed (make test-deep brings it)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.draw.many.engines import engine_of
from realcompo.draw.many.run import draw_many
from realcompo.draw.many.stores import Folder
from realcompo.interfaces import Crew
from realcompo.recipes.recipe import PictureEntry, Recipe
from tests import ROOT
from tests.draw.ray_storm import waited
from tests.draw.test_many_storm import descendants

pytest.importorskip("ray", reason="Ray is an extra: pip install 'realcompo[ray]'")
pytestmark = pytest.mark.deep

FAILING = "tests.draw.many_toys:failing_registry"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from realcompo.testing.toys import ToyBranch

    monkeypatch.setattr(ToyBranch, "encode", ToyBranch.encode)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    yield
    if Path("/proc").is_dir():
        assert waited(lambda: not left()), f"left behind: {left()}"


def left() -> list[int]:
    """Processes of a Ray that this one started."""
    return [one for one in descendants(os.getpid()) if any(name in told(one) for name in (b"raylet", b"gcs_server", b"ray::"))]


def told(process: int) -> bytes:
    """A process's command line."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def recipe(count: int, *more: str) -> Recipe:
    pictures = tuple(PictureEntry(prompt=prompt) for prompt in (*(f"a dog, take {number}" for number in range(count)), *more))
    return Recipe(branches=("toy/fidelity",), num_inference_steps=3, device="cpu", pictures=pictures)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in Folder(folder).sizes() if name != ".lock" and name.endswith(".png")}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As an actor of one CPU has: sums are made in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_sixty_mini_pictures_are_those_of_one_process(tmp_path: Path, one_thread: None) -> None:
    """Every file to the byte, so every pixel; the control: of sixty pictures no two are alike."""
    colours, kinds = ("red", "blue", "green", "yellow", "purple"), ("cat", "dog", "cup")
    entries = tuple(PictureEntry(prompt=f"a {colour} {kind}", seed=seed) for colour in colours for kind in kinds for seed in range(4))
    mini = Recipe(branches=("mini/fidelity",), num_inference_steps=2, device="cpu", pictures=entries)  # type: ignore[arg-type]
    draw_many(mini, tmp_path / "one")
    draw_many(mini, tmp_path / "ray", engine=engine_of("ray", Crew(2)))
    one, two = files(tmp_path / "one"), files(tmp_path / "ray")
    assert len(one) == len(set(one.values())) == 60 and two == one
    assert (tmp_path / "ray" / "manifest.jsonl").read_bytes() == (tmp_path / "one" / "manifest.jsonl").read_bytes()


def test_sixty_pictures_are_those_of_one_process(tmp_path: Path) -> None:
    """One that is NaN and one that kills its actor among them: recorded after three tries, and the rest is there, to the byte."""
    draw_many(recipe(60), tmp_path / "one", registry=FAILING)
    engine = engine_of("ray", Crew(2))
    assert "Ray at" in engine.told and left(), "the control of what is looked for afterwards"
    tally = draw_many(recipe(60, "a bomb", "a tree"), tmp_path / "ray", registry=FAILING, engine=engine)
    assert tally.drawn == 60 and tally.failed.keys() == {"a-bomb.png", "a-tree.png"} and "died" in tally.failed["a-bomb.png"]
    assert files(tmp_path / "ray") == files(tmp_path / "one")
    assert str(draw_many(recipe(60), tmp_path / "ray", registry=FAILING)) == "0 drawn, 60 already there"


def test_scores_are_those_of_one_process(tmp_path: Path) -> None:
    """Drawn and judged by two actors: the manifest is one process's, to the byte. The control: the scores are in it."""
    words: dict[str, Any] = {"registry": "tests.draw.scoring_toys:judging_registry", "scorers": {"judges/moody": {}}}
    draw_many(recipe(12), tmp_path / "one", **words)
    draw_many(recipe(12), tmp_path / "ray", engine=engine_of("ray", Crew(2)), **words)
    one, ray = ((tmp_path / name / "manifest.jsonl").read_bytes() for name in ("one", "ray"))
    assert one == ray and one.count(b'"scores": {"judges/moody": {"asked": ') == 12
