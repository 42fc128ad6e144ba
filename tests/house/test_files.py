"""Files are whole or not there, whatever their place is; what killed runs leave is cleared, and nothing else is."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import realcompo as rc
from realcompo import files
from realcompo.draw.batch import draw
from realcompo.errors import BadOption, BadRecipe
from realcompo.files import clear_parts, free_path, made_between, whole, write_whole
from realcompo.pictures.png import read_recipe
from realcompo.plans.layouts import Layout, write_layouts
from realcompo.recipes.recipe import PictureEntry, Recipe
from realcompo.recipes.writing import write_recipe
from realcompo.testing import toy_registry
from tests import ROOT

posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and permissions of POSIX")
LAYOUT = Layout("a cat", rc.Boxes({"a cat": (0.1, 0.1, 0.9, 0.9)}).items)


def part_of(folder: Path, process: int, host: str | None = None, name: str = "a.png") -> Path:
    """A part as a killed run leaves it."""
    part = folder / f".{name}.{host or files._host()}-{process}-0badcafe.part"
    part.write_bytes(b"half")
    return part


@pytest.fixture
def dead() -> int:
    """The number of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def alive() -> Iterator[int]:
    """The number of a process that runs, and is not ours."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child.pid
    child.communicate(b"\n")


def old(path: Path) -> Path:
    """Unchanged for more than a day."""
    os.utime(path, (time.time() - files.DAY - 60,) * 2)
    return path


# -- what killed runs leave -----------------------------------------------------------------------------------------------------


@posix
def test_parts_of_the_dead_are_cleared_and_those_of_the_living_stay(tmp_path: Path, dead: int, alive: int) -> None:
    gone = [
        part_of(tmp_path, dead),
        part_of(tmp_path, os.getpid(), name="our number, another's token"),
        old(part_of(tmp_path, alive, name="a number that was given again")),
        old(part_of(tmp_path, dead, host="01234567")),
    ]
    stay = [part_of(tmp_path, alive), part_of(tmp_path, dead, host="01234567", name="of another host")]
    clear_parts(tmp_path)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stay)


def test_nothing_that_is_not_a_part_is_touched(tmp_path: Path, dead: int) -> None:
    """By name, by kind: a user's own file may end in .part, a link may lead anywhere."""
    own = files._host()
    names = [
        f".a.png.{own}-{dead}.part",
        f"a.png.{own}-{dead}-0badcafe.part",
        f".a.png.{own}-{dead}-0badcafe.part.bak",
        ".a.part",
        "x.part",
    ]
    kept = [tmp_path / name for name in (*names, f".a.{own}-0-0badcafe.part", f".a.{own}-{dead}-0BADCAFE.part")]
    for path in kept:
        path.write_bytes(b"mine")
        old(path)
    folder = tmp_path / f".folder.{own}-{dead}-0badcafe.part"
    folder.mkdir()
    if os.name == "posix":
        link = tmp_path / f".link.{own}-{dead}-0badcafe.part"
        link.symlink_to(kept[0])
        kept.append(link)
    clear_parts(tmp_path)
    assert all(path.exists() for path in (*kept, folder))


def test_a_part_that_is_being_written_by_us_stays(tmp_path: Path) -> None:
    with whole(tmp_path / "a.bin") as stream:
        stream.write(b"half")
        clear_parts(tmp_path)
        (part,) = tmp_path.iterdir()
        assert part.name.endswith(".part")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_writing_into_a_folder_clears_it_once(tmp_path: Path, dead: int) -> None:
    left = part_of(tmp_path, dead)
    write_whole(tmp_path / "a.txt", "x")
    assert not left.exists() or os.name != "posix"


def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    clear_parts(tmp_path / "nowhere")


KILLED = """
import os, signal, sys
from pathlib import Path
import realcompo as rc
from realcompo.draw.batch import draw
from realcompo.recipes.recipe import PictureEntry, Recipe
from realcompo.testing import toy_registry

registry = toy_registry()
boxes = {"boxes": rc.Boxes({"a dog": (0.5, 0.3, 1.0, 0.9)})}
pictures = tuple(PictureEntry(prompt="a dog", seed=n, conditions=boxes) for n in range(3))
recipe = Recipe(branches=("toy/fidelity", "toy/spatial"), num_inference_steps=2, device="cpu", pictures=pictures)
rc.Composer.from_recipe(recipe, registry)  # imports, once for all children, what drawing needs
events = 0

def watch(event, arguments):
    global events
    if acting and event in ("open", "os.rename", "os.remove", "os.mkdir", "os.scandir") and str(arguments[0]).startswith(folder):
        events += 1  # in the batch's folder: imports open files too
        if events == aim:
            os.kill(os.getpid(), signal.SIGKILL)

acting, folder = False, ""
sys.addaudithook(watch)
for line in sys.stdin:
    folder, aim = line.split()
    aim = int(aim)
    child = os.fork()
    if not child:
        acting = True
        draw(recipe, folder, registry=registry)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def kills(folder: Path, places: range) -> tuple[int, int]:
    """Kill a batch at each of these places: the n-th time that it opens, renames or removes a file. After each the batch is drawn to its
    end; returns how many were killed, and how many of those left a part."""
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ)
    )
    assert child.stdin is not None and child.stdout is not None
    boxes = {"boxes": rc.Boxes({"a dog": (0.5, 0.3, 1.0, 0.9)})}
    pictures = tuple(PictureEntry(prompt="a dog", seed=n, conditions=boxes) for n in range(3))
    recipe = Recipe(branches=("toy/fidelity", "toy/spatial"), num_inference_steps=2, device="cpu", pictures=pictures)
    registry, killed, left = toy_registry(), 0, 0
    whole_pictures: dict[str, bytes] = {}
    for place in places:
        out = folder / str(place)
        child.stdin.write(f"{out} {place}\n")
        child.stdin.flush()
        ended = int(child.stdout.readline())
        assert ended in (0, signal.SIGKILL)
        killed += ended == signal.SIGKILL
        there = {path.name: path.read_bytes() for path in out.glob("*.png")} if out.is_dir() else {}
        for name in there:
            assert read_recipe(out / name).recipe.pictures, "a partial picture"
        left += bool(list(out.glob(".*.part")))
        report = draw(recipe, out, registry=registry)
        assert len(report.kept) == len(there) and not report.notes, "a finished picture was drawn again"
        after = {path.name: path.read_bytes() for path in out.iterdir()}
        assert len(after) == 3 and all(name.endswith(".png") for name in after), f"left: {sorted(after)}"
        assert there.items() <= after.items()
        whole_pictures = whole_pictures or after
        assert {name: len(data) for name, data in after.items()} == {name: len(data) for name, data in whole_pictures.items()}
    child.stdin.close()
    child.wait()
    return killed, left


@posix
def test_killed_runs_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    """A slice: around the first two pictures' writes. Some were killed with a file half written, or there would be nothing to clear."""
    killed, left = kills(tmp_path, range(2, 11, 4))
    assert killed == 3 and left >= 1


@pytest.mark.deep
@posix
def test_91_killed_runs_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    """Every file operation of a batch of three, and round again: 91 kills."""
    done, round_ = 0, 0
    while done < 91:
        killed, left = kills(tmp_path / str(round_), range(1, min(13, 92 - done)))
        assert killed == min(12, 91 - done) and left >= 1
        done, round_ = done + killed, round_ + 1
    assert done == 91


# -- places -------------------------------------------------------------------------------------------------------------------------


def writers(path: Path) -> None:
    """Each of what writes a user's text file, to a place that cannot be written to: an error of ours."""
    with pytest.raises(BadOption, match="cannot be written"):
        write_layouts([LAYOUT], path, "json")
    named = path if path.suffix == ".toml" else path.with_suffix(".toml")
    if named == path:
        with pytest.raises(BadRecipe, match="cannot be written"):
            write_recipe(Recipe(), path)


def test_a_folder_and_a_missing_folder_are_clear_errors(tmp_path: Path) -> None:
    (tmp_path / "scene.toml").mkdir()
    writers(tmp_path / "scene.toml")
    writers(tmp_path / "nowhere" / "scene.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["scene.toml"] and not any((tmp_path / "scene.toml").iterdir())


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="nothing is read-only to the superuser")
def test_a_read_only_file_stays_as_it_is(tmp_path: Path) -> None:
    """A rename would not ask the file."""
    path = tmp_path / "scene.toml"
    path.write_text("mine")
    path.chmod(0o444)
    writers(path)
    assert path.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@posix
def test_a_read_only_file_is_refused_by_its_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a superuser that runs the tests: what `os.access` says is heeded."""
    path = tmp_path / "scene.toml"
    path.write_text("mine")
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    writers(path)
    assert path.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@posix
def test_a_link_is_followed_and_permissions_stay(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    goal, link = tmp_path / "real" / "scene.toml", tmp_path / "scene.toml"
    goal.write_text("old")
    goal.chmod(0o600)
    link.symlink_to(goal)
    write_recipe(Recipe(), link)
    assert link.is_symlink() and "branches" in goal.read_text()
    assert stat.S_IMODE(goal.stat().st_mode) == 0o600
    dangling = tmp_path / "new.json"
    dangling.symlink_to(tmp_path / "real" / "new.json")
    write_layouts([LAYOUT], dangling, "json")
    assert dangling.is_symlink() and json.loads((tmp_path / "real" / "new.json").read_text())["pictures"]
    circle = tmp_path / "circle.toml"
    circle.symlink_to(circle)
    writers(circle)


@posix
def test_a_link_in_a_folder_of_pictures_leads_nowhere(tmp_path: Path) -> None:
    """A folder of a stranger's may hold a link with the name that a picture will have: what it leads to is not written."""
    outside, folder = tmp_path / "outside.txt", tmp_path / "folder"
    folder.mkdir()
    (folder / "a-dog.png").symlink_to(outside)
    boxes = {"boxes": rc.Boxes({"a dog": (0.5, 0.3, 1.0, 0.9)})}
    recipe = Recipe(
        branches=("toy/fidelity", "toy/spatial"),
        num_inference_steps=2,
        device="cpu",
        pictures=(PictureEntry(prompt="a dog", conditions=boxes),),
    )
    draw(recipe, folder, registry=toy_registry())
    assert not outside.exists() and not (folder / "a-dog.png").is_symlink()
    assert read_recipe(folder / "a-dog.png").recipe.pictures
    (folder / "b.png").symlink_to(outside)
    assert free_path(folder, "b").name == "b-2.png", "a link that leads nowhere is not free"


@posix
def test_a_pipe_gets_all_of_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(pipe.read_text()))
    reader.start()
    write_recipe(Recipe(), pipe)
    reader.join(60)
    assert "branches" in said[0] and stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.toml"]


@posix
def test_the_bit_bucket_stays_what_it_is() -> None:
    write_layouts([LAYOUT], "/dev/null", "json")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert not any(name.endswith(".part") for name in os.listdir("/dev"))


SAYS = """
import sys
from pathlib import Path
from realcompo.files import write_whole
print("before", flush=True)
write_whole(Path("/dev/stdout"), "whole\\n")
print("after", flush=True)
"""


@posix
@pytest.mark.parametrize("into", ["pipe", "file"])
def test_standard_output_by_name_shares_its_place(tmp_path: Path, into: str) -> None:
    """Opened anew, a file behind it would be cut, and written over by what follows."""
    if not Path("/dev/stdout").exists():
        pytest.skip("no /dev/stdout here")
    file = tmp_path / "said.txt"
    with file.open("wb") as stream:
        done = subprocess.run([sys.executable, "-c", SAYS], stdout=stream if into == "file" else subprocess.PIPE, check=True, cwd=ROOT)
    said = file.read_bytes() if into == "file" else done.stdout
    assert said == b"before\nwhole\nafter\n"


def test_long_names_fit(tmp_path: Path) -> None:
    """A part's name is no longer than its file's may be, in bytes."""
    path = tmp_path / ("好" * 80 + ".json")
    write_layouts([LAYOUT], path, "json")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \ud800")
    with pytest.raises(RuntimeError), whole(path) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_what_is_made_stands_between_its_marks_and_nowhere_else() -> None:
    page = "before\n<a>\nold\n<b>\nafter <a> and <b>\n"
    new = made_between(page, "<a>", "<b>", "new\n")
    assert new == "before\n<a>\n\nnew\n\n<b>\nafter <a> and <b>\n" == made_between(new, "<a>", "<b>", "new")
    for lacking in ("no mark", "<a> alone", "<b> before <a>"):
        with pytest.raises(ValueError, match="the page has no <a> … <b>"):
            made_between(lacking, "<a>", "<b>", "new")
