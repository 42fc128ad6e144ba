"""What planning, the manifest and writing cost, by the number of pictures: ``python -m tools.linear`` draws batches of 1,000 to 100,000
pictures by a toy, whose own drawing is next to nothing, and writes docs/results/linear.jsonl and the figure of docs/scale.md.

Each batch is drawn in a process of its own, then asked for once more, when all is there. User CPU seconds are of that process; they hardly
depend on what else the machine does, as the time on a clock would.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RECORD = Path("docs/results/linear.jsonl")
FIGURE = RECORD.with_suffix(".svg")
COUNTS = (1_000, 10_000, 30_000, 100_000)
TOGETHER = 50
"""Pictures that the toy draws at once: its loop is not what is measured."""
NOISES = 10
"""Pictures of one prompt: names have to be told apart, as in a suite."""

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 400, 70, 60
SERIES = {"drawn": ("#1b6ca8", "drawn, planning, manifest and writing"), "again": ("#c8553d", "asked for again, all is there")}


def batch(pictures: int) -> Any:
    """The recipe of a batch."""
    from realcompo.recipes.recipe import PictureEntry, Recipe

    asked = tuple(PictureEntry(prompt=f"a dog, take {number // NOISES}", seed=number) for number in range(pictures))
    told: dict[str, Any] = {"num_inference_steps": 1, "device": "cpu", "scheduler_options": {"timestep_spacing": "trailing"}}
    return Recipe(branches=("toy/fidelity",), pictures=asked, **told)  # type: ignore[arg-type]


def drawn(pictures: int, folder: Path) -> str:
    """Draw a batch, or what is left of it. What came of it, in words."""
    from realcompo.draw.many.run import draw_many

    return str(draw_many(batch(pictures), folder, batch_size=TOGETHER, registry="realcompo.testing:toy_registry"))


def measured(pictures: int) -> dict[str, Any]:
    """User CPU seconds of drawing a batch and of asking for it again, and the bytes that are there."""
    with tempfile.TemporaryDirectory() as name:
        drawn(TOGETHER, Path(name))  # imports, and what is made once
    found: dict[str, Any] = {"pictures": pictures}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what in SERIES:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            said = drawn(pictures, folder)
            found[what] = {"user_seconds": round(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before, 3), "said": said}
        found["manifest_bytes"] = (folder / "manifest.jsonl").stat().st_size
        found["picture_bytes"] = sum(path.stat().st_size for path in folder.glob("*.png"))
    found["peak_MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return found


def read() -> list[dict[str, Any]]:
    """The record, by number of pictures."""
    return [json.loads(line) for line in RECORD.read_text("utf-8").splitlines()]


def figure(rows: list[dict[str, Any]]) -> str:
    """Seconds against pictures, both from 0: what is linear is a straight line. The dotted one goes through 0 and the last point.

    A text, not one of `realcompo.pictures.charts`, which draws the steps of a run in pixels: the edges of its letters are those of the
    Pillow that is installed, and a test holds the whole figure against the record.
    """
    across = max(row["pictures"] for row in rows)
    up = max(row[what]["user_seconds"] for row in rows for what in SERIES) * 1.1

    def at(pictures: float, seconds: float) -> str:
        x, y = LEFT + (WIDTH - LEFT - 30) * pictures / across, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 20) * seconds / up
        return f"{x:.1f},{y:.1f}"

    def text(where: str, said: str, anchor: str, dx: int = 0, dy: int = 0, colour: str = "#222222") -> str:
        x, y = map(float, where.split(","))
        return f'<text x="{x + dx:.1f}" y="{y + dy:.1f}" text-anchor="{anchor}" fill="{colour}">{said}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<polyline points="{at(0, up)} {at(0, 0)} {at(across, 0)}" fill="none" stroke="#222222"/>',
    ]
    for tick in range(1, 6):
        parts.append(text(at(across * tick / 5, 0), f"{across * tick // 5:,}", "middle", dy=18))
        parts.append(text(at(0, up * tick / 5), f"{up * tick / 5:.0f}", "end", dx=-6, dy=4))
    parts.append(text(at(across / 2, 0), "pictures", "middle", dy=42))
    parts.append(text(at(0, up), "user CPU seconds", "start", dx=8, dy=4))
    for row, (what, (colour, title)) in enumerate(SERIES.items()):
        points = [(one["pictures"], one[what]["user_seconds"]) for one in rows]
        parts.append(f'<path d="M{at(0, 0)} L{at(*points[-1])}" stroke="{colour}" stroke-dasharray="2 4"/>')
        parts.append(f'<polyline points="{" ".join(at(*one) for one in points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>' for x, y in (at(*one).split(",") for one in points)]
        parts.append(text(at(0, up), title, "start", dx=8, dy=26 + 18 * row, colour=colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Measures what the record lacks (all of it with --anew), then draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="measure what is recorded again")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.one:
        print(json.dumps(measured(told.one)))
        return
    rows = {row["pictures"]: row for row in (read() if RECORD.exists() and not told.anew else [])}
    for pictures in COUNTS:
        if pictures not in rows:
            command = [sys.executable, "-m", "tools.linear", "--one", str(pictures)]
            rows[pictures] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
            RECORD.write_text("".join(f"{json.dumps(rows[known])}\n" for known in sorted(rows)), "utf-8")
        print(json.dumps(rows[pictures]), flush=True)
    FIGURE.write_text(figure(read()), "utf-8")


if __name__ == "__main__":
    main()
