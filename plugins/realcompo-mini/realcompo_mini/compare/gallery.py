"""docs/gallery.md: ten prompts, each planned once and drawn by both parents and by RealCompo from the same noise."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from realcompo_mini.compare.rows import DEFAULT, ROWS
from realcompo_mini.planner import plan_boxes

PROMPTS = (
    "a cat and a red balloon on grass",
    "a red car left of a blue car on snow",
    "three apples and a pizza on wood",
    "a purple star above a house on snow",
    "a person next to a tree on grass",
    "a green striped umbrella and a yellow fish on sand",
    "two penguins and a yellow heart on snow",
    "a rabbit on a box on grass",
    "a dog, an elephant and a blue balloon on sand",
    "four mushrooms on grass",
)
COLUMNS = ("fidelity alone", "boxes alone", DEFAULT)
SIDE = 256


def gallery(out: Path, seed: int = 0) -> str:
    """Write `out`/NN.png, each the layout and the pictures of COLUMNS side by side, and return the table in Markdown."""
    from realcompo.pictures.overlays import draw_layout
    from realcompo_mini.suite import boxes

    out.mkdir(parents=True, exist_ok=True)
    rows = {row.name: row for row in ROWS}
    conditions = [boxes(plan_boxes(prompt, seed)) for prompt in PROMPTS]
    results = [rows[name].composer()(list(PROMPTS), conditions, seed=seed) for name in COLUMNS]
    lines = [f"| | layout · {' · '.join(COLUMNS)} |", "|---|---|"]
    for index, prompt in enumerate(PROMPTS):
        plain = Image.new("RGB", (SIDE, SIDE), "white")
        tiles = [draw_layout(plain, results[-1].batch_regions.pictures[index])]
        tiles += [result.images[index].resize((SIDE, SIDE), Image.Resampling.LANCZOS) for result in results]
        strip = Image.new("RGB", (SIDE * len(tiles), SIDE))
        for place, tile in enumerate(tiles):
            strip.paste(tile, (SIDE * place, 0))
        strip.save(out / f"{index + 1:02d}.png", optimize=True)
        lines.append(f"| {prompt} | ![{prompt}: layout, {', '.join(COLUMNS)}]({out.name}/{index + 1:02d}.png) |")
    return "\n".join(lines) + "\n"
