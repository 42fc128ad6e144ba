"""Batches with a manifest: nothing is lost, nothing is drawn twice, and every picture is the one that one process draws alone."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import realcompo as rc
from realcompo.draw.batch import draw
from realcompo.draw.many import manifest, stores
from realcompo.draw.many.engines import engine_of
from realcompo.draw.many.run import ManyInterrupted, Tally, draw_many
from realcompo.draw.many.stores import Folder, Remote, open_store
from realcompo.draw.many.workers import Workers
from realcompo.errors import BadOption, BadPicture, DifferentWeights, PluginProblem, StoreError, UnknownName
from realcompo.interfaces import Crew
from realcompo.recipes.recipe import PictureEntry, Recipe
from realcompo.testing import toy_registry
from tests import ROOT

TOYS = "realcompo.testing:toy_registry"
FAILING = "tests.draw.many_toys:failing_registry"
BOXES = {"boxes": rc.Boxes({"a dog": (0.5, 0.3, 1.0, 0.9)})}


def recipe(*prompts: str, **more: Any) -> Recipe:
    more = {"branches": ("toy/fidelity", "toy/spatial"), "num_inference_steps": 3, "device": "cpu", **more}
    return Recipe(pictures=tuple(PictureEntry(prompt=prompt, conditions=BOXES) for prompt in prompts), **more)


FIVE = ("a dog", "a small dog", "a dog", "a dog on grass", "two dogs")
NAMES = ["a-dog.png", "a-small-dog.png", "a-dog-2.png", "a-dog-on-grass.png", "two-dogs.png"]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / manifest.NAME).read_text().splitlines()]


def whole_lines(folder: Path) -> list[str]:
    return (folder / manifest.NAME).read_text().splitlines(keepends=True)


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five pictures, drawn undisturbed with a manifest."""
    folder = tmp_path_factory.mktemp("whole")
    draw_many(recipe(*FIVE), folder, registry=TOYS)
    return folder


def test_the_manifest_says_of_every_picture(whole: Path, tmp_path: Path) -> None:
    head, weights, *rest = lines(whole)
    assert head == {"manifest": 1, "format": "png", "batch_size": 1, "pictures": 5}
    assert [line["picture"] for line in rest] == NAMES and {line["state"] for line in rest} == {"done"}
    assert {line["by"] for line in rest} == {weights["weights"]} and set(weights["branches"]) == {"toy/fidelity", "toy/spatial"}
    draw(recipe(*FIVE), tmp_path, registry=toy_registry())
    assert pictures(tmp_path) == pictures(whole), "the same files, to the byte, as without a manifest"
    for name, line in zip(NAMES, rest, strict=True):
        assert line["size"] == (whole / name).stat().st_size
    assert str(draw_many(recipe(*FIVE), whole, registry=TOYS)) == "0 drawn, 5 already there"


class Stop(Exception):
    """What ends a run from within."""


def stopping(after: int, error: type[BaseException]) -> Any:
    def told(tally: Tally) -> None:
        if tally.drawn == after:
            raise error

    return told


def test_a_batch_goes_on_from_its_manifest(whole: Path, tmp_path: Path) -> None:
    """Guards resuming: stopped by Ctrl-C, then with a torn line, a picture without a line, and one that is gone."""
    with pytest.raises(ManyInterrupted, match=r"stopped: 3 drawn, 0 already there, 2 still to draw in .*the same command goes on"):
        draw_many(recipe(*FIVE), tmp_path, registry=TOYS, told=stopping(3, KeyboardInterrupt))
    text = (tmp_path / manifest.NAME).read_text()
    kept = text.splitlines(keepends=True)[:-1]
    (tmp_path / manifest.NAME).write_text("".join(kept) + '{"picture": "a-dog-2.png", "sta')  # killed in the midst of a line
    (tmp_path / "a-dog.png").unlink()
    tally = draw_many(recipe(*FIVE), tmp_path, registry=TOYS)
    assert (tally.drawn, tally.kept) == (3, 2) and tally.notes == ["a-dog.png is drawn again: it is gone, or not as it was written"]
    assert pictures(tmp_path) == pictures(whole) and lines(tmp_path) == lines(whole)


@pytest.mark.parametrize(
    "line",
    [
        '{"picture": "a-dog.png"}',
        '{"picture": "a-dog.png", "request": 5, "state": "done"}',
        '{"picture": "a-dog.png", "request": "x", "state": "drawn", "size": 1, "pixels": "x", "by": "x"}',
        '{"picture": "a-dog.png", "request": "x", "state": "failed"}',
        '{"weights": "0"}',
        '{"shard": "shard-000000.tar"}',
        '{"picture": 7}\n[]\n7\n"manifest"\nnull\n\x00\xff',
    ],
    ids=["bare", "number", "state", "no error", "weights", "shard", "no lines"],
)
def test_a_line_that_is_damaged_is_none(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """It stands behind the good ones, or alone: nothing is drawn, and the manifest is whole again. The control: a sound line of another
    request is another picture's."""
    for name, data in pictures(whole).items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr("realcompo.draw.many.work.attempt", lambda *_: pytest.fail("it was drawn again"))
    good = (whole / manifest.NAME).read_text()
    for before in (good, ""):
        (tmp_path / manifest.NAME).write_text(f"{before}{line}\n", "latin-1")
        assert str(draw_many(recipe(*FIVE), tmp_path, registry=TOYS)) == "0 drawn, 5 already there"
        assert lines(tmp_path) == lines(whole)
    (tmp_path / manifest.NAME).write_text('{"picture": "a-dog.png", "request": "x", "state": "failed", "error": "NaN"}\n')
    with pytest.raises(BadPicture, match="is not what this recipe asks for"):
        draw_many(recipe(*FIVE), tmp_path, registry=TOYS)


def test_plain_pictures_are_taken_over_and_others_are_not(whole: Path, tmp_path: Path) -> None:
    draw(recipe(*FIVE[:2]), tmp_path, registry=toy_registry())
    tally = draw_many(recipe(*FIVE), tmp_path, registry=TOYS)
    assert (tally.drawn, tally.kept) == (3, 2) and lines(tmp_path) == lines(whole)
    with pytest.raises(BadPicture, match="is not what this recipe asks for"):
        draw_many(recipe(*FIVE, num_inference_steps=2), tmp_path, registry=TOYS)
    (tmp_path / manifest.NAME).unlink()
    with pytest.raises(BadPicture, match="is not what this recipe asks for"):
        draw_many(recipe(*FIVE, num_inference_steps=2), tmp_path, registry=TOYS)
    assert draw_many(recipe(*FIVE, num_inference_steps=2), tmp_path, registry=TOYS, overwrite=True).drawn == 5


def test_notes_name_three_pictures(whole: Path, tmp_path: Path) -> None:
    """And say how many they are: a folder that lost thousands is no wall of text."""
    (tmp_path / manifest.NAME).write_bytes((whole / manifest.NAME).read_bytes())
    notes = draw_many(recipe(*FIVE), tmp_path, registry=TOYS).notes
    assert [note.split()[0] for note in notes] == [*NAMES[:3], "2"] and notes[3] == "2 more are drawn again"


def test_other_weights_do_not_go_on(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from realcompo.testing.toys import ToyBranch

    draw_many(recipe(*FIVE[:2]), tmp_path, registry=TOYS)
    (tmp_path / "a-dog.png").unlink()
    monkeypatch.setattr(ToyBranch, "fingerprint", lambda self: {"toy": "other"})
    with pytest.raises(DifferentWeights, match=r"drawn by other weights of toy/fidelity"):
        draw_many(recipe(*FIVE[:2]), tmp_path, registry=TOYS)
    assert not (tmp_path / "a-dog.png").exists(), "a picture by them would be in the way of the right ones"
    monkeypatch.undo()
    assert str(draw_many(recipe(*FIVE[:2]), tmp_path, registry=TOYS)) == "1 drawn, 1 already there"
    monkeypatch.setattr(ToyBranch, "fingerprint", lambda self: {"toy": "other"})
    (tmp_path / "a-dog.png").unlink()
    draw(recipe(*FIVE[:1]), tmp_path, registry=toy_registry())
    (tmp_path / manifest.NAME).write_text("".join(line for line in whole_lines(tmp_path) if '"a-dog.png"' not in line))
    with pytest.raises(DifferentWeights, match=r"a-dog\.png: the pictures that are there"):
        draw_many(recipe(*FIVE[:2]), tmp_path, registry=TOYS)
    (tmp_path / "a-dog.png").unlink()
    assert draw_many(recipe(*FIVE[:2]), tmp_path, registry=TOYS, overwrite=True).drawn == 1
    assert len([line for line in lines(tmp_path) if "weights" in line]) == 2


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """`FAILING` can be used; a call mends the toys, as the end of the test does."""
    from realcompo.testing.toys import ToyBranch

    plain = ToyBranch.encode
    monkeypatch.setattr(ToyBranch, "encode", plain)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return lambda: monkeypatch.setattr(ToyBranch, "encode", plain)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_poisoned_picture_is_recorded_and_the_rest_goes_on(failing: Callable[[], None], tmp_path: Path, batch_size: int) -> None:
    tally = draw_many(recipe("a dog", "a dog, a tree", "two dogs"), tmp_path, registry=FAILING, batch_size=batch_size)
    assert str(tally) == "2 drawn, 0 already there, 1 failed" and "NaN" in tally.failed["a-dog-a-tree.png"]
    (line,) = [line for line in lines(tmp_path) if line.get("state") == "failed"]
    assert line["tries"] == 3 and "NaN" in line["error"] and len(pictures(tmp_path)) == 2
    again = draw_many(recipe("a dog", "a dog, a tree", "two dogs"), tmp_path, registry=FAILING, batch_size=batch_size)
    assert str(again) == "0 drawn, 2 already there, 1 failed"
    with pytest.raises(PluginProblem, match="all of the first 8 pictures failed"):
        draw_many(recipe(*(["a tree, a dog"] * 9)), tmp_path / "all", registry=FAILING)
    with pytest.raises(BadOption, match="batch_size"):
        draw_many(recipe("a dog", "a dog, a tree", "two dogs"), tmp_path, registry=FAILING, batch_size=2)
    failing()
    mended = draw_many(recipe("a dog", "a dog, a tree", "two dogs"), tmp_path, registry=TOYS, batch_size=batch_size, retry=True)
    assert str(mended) == "1 drawn, 2 already there" and {line.get("state") for line in lines(tmp_path)} == {None, "done"}


def test_groups_are_the_recipes_and_not_what_is_left(tmp_path: Path) -> None:
    """Guards a picture's companions: the third is drawn again beside the fourth, which it was drawn beside at first."""
    draw_many(recipe(*FIVE), tmp_path / "one", registry=TOYS, batch_size=2)
    draw_many(recipe(*FIVE), tmp_path / "two", registry=TOYS, batch_size=2)
    before = pictures(tmp_path / "one")
    (tmp_path / "two" / "a-dog-2.png").unlink()
    kept = (tmp_path / "two" / "a-dog-on-grass.png").stat().st_mtime_ns
    draw_many(recipe(*FIVE), tmp_path / "two", registry=TOYS, batch_size=2)
    assert pictures(tmp_path / "two") == before and (tmp_path / "two" / "a-dog-on-grass.png").stat().st_mtime_ns == kept
    with Image.open(tmp_path / "two" / "a-dog-2.png") as image:
        assert json.loads(image.info["realcompo"])["facts"]["batch"] == {"index": 0, "size": 2}


# -- shards ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_shards_are_the_same_whoever_was_stopped(whole: Path, tmp_path: Path, format: Any) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    draw_many(recipe(*FIVE), tmp_path / "one", registry=TOYS, format=format, shard_size=2)
    for after in (1, 2):
        with pytest.raises(Stop):
            draw_many(recipe(*FIVE), tmp_path / "two", registry=TOYS, format=format, shard_size=2, told=stopping(after, Stop))
    draw_many(recipe(*FIVE), tmp_path / "two", registry=TOYS, format=format, shard_size=2)
    one, two = (
        {name: (tmp_path / f / name).read_bytes() for name in Folder(tmp_path / f).sizes() if name != ".lock"} for f in ("one", "two")
    )
    assert one == two and len(one) == 4, "three shards and the manifest; no parts"
    from realcompo.draw.many.packing import unpack

    found: dict[str, bytes] = {}
    for name in sorted(one):
        found |= unpack(one[name], format, name) if name.startswith("shard") else {}
    assert found == pictures(whole)
    with pytest.raises(BadOption, match="begun with shard_size = 2"):
        draw_many(recipe(*FIVE), tmp_path / "one", registry=TOYS, format=format, shard_size=3)
    with pytest.raises(BadOption, match="hold other pictures than this recipe's"):
        draw_many(recipe(*FIVE[1:]), tmp_path / "one", registry=TOYS, format=format, shard_size=2)


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_a_shard_that_is_torn_is_drawn_again(tmp_path: Path, format: Any) -> None:
    """Of another size than was written: the same shard, to the byte. Of the same size and damaged, where a picture of it is missing: an
    error that names it, and no traceback."""
    if format == "parquet":
        pytest.importorskip("pyarrow")
    words: dict[str, Any] = {"registry": TOYS, "format": format, "shard_size": 2}
    draw_many(recipe(*FIVE), tmp_path, **words)
    shard = next(tmp_path.glob("shard-000000.*"))
    whole, before = shard.read_bytes(), (tmp_path / manifest.NAME).read_text()
    shard.write_bytes(whole[: len(whole) // 2])
    assert str(draw_many(recipe(*FIVE), tmp_path, **words)) == "2 drawn, 3 already there"
    assert shard.read_bytes() == whole and (tmp_path / manifest.NAME).read_text() == before
    shard.write_bytes(whole[: len(whole) // 2].ljust(len(whole), b"\xff"))
    head, _, rest = before.partition('{"shard"')
    (tmp_path / manifest.NAME).write_text(head + '{"shard"' + rest.replace('"a-dog.png", ', "", 1))
    with pytest.raises(StoreError, match=r"shard-000000\.parquet: the shard is damaged|\.png: the picture is damaged"):
        draw_many(recipe(*FIVE), tmp_path, **words)
    shard.unlink()
    draw_many(recipe(*FIVE), tmp_path, **words)
    assert shard.read_bytes() == whole and (tmp_path / manifest.NAME).read_text() == before


def test_a_shard_is_read_by_webdatasets_rules(tmp_path: Path) -> None:
    draw_many(recipe("a dog, v1.5", "two dogs"), tmp_path, registry=TOYS, format="webdataset")
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        assert tar.getnames() == [f"{index:08d}.{kind}" for index in range(2) for kind in ("json", "png", "txt")]
        told = json.loads(tar.extractfile("00000000.json").read())  # type: ignore[union-attr]
        text = tar.extractfile("00000000.txt").read()  # type: ignore[union-attr]
        image = Image.open(io.BytesIO(tar.extractfile("00000000.png").read()))  # type: ignore[union-attr]
    assert (told["name"], told["prompt"]) == ("a-dog-v1.5.png", "a dog, v1.5") and text == b"a dog, v1.5" and image.size == (64, 64)
    assert told["recipe"]["pictures"][0]["seed"] == told["seed"]


# -- stores ------------------------------------------------------------------------------------------------------------------------


def test_a_store_in_memory(whole: Path) -> None:
    address = "memory://many/five"
    with pytest.raises(Stop):
        draw_many(recipe(*FIVE), address, registry=TOYS, told=stopping(2, Stop))
    assert draw_many(recipe(*FIVE), address, registry=TOYS).kept == 2
    store = open_store(address)
    assert {name: store.read(name) for name in store.sizes() if name != manifest.NAME} == pictures(whole)
    assert store.read(manifest.NAME) == (whole / manifest.NAME).read_bytes(), "and no segments are left"
    with pytest.raises(BadOption, match="the memory of one process"):
        draw_many(recipe(*FIVE), address, registry=TOYS, engine=Workers(Crew(2)))


def test_a_store_that_fails_for_a_while_loses_nothing(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fourth request is answered by an error; the control: without asking again, the run ends, and the next one goes on."""
    from fsspec.implementations.memory import MemoryFileSystem

    asked = iter(range(10**6))
    plain = MemoryFileSystem.pipe_file

    def flaky(self: Any, *args: Any, **more: Any) -> Any:
        if next(asked) % 4 == 3:
            raise OSError("500 Internal Server Error")
        return plain(self, *args, **more)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", flaky)
    monkeypatch.setattr(stores.time, "sleep", lambda seconds: None)
    draw_many(recipe(*FIVE), "memory://many/flaky", registry=TOYS)
    monkeypatch.setattr(Remote.__init__, "__defaults__", ((),))
    with pytest.raises(StoreError, match="500 Internal Server Error"):
        draw_many(recipe(*FIVE), "memory://many/dead", registry=TOYS)
    for _ in range(3):
        try:
            draw_many(recipe(*FIVE), "memory://many/dead", registry=TOYS)
            break
        except StoreError:
            continue
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", plain)
    for name in ("flaky", "dead"):
        store = open_store(f"memory://many/{name}")
        draw_many(recipe(*FIVE), f"memory://many/{name}", registry=TOYS)
        assert {name: store.read(name) for name in store.sizes() if name != manifest.NAME} == pictures(whole)
        assert store.read(manifest.NAME) == (whole / manifest.NAME).read_bytes()


def test_a_store_that_takes_nothing_says_so_before_anything_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that may read and not write. The control: the same store, mended, gets as far as the branches."""
    from fsspec.implementations.memory import MemoryFileSystem

    from realcompo.testing.toys import ToyBranch

    def refused(self: Any, *args: Any, **more: Any) -> Any:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(ToyBranch, "encode", lambda *_: pytest.fail("it was drawn"))
    with monkeypatch.context() as patch, pytest.raises(StoreError, match="Access Denied"):
        patch.setattr(MemoryFileSystem, "pipe_file", refused)
        draw_many(recipe(*FIVE), "memory://many/denied", registry=TOYS)
    with pytest.raises(pytest.fail.Exception):
        draw_many(recipe(*FIVE), "memory://many/denied", registry=TOYS)


def test_a_full_disk_ends_the_run_and_loses_nothing(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    fsync, count = os.fsync, iter(range(10**6))

    def full(descriptor: int) -> None:
        if next(count) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="the disk is full"):
            draw_many(recipe(*FIVE), tmp_path, registry=TOYS)
    assert 0 < len(pictures(tmp_path)) < 5 and not list(tmp_path.glob("*.part"))
    draw_many(recipe(*FIVE), tmp_path, registry=TOYS)
    assert pictures(tmp_path) == pictures(whole) and lines(tmp_path) == lines(whole)


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such kind of address"):
        open_store("nowhere://x")
    for text in ("simplecache::s3://bucket/x", "s3:/bucket/x", "HTTPS:/x"):
        with pytest.raises(StoreError, match="no such kind of address"):
            open_store(text)
    for path in ("c:/pictures", "odd:name", "a/s3:/b"):
        assert isinstance(open_store(path), Folder)
    assert open_store(f"local://{tmp_path}").address == open_store(f"file://{tmp_path}").address == str(tmp_path)
    with pytest.raises(StoreError, match="it cannot be opened: IsADirectoryError"):
        open_store(f"zip://{tmp_path}/x.zip")
    with pytest.raises(UnknownName, match="there is no such engine"):
        engine_of("abacus", None)
    (tmp_path / manifest.NAME).write_text('{"manifest": 99}\n')
    with pytest.raises(BadOption, match="it is of version 99"):
        draw_many(recipe("a dog"), tmp_path, registry=TOYS)
    from realcompo.files import claimed

    with claimed(tmp_path / ".lock") as free, pytest.raises(BadOption, match="another run is at work"):
        assert free
        draw_many(recipe("a dog"), tmp_path, registry=TOYS)


# -- workers -----------------------------------------------------------------------------------------------------------------------


def test_two_workers_draw_the_same_and_are_replaced(failing: Callable[[], None], whole: Path, tmp_path: Path) -> None:
    """Two of five pictures more are poisoned: one is NaN, one kills its worker each time. The others are those of one process."""
    asked = (*FIVE, "a dog, a bomb", "a dog, a tree")
    tally = draw_many(recipe(*asked), tmp_path, registry=FAILING, engine=Workers(Crew(2)))
    assert tally.failed.keys() == {"a-dog-a-bomb.png", "a-dog-a-tree.png"} and tally.failed["a-dog-a-bomb.png"] == "its worker died"
    assert pictures(tmp_path) == pictures(whole)
    assert len(tally.notes) == 1 and "3 steps of ddim begin at" in tally.notes[0]  # told once, whatever the number of workers
    assert [line for line in lines(tmp_path)[1:] if line.get("state") != "failed"] == lines(whole)[1:]
