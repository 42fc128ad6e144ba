"""The same batches on a local Ray: the same files to the byte, whatever is killed. Where Ray is installed (make test-deep brings it)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from realcompo.draw.many.engines import engine_of
from realcompo.draw.many.run import draw_many
from realcompo.draw.many.stores import Folder
from realcompo.interfaces import Crew
from realcompo.recipes.recipe import PictureEntry, Recipe
from tests import ROOT

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


def recipe(count: int, *more: str) -> Recipe:
    pictures = tuple(PictureEntry(prompt=prompt) for prompt in (*(f"a dog, take {number}" for number in range(count)), *more))
    return Recipe(branches=("toy/fidelity",), num_inference_steps=3, device="cpu", pictures=pictures)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in Folder(folder).sizes() if name != ".lock" and name.endswith(".png")}


def test_sixty_pictures_are_those_of_one_process(tmp_path: Path) -> None:
    """One that is NaN and one that kills its actor among them: recorded after three tries, and the rest is there, to the byte."""
    draw_many(recipe(60), tmp_path / "one", registry=FAILING)
    engine = engine_of("ray", Crew(2))
    assert "Ray at" in engine.told
    tally = draw_many(recipe(60, "a bomb", "a tree"), tmp_path / "ray", registry=FAILING, engine=engine)
    assert tally.drawn == 60 and tally.failed.keys() == {"a-bomb.png", "a-tree.png"} and "died" in tally.failed["a-bomb.png"]
    assert files(tmp_path / "ray") == files(tmp_path / "one")
    assert str(draw_many(recipe(60), tmp_path / "ray", registry=FAILING)) == "0 drawn, 60 already there"
