"""Draws a batch of toys with two workers, alone in its process group: what test_many_storm.py kills. Arguments: a folder, a format,
"ray" where Ray is to draw, and the address of the cluster that it is to join."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from realcompo.draw.many.engines import engine_of  # noqa: E402
from realcompo.draw.many.run import draw_many  # noqa: E402
from realcompo.interfaces import Crew  # noqa: E402
from realcompo.recipes.recipe import PictureEntry, Recipe  # noqa: E402

PICTURES = 240


def recipe() -> Recipe:
    pictures = tuple(PictureEntry(prompt=f"a dog, take {number}") for number in range(PICTURES))
    return Recipe(branches=("toy/fidelity",), num_inference_steps=20, device="cpu", pictures=pictures)  # type: ignore[arg-type]


def main(folder: str, format: Any, on: str | None = None, address: str | None = None) -> None:
    engine = engine_of(on, Crew(2, address=address), "cpu")
    draw_many(recipe(), folder, engine=engine, registry="realcompo.testing:toy_registry", format=format, shard_size=32)


if __name__ == "__main__":
    main(*sys.argv[1:])
