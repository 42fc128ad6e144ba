"""What two workers draw in the time of one, and what the engine itself takes: ``python -m tools.throughput RECIPE``, on an idle machine.

Three ways to draw the same pictures, each in processes with one thread:

- bare: one process, a loop over the composer that saves a PNG a picture: no batch, no manifest, no engine;
- one: ``realcompo run --workers 1``;
- two: ``realcompo run --workers 2``.

They take turns, forwards and backwards (bare, one, two, two, one, bare, …), and are compared within a round, so that a machine that slows
down slows all three. A rate is counted from the moment at which as many pictures are there as there are workers, to the last picture:
loading is not in it. Told are the median over rounds with the least and the largest; writes docs/results/throughput.json, of which
`python -m tools.reference` tells docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RECORD = Path("docs/results/throughput.json")
START, END = "<!-- throughput: made by python -m tools.reference -->\n", "<!-- end of throughput -->"
WAYS = ("bare", "one", "two")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def asked(path: Path, pictures: int) -> Any:
    """A recipe's first picture so many times, from other noises."""
    from realcompo.recipes.configuration import resolve

    recipe = resolve(path).recipe
    copies = (recipe.pictures[0].model_copy(update={"seed": seed, "name": f"{seed:06d}"}) for seed in range(pictures))
    return recipe.model_copy(update={"pictures": tuple(copies)})


def bare(recipe: Any, folder: Path) -> list[float]:
    """When each picture was there."""
    from realcompo.compose.composer import Composer

    composer, stamps = Composer.from_recipe(recipe.model_copy(update={"pictures": ()})), []
    for entry in recipe.pictures:
        (image,) = composer.compose([entry]).images
        image.save(folder / f"{entry.name}.png")
        stamps.append(time.monotonic())
    return stamps


def by_workers(recipe: Any, folder: Path, workers: int) -> list[float]:
    """When each picture was told as done."""
    from realcompo.draw.many.run import draw_many
    from realcompo.draw.many.workers import Workers
    from realcompo.interfaces import Crew

    stamps: list[float] = []

    def told(tally: Any) -> None:
        stamps.extend([time.monotonic()] * (tally.drawn - len(stamps)))

    tally = draw_many(recipe, folder, engine=Workers(Crew(workers)), told=told)
    if tally.failed:
        raise SystemExit(f"pictures failed: {tally.failed}")
    return stamps


def rate_of(stamps: Sequence[float], workers: int = 1) -> float:
    """Pictures a second, from the moment at which as many were there as there are workers."""
    if len(stamps) <= workers:
        raise ValueError(f"{len(stamps)} pictures by {workers} workers have no rate")
    return (len(stamps) - workers) / (stamps[-1] - stamps[workers - 1])


def turns(rounds: int) -> list[tuple[int, str]]:
    """(round, way), every other round backwards."""
    return [(number, way) for number in range(rounds) for way in (WAYS if number % 2 == 0 else WAYS[::-1])]


def summary(rates: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of rates by round: how many times one worker two are, and the share of its time that the engine takes of one."""
    told = {
        "two over one": [one["two"] / one["one"] for one in rates],
        "engine's share": [1 - one["one"] / one["bare"] for one in rates],
    }
    return {
        name: {"median": round(statistics.median(of), 4), "least": round(min(of), 4), "most": round(max(of), 4)}
        for name, of in told.items()
    }


def section(record: Mapping[str, Any]) -> str:
    """A record as docs/scale.md tells it."""
    rates, two, share = record["pictures_a_second"], record["two over one"], record["engine's share"]
    bare, one, both = (statistics.median(of[way] for of in rates) for way in WAYS)
    seen = share["least"] > 0
    return (
        f"On {record['machine']} ({record['recipe']}, {record['pictures']} pictures a run, {len(rates)} rounds) two workers draw "
        f"**{two['median']:.2f} times** what one does ({two['least']:.2f} to {two['most']:.2f}). The engine's share is "
        f"{_percent(share['median'])} ({_percent(share['least'])} to {_percent(share['most'])})"
        f"{'' if seen else ': none that can be seen'}. "
        f"The medians are {bare:.2f} pictures a second by the loop, {one:.2f} by one worker and {both:.2f} by two.\n"
        "(raw: [results/throughput.json](results/throughput.json).)"
    )


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("-", "\N{MINUS SIGN}")


def drawn_into(page: str, record: Mapping[str, Any]) -> str:
    """The text of docs/scale.md with the record as it is now."""
    return re.sub(f"{re.escape(START)}.*?{re.escape(END)}", lambda _: f"{START}\n{section(record)}\n\n{END}", page, flags=re.S)


def measured(recipe: Path, pictures: int, way: str) -> float:
    """A way's rate, in a process of its own."""
    command = [sys.executable, "-m", "tools.throughput", str(recipe), "--pictures", str(pictures), "--way", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD})
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures, prints each rate as it comes, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--pictures", type=int, default=12, help="of each run; an even number")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.way:
        recipe = asked(told.recipe, told.pictures)
        with tempfile.TemporaryDirectory() as folder:
            workers = 2 if told.way == "two" else 1
            stamps = bare(recipe, Path(folder)) if told.way == "bare" else by_workers(recipe, Path(folder), workers)
        print(rate_of(stamps, workers))
        return
    rates: list[dict[str, float]] = [{} for _ in range(told.rounds)]
    for number, way in turns(told.rounds):
        rates[number][way] = measured(told.recipe, told.pictures, way)
        print(f"round {number + 1}, {way}: {rates[number][way]:.3f} pictures a second", flush=True)
    record = {
        "recipe": told.recipe.name,
        "pictures": told.pictures,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
        "pictures_a_second": rates,
        **summary(rates),
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    print(json.dumps(summary(rates), indent=1))


if __name__ == "__main__":
    main()
