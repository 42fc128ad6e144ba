"""A thousand workers over one queue, on paper: ``python -m tools.queue_simulation`` draws a million pictures in simulated time.

Each worker takes a picture, draws it, and tells the driver, which takes one outcome after the other. Times of drawing are lognormal around
a mean; some workers are stragglers for good; workers die at a rate, lose what they were at, and are back after a while. The driver's time
for an outcome is measured here, on the manifest's own code, unless it is given.

Efficiency is what was drawn for good, in seconds of drawing, over what all workers were held for: from the start until the last outcome.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class World:
    """What is simulated.

    Attributes:
        pictures, workers: how many.
        seconds: of drawing, on average; spread: σ of its logarithm.
        driver: seconds of the driver's for an outcome.
        straggling, slower: share of workers that are slower, and how much.
        deaths: of a worker an hour; back: seconds until it is replaced, weights loaded.
        loading: seconds before a worker's first picture.
    """

    pictures: int = 1_000_000
    workers: int = 1000
    seconds: float = 5.0
    spread: float = 0.2
    driver: float = 0.0005
    straggling: float = 0.02
    slower: float = 3.0
    deaths: float = 0.02
    back: float = 120.0
    loading: float = 60.0


def simulate(world: World, seed: int = 0) -> dict[str, float]:
    """Efficiency, hours, how busy the driver is, how many died, and the seconds that the tail took after the queue was empty."""
    draw = random.Random(seed)
    pace = [world.slower if draw.random() < world.straggling else 1.0 for _ in range(world.workers)]
    dies = [draw.expovariate(world.deaths / 3600) if world.deaths else float("inf") for _ in range(world.workers)]
    events = [(world.loading, worker, 0.0) for worker in range(world.workers)]  # when, who, seconds of drawing that come back with it
    heapq.heapify(events)
    left, useful, driver, busy, died, empty, end = world.pictures, 0.0, 0.0, 0.0, 0, 0.0, 0.0
    shift = -(world.spread**2) / 2
    while events:
        now, worker, drawn = heapq.heappop(events)
        if drawn:
            driver = max(driver, now) + world.driver
            busy += world.driver
            useful += drawn / pace[worker]  # by a worker that is no straggler
            end = now = driver
        if not left:
            empty = empty or now
            continue
        left -= 1
        takes = world.seconds * draw.lognormvariate(shift, world.spread) * pace[worker]
        if now + takes > dies[worker]:
            left, died = left + 1, died + 1
            back = max(dies[worker], now) + world.back
            dies[worker] = back + draw.expovariate(world.deaths / 3600)
            heapq.heappush(events, (back, worker, 0.0))
        else:
            heapq.heappush(events, (now + takes, worker, takes))
    return {
        "efficiency": useful / (end * world.workers),
        "hours": end / 3600,
        "driver busy": busy / end,
        "died": died,
        "tail seconds": end - empty,
    }


def driver_seconds(lines: int = 20_000) -> float:
    """CPU seconds of this process for an outcome: reading it, and its line in the manifest of a folder."""
    from realcompo.draw.many.manifest import Manifest
    from realcompo.draw.many.stores import Folder
    from realcompo.interfaces import Outcome

    with tempfile.TemporaryDirectory() as folder:
        manifest = Manifest(Folder(Path(folder)), {}, {"format": "png"})
        weights = {"sd/v1-5": {"unet": "0" * 64}, "gligen/box": {"unet": "1" * 64}}
        start = time.process_time()
        for number in range(lines):
            line = {"picture": f"{number}.png", "request": "0" * 64, "state": "done", "size": 400_000, "pixels": "1" * 64}
            told = Outcome.of(json.loads(json.dumps(Outcome(number, ({**line, "weights": weights},)).plain())))
            for one in told.lines:
                manifest.add({**line, "by": manifest.by(one["weights"])})
        return (time.process_time() - start) / lines


def main() -> None:
    """The world as it is given, then what breaks it: each worse in one thing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in World().__dict__.items():
        parser.add_argument(f"--{name}", type=type(default), default=None if name == "driver" else default)
    told = vars(parser.parse_args())
    told["driver"] = told["driver"] or driver_seconds()
    world = World(**told)
    print(json.dumps(told))
    worse = {
        "as given": {},
        "ten times as many workers": {"workers": 10 * world.workers},
        "drawing ten times as fast": {"seconds": world.seconds / 10},
        "driver ten times as slow": {"driver": 10 * world.driver},
        "deaths ten times as often": {"deaths": 10 * world.deaths},
        "a tenth of the pictures": {"pictures": world.pictures // 10},
    }
    for name, change in worse.items():
        found = simulate(World(**{**told, **change}))
        print(json.dumps({"world": name, **{key: round(value, 4) for key, value in found.items()}}), flush=True)


if __name__ == "__main__":
    main()
