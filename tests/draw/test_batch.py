"""A recipe of many pictures goes on where it stopped, and never writes over what is not its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import realcompo as rc
from realcompo.compose.inputs import PictureInputs
from realcompo.draw import batch
from realcompo.draw.batch import BatchInterrupted, draw, items, seeded
from realcompo.errors import BadOption, BadPicture, BadRecipe, NotFinite
from realcompo.pictures.png import read_recipe
from realcompo.recipes.recipe import PictureEntry, Recipe
from realcompo.registry import Registry
from realcompo.testing import toy_registry
from tests import ROOT


@pytest.fixture(scope="module")
def registry() -> Registry:
    return toy_registry()


def recipe(*prompts: str, **more: Any) -> Recipe:
    boxes = {"boxes": rc.Boxes({"a dog": (0.5, 0.3, 1.0, 0.9)})}
    more = {"branches": ("toy/fidelity", "toy/spatial"), "num_inference_steps": 4, "device": "cpu", **more}
    return Recipe(pictures=tuple(PictureEntry(prompt=prompt, conditions=boxes) for prompt in prompts), **more)


FIVE = ("a dog", "a small dog", "a dog", "a dog on grass", "two dogs")


def pixels(folder: Path) -> dict[str, bytes]:
    return {path.name: Image.open(path).tobytes() for path in sorted(folder.glob("*.png"))}


def test_seeds_are_made_from_the_pictures(registry: Registry) -> None:
    seeds = [picture.seed for picture in seeded(recipe(*FIVE).pictures)]
    assert len(set(seeds)) == 5 and None not in seeds, "the same prompt twice is two pictures"
    fewer = [picture.seed for picture in seeded(recipe(*FIVE[1:]).pictures)]
    assert fewer[0] == seeds[1] and fewer[2:] == seeds[3:], "a picture keeps its seed when others come and go"
    assert [picture.seed for picture in seeded([PictureEntry(prompt="x", seed=7)])] == [7]


def test_names_are_stable_and_distinct(tmp_path: Path) -> None:
    assert [item.path.name for item in items(recipe(*FIVE), tmp_path)] == [
        "a-dog.png",
        "a-small-dog.png",
        "a-dog-2.png",
        "a-dog-on-grass.png",
        "two-dogs.png",
    ]
    evil = Recipe(pictures=(PictureEntry(prompt="x", name="../../evil"), PictureEntry(prompt="x", name="/etc/passwd")))
    assert all(item.path.parent == tmp_path for item in items(evil, tmp_path))


def test_a_batch_that_was_stopped_goes_on(registry: Registry, tmp_path: Path) -> None:
    whole = draw(recipe(*FIVE), tmp_path / "whole", registry=registry, batch_size=2)
    assert len(whole.drawn) == 5 and not whole.kept and not whole.pending

    stops = iter([False, True])

    def stop(batch: Sequence[Any], report: Any) -> None:
        if next(stops):
            raise KeyboardInterrupt

    with pytest.raises(BatchInterrupted, match=r"stopped: 2 drawn, 0 already there, 3 still to draw in .*the same command goes on"):
        draw(recipe(*FIVE), tmp_path / "parts", registry=registry, batch_size=2, on_batch=stop)
    assert len(pixels(tmp_path / "parts")) == 2

    rest = draw(recipe(*FIVE), tmp_path / "parts", registry=registry, batch_size=2)
    assert (len(rest.drawn), len(rest.kept), len(rest.pending)) == (3, 2, 0)
    assert pixels(tmp_path / "parts") == pixels(tmp_path / "whole")
    nothing = draw(recipe(*FIVE), tmp_path / "parts", registry=registry, batch_size=2)
    assert (len(nothing.drawn), len(nothing.kept)) == (0, 5)


def test_a_finished_batch_loads_nothing(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(recipe(*FIVE[:2]), tmp_path, registry=registry)
    monkeypatch.setattr(batch, "composer_of", lambda *_: pytest.fail("a composer was made"))
    assert len(draw(recipe(*FIVE[:2]), tmp_path, registry=registry).kept) == 2


def test_what_is_not_ours_is_not_written_over(registry: Registry, tmp_path: Path) -> None:
    draw(recipe("a dog"), tmp_path, registry=registry)
    other = recipe("a dog", num_inference_steps=5)
    with pytest.raises(BadPicture, match=r"a-dog\.png: it is there already.*\n.*--overwrite"):
        draw(other, tmp_path, registry=registry)
    assert read_recipe(tmp_path / "a-dog.png").recipe.num_inference_steps == 4
    draw(other, tmp_path, registry=registry, overwrite=True)
    assert read_recipe(tmp_path / "a-dog.png").recipe.num_inference_steps == 5
    Image.new("RGB", (4, 4)).save(tmp_path / "two-dogs.png")
    with pytest.raises(BadPicture, match="there already"):
        draw(recipe("two dogs"), tmp_path, registry=registry)


def test_a_truncated_picture_is_drawn_again(registry: Registry, tmp_path: Path) -> None:
    draw(recipe("a dog"), tmp_path, registry=registry)
    whole = (tmp_path / "a-dog.png").read_bytes()
    (tmp_path / "a-dog.png").write_bytes(whole[:200])
    report = draw(recipe("a dog"), tmp_path, registry=registry)
    assert len(report.drawn) == 1 and "is drawn again: the PNG is truncated" in report.notes[0]
    assert (tmp_path / "a-dog.png").read_bytes() == whole


def test_bad_batches(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="it draws nothing"):
        draw(recipe(), tmp_path, registry=registry)
    with pytest.raises(BadOption, match="batch_size = 0"):
        draw(recipe("a dog"), tmp_path, registry=registry, batch_size=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadPicture, match="the folder cannot be made"):
        draw(recipe("a dog"), tmp_path / "file", registry=registry)


@pytest.mark.deep  # in every run: tests/house/test_files.py, killed at three file operations, and one child for all
def test_a_killed_batch_goes_on(registry: Registry, tmp_path: Path) -> None:
    """Killed without warning in the middle of writing a file: what is there is whole, and the rest is drawn by the next run."""
    code = f"""
        import os, sys
        sys.path.insert(0, {str(ROOT)!r})
        from PIL import Image
        from realcompo.draw.batch import draw
        from realcompo.recipes.configuration import resolve
        from realcompo.testing import toy_registry
        save = Image.Image.save
        def dying(self, stream, *args, **kwargs):
            if os.path.exists({str(tmp_path / "out" / "a-small-dog.png")!r}):
                stream.write(b"half")
                stream.flush()
                os._exit(9)
            save(self, stream, *args, **kwargs)
        Image.Image.save = dying
        registry = toy_registry()
        recipe = resolve({str(tmp_path / "scene.toml")!r}, registry=registry).recipe
        draw(recipe, {str(tmp_path / "out")!r}, registry=registry)
    """
    lines = ['branches = ["toy/fidelity"]', "num_inference_steps = 3", 'device = "cpu"']
    lines += [f'[[pictures]]\nprompt = "{prompt}"' for prompt in FIVE]
    (tmp_path / "scene.toml").write_text("\n".join(lines))
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 9, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["a-dog.png", "a-small-dog.png"]
    from realcompo.recipes.configuration import resolve

    report = draw(resolve(tmp_path / "scene.toml", registry=registry).recipe, tmp_path / "out", registry=registry)
    assert (len(report.drawn), len(report.kept)) == (3, 2)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_pictures_of_nan_are_not_written_and_tried_again(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    """Guards: the good pictures of a batch are written as ever, the failed ones are told, and drawn by the next call."""
    whole = draw(recipe(*FIVE), tmp_path / "whole", registry=registry, batch_size=batch_size)
    spoilt = {seeded(recipe(*FIVE).pictures)[index].seed for index in (1, 4)}
    noise = PictureInputs.noise

    def bad(self: Any, shape: Any) -> Any:
        drawn = noise(self, shape)
        for b, picture in enumerate(self.pictures):
            if picture.seed in spoilt:
                drawn[b, 0, 0, 0] = float("nan")
        return drawn

    told: list[list[str]] = []
    folder = tmp_path / "parts"
    with monkeypatch.context() as patch:
        patch.setattr(PictureInputs, "noise", bad)
        with pytest.raises(
            NotFinite, match=r"2 of 5 pictures failed: a-small-dog\.png, before the first step: .* NaN; two-dogs\.png"
        ) as caught:
            draw(
                recipe(*FIVE),
                folder,
                registry=registry,
                batch_size=batch_size,
                on_result=lambda result, paths: told.append([*(path.name for path in paths), str(len(result.images))]),
            )
    report = caught.value.report
    assert str(report) == "3 drawn, 0 already there, 2 still to draw (of which 2 failed)" and str(report) in str(caught.value)
    assert sorted(path.name for path in report.failed) == ["a-small-dog.png", "two-dogs.png"] == sorted(p.name for p in report.pending)
    good = {name: data for name, data in pixels(tmp_path / "whole").items() if name not in ("a-small-dog.png", "two-dogs.png")}
    assert pixels(folder) == good and len(list(folder.iterdir())) == 3
    assert sorted(name for one in told for name in one[:-1]) == sorted(good) and all(int(one[-1]) == len(one) - 1 for one in told)
    again = draw(recipe(*FIVE), folder, registry=registry, batch_size=batch_size)
    assert (len(again.drawn), len(again.kept), len(again.failed)) == (2, 3, 0) and pixels(folder) == pixels(tmp_path / "whole")
    assert len(whole.drawn) == 5


def test_batches_are_the_recipes_and_not_what_is_left(registry: Registry, tmp_path: Path) -> None:
    """The third of five is gone and drawn again beside the fourth, as at first: the same file to the byte, and none is written again. The
    control: drawn alone it is another file."""
    told: list[tuple[list[str], int]] = []

    def on_result(result: Any, paths: Sequence[Path]) -> None:
        assert [picture.prompt for picture in result.recipe.pictures] == ["a dog"] and len(result.latents) == len(result.images) == 1
        told.append(([path.name for path in paths], len(result.trace.costs)))

    draw(recipe(*FIVE), tmp_path, registry=registry, batch_size=2)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    (tmp_path / "a-dog-2.png").unlink()
    asked: list[list[str]] = []
    report = draw(
        recipe(*FIVE),
        tmp_path,
        registry=registry,
        batch_size=2,
        on_batch=lambda batch, report: asked.append([item.path.name for item in batch]),
        on_result=on_result,
    )
    assert str(report) == "1 drawn, 4 already there" and asked == [["a-dog-2.png"]] == [names for names, _ in told]
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"a-dog-2.png"}
    assert after["a-dog-2.png"][0] == before["a-dog-2.png"][0]
    assert read_recipe(tmp_path / "a-dog-2.png").facts["batch"] == {"index": 0, "size": 2}
    (tmp_path / "a-dog-2.png").unlink()
    draw(recipe(*FIVE), tmp_path, registry=registry)
    assert (tmp_path / "a-dog-2.png").read_bytes() != before["a-dog-2.png"][0]


def test_batches_are_those_of_a_run_with_a_manifest(registry: Registry, tmp_path: Path) -> None:
    """Stopped, gone on, three at once: the same files to the byte."""
    from realcompo.draw.many.run import draw_many

    draw(recipe(*FIVE), tmp_path / "plain", registry=registry, batch_size=3)
    for name in ("a-small-dog.png", "two-dogs.png"):
        (tmp_path / "plain" / name).unlink()
    draw(recipe(*FIVE), tmp_path / "plain", registry=registry, batch_size=3)
    draw_many(recipe(*FIVE), tmp_path / "many", registry="realcompo.testing:toy_registry", batch_size=3)
    plain, many = ({path.name: path.read_bytes() for path in (tmp_path / name).glob("*.png")} for name in ("plain", "many"))
    assert plain == many and len(plain) == 5
