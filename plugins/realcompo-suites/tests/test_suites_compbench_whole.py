"""A batch of T2I-CompBench's shape, as its scorers read it: eight categories of 300 prompts, ten pictures each, drawn by toys."""

from __future__ import annotations

import json
import os
from collections import Counter
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from realcompo_suites.options import CATEGORIES

from realcompo.evaluation.run import evaluate
from realcompo.interfaces import Crew
from realcompo.testing import toy_registry

TOY = 'branches = ["toy/fidelity"]\nnum_inference_steps = 1\ndevice = "cpu"\nscheduler_options = {timestep_spacing = "trailing"}\n'
IMAGES = 10


def prompt_of(category: str, number: int) -> str:
    """With what prompts of the suite have: commas, full stops, slashes, hyphens, and a label after a tab in the spatial files."""
    return f"a {category.replace('_', ' ')} bench, no. {number}, and a half-open red/blue box."


def write_prompts(folder: Path, prompts: int) -> Path:
    folder.mkdir()
    for category in CATEGORIES:
        lines = [prompt_of(category, number) + ("\t0" if "spatial" in category else "") for number in range(prompts)]
        (folder / f"{category}_val.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def read_as_scorers(folder: Path) -> list[tuple[int, str, Path]]:
    """(ID, prompt, file) of DIR/samples, as the suite's scorers take them: everything in it, by the number behind the last underscore; the
    prompt is what stands before the first."""
    files = sorted((folder / "samples").iterdir(), key=lambda file: int(file.name.split("_")[-1].split(".")[0]))
    return [(int(file.name.split("_")[-1].split(".")[0]), file.name.split("_")[0], file) for file in files]


def check(pictures: Path, prompts: int, every: int) -> Counter[str]:
    """Every name, and the recipe inside each `every`-th picture. What was counted."""
    seen: Counter[str] = Counter()
    assert sorted(one.name for one in pictures.iterdir()) == sorted(CATEGORIES)
    for category in CATEGORIES:
        assert [one.name for one in (pictures / category).iterdir()] == ["samples"]
        found = read_as_scorers(pictures / category)
        assert [number for number, _, _ in found] == list(range(prompts * IMAGES))
        for number, said, file in found:
            asked = prompt_of(category, number // IMAGES)
            assert said == asked.replace("/", " ") and file.name == f"{said}_{number:06d}.png"
            seen["names"] += 1
            if number % every:
                continue
            with Image.open(file) as image:
                image.load()
                (entry,) = json.loads(image.info["realcompo"])["recipe"]["pictures"]
            assert (entry["prompt"], entry["seed"]) == (asked, 42 + number % IMAGES)
            seen["pictures opened"] += 1
    return seen


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draw so many prompts of each category into out/toy/pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "none.toml"))
    (tmp_path / "toy.toml").write_text(TOY)
    registry = toy_registry(EntryPoint("suites", "realcompo_suites", "realcompo"))

    def run(prompts: int, **more: Any) -> list[dict[str, Any]]:
        if not Path("prompts").exists():
            write_prompts(Path("prompts"), prompts)
        told = ["folder=prompts", f"images={IMAGES}"]
        maker = "realcompo.testing:toy_registry"
        evaluate("suites/t2i-compbench", ["toy.toml"], "out", options=told, scorers=[], registry=registry, maker=maker, **more)
        return [json.loads(line) for line in Path("out/toy/drawn.jsonl").read_text("utf-8").splitlines()]

    return run


def test_two_prompts_of_each_category(draw: Any) -> None:
    lines = draw(2, batch_size=IMAGES)
    assert len(lines) == 160 and check(Path("out/toy/pictures"), 2, every=1) == {"names": 160, "pictures opened": 160}
    file = Path("out/toy/pictures/color/samples/") / f"{prompt_of('color', 1).replace('/', ' ')}_000013.png"
    file.rename(file.with_name(file.name.replace("000013", "000031")))
    with pytest.raises(AssertionError):  # the control: the check sees one name of 160
        check(Path("out/toy/pictures"), 2, every=1)


@pytest.mark.deep
@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_all_of_it_by_workers(draw: Any) -> None:
    """24,000 pictures: 6,000 by two workers, the rest by one that goes on. All names are read, a 37th of the pictures is opened."""
    first = draw(300, limit=6000, batch_size=50, crew=Crew(2))
    times = {line["file"]: (Path("out/toy") / line["file"]).stat().st_mtime_ns for line in first}
    lines = draw(300, batch_size=50, crew=Crew(1))
    assert len(first) == 6000 and lines[:6000] == first and len(lines) == len({line["case"] for line in lines}) == 24_000
    assert times == {name: (Path("out/toy") / name).stat().st_mtime_ns for name in times}, "nothing was drawn twice"
    assert not any("error" in line for line in lines) and len({line["request"] for line in lines}) == 24_000
    assert check(Path("out/toy/pictures"), 300, every=37) == {"names": 24_000, "pictures opened": 8 * 82}
