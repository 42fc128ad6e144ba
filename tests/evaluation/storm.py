"""Kills an evaluation of toys at chosen moments, starts it again each time, and lets the last one end.

Arguments: a folder, kills, seed, scenes.

A moment is an event of the file system below the folder (a file opened, renamed, a folder made, a part removed), or the middle of writing a
line, which leaves half of it. First the same is done undisturbed, in FOLDER/whole; then in FOLDER/killed. Prints how many were killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "testing" / "broken")]

from realcompo.compose.composer import Composer  # noqa: E402
from realcompo.evaluation import lines, run  # noqa: E402
from realcompo.testing import toy_registry, toys  # noqa: E402

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove"}
RECIPE = 'branches = {branches}\nnum_inference_steps = 2\ndevice = "cpu"\nplanner = "passing/row"\n'


class Moments:
    """Counts moments below a folder; dies at the last of so many, if there are that many."""

    def __init__(self, folder: Path, last: int | None) -> None:
        self.folder, self.last, self.count = str(folder), last, 0
        sys.addaudithook(self.seen)
        self.write = os.write
        lines.os.write = self.half  # type: ignore[attr-defined]

    def seen(self, event: str, args: tuple[Any, ...]) -> None:
        if event in EVENTS and str(args[0]).startswith(self.folder):
            self.passed()

    def passed(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def half(self, descriptor: int, data: bytes) -> int:
        if self.count + 1 == self.last:
            self.write(descriptor, data[: len(data) // 2])
        self.passed()
        return self.write(descriptor, data)


def poison() -> None:
    """A tree cannot be drawn: its text is NaN."""
    encode = toys.ToyBranch.encode

    def bad(self: Any, request: Any) -> Any:
        told = encode(self, request)
        for b, prompt in enumerate(request.prompts):
            if "tree" in prompt:
                told.mean[b, 0, 0, 0] = float("nan")
        return told

    toys.ToyBranch.encode = bad  # type: ignore[method-assign]


def evaluate(folder: Path, recipes: list[str], scenes: int) -> None:
    registry = toy_registry(EntryPoint("passing", "passing", "realcompo"))
    told = [f"count={scenes}", "noises=2", "placed=false"]
    run.evaluate("toy/scenes", recipes, folder, options=told, batch_size=3, registry=registry)


def in_a_child(folder: Path, recipes: list[str], scenes: int, last: int | None) -> tuple[int, int]:
    """The signal that ended it, or 0; and how many moments it had, if it ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        moments = Moments(folder, last)
        evaluate(folder, recipes, scenes)
        moments.write(writer, str(moments.count).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        count = told.read()
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"it ended with {os.WEXITSTATUS(status)}")
    return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0), int(count or 0)


def main(home: Path, kills: int, seed: int, scenes: int) -> None:
    recipes = []
    for name, branches in (("both", '["toy/fidelity", "toy/spatial"]'), ("alone", '["toy/fidelity"]')):
        recipes.append(str(home / f"{name}.toml"))
        Path(recipes[-1]).write_text(RECIPE.format(branches=branches))
    poison()
    Composer("toy/fidelity", "toy/spatial", registry=toy_registry(), device="cpu")  # imports, once for all children, what drawing needs
    signalled, moments = in_a_child(home / "whole", recipes, scenes, None)
    assert not signalled and moments
    draw, killed = random.Random(seed), 0
    while killed < kills:
        last = draw.randint(1, 2 * moments // (kills + 1))
        signalled, _ = in_a_child(home / "killed", recipes, scenes, last)
        if not signalled:
            break
        assert signalled == signal.SIGKILL
        killed += 1
    in_a_child(home / "killed", recipes, scenes, None)
    print(killed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
