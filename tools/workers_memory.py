"""Memory of workers that share their weights: ``python -m tools.workers_memory RECIPE [--workers 2]``, on Linux.

Draws the recipe's pictures into a temporary folder by one worker, then by several, and prints the largest sum of proportional set sizes
(/proc/PID/smaps_rollup: a page that n processes share counts 1/n in each) of the process that loaded the weights and its workers.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
from pathlib import Path
from typing import Any

from realcompo.draw.many.run import draw_many
from realcompo.draw.many.workers import Workers
from realcompo.interfaces import Crew
from realcompo.recipes.configuration import resolve


def family(process: int) -> list[int]:
    """A process and all that descend from it."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return [process, *(one for child in children for one in family(int(child)))]
    return []


def proportional(processes: list[int]) -> int:
    """KiB of all of them together."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def most(recipe: Any, workers: int) -> int:
    """KiB, at most, while so many workers draw."""
    engine, found, ended = Workers(Crew(workers)), 0, threading.Event()

    def watch() -> None:
        nonlocal found
        while not ended.wait(0.25):
            mothers = [process.pid for process, _ in engine._mothers]
            found = max(found, proportional([one for mother in mothers for one in family(mother)]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            draw_many(recipe, folder, engine=engine)
    finally:
        ended.set()
        watcher.join()
    return found


def main() -> None:
    """Prints both figures and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    told = parser.parse_args()
    recipe = resolve(told.recipe).recipe
    one, several = most(recipe, 1), most(recipe, told.workers)
    print(f"1 worker {one >> 10} MiB, {told.workers} workers {several >> 10} MiB: {several / one:.2f} times")


if __name__ == "__main__":
    main()
