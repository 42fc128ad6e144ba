"""Stage `curves`: the losses of all trainings in the folder as one picture, `DIR/curves.png`, read from their logs."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from realcompo.pictures.charts import Line, panel
from realcompo.pictures.drawing import PAPER, colour
from realcompo_mini.train.common import Settings

STAGES = ("autoencoder", "fidelity", "boxes", "scorer", "coloring", "cute", "tokencompose", "pose", "segmentation", "flow", "reader")
LOGGED = re.compile(r"step (\d+)/\d+ loss ([0-9.]+)")
SIZE = (860, 220)


def points(log: Path) -> list[tuple[int, float]]:
    """(step from 0, loss) of a log. A stage that went on from an earlier checkpoint wrote some steps twice: the last time counts."""
    found = {int(step) - 1: float(loss) for step, loss in LOGGED.findall(log.read_text("utf-8"))}
    return sorted(found.items())


def draw(folder: Path) -> Image.Image:
    """One panel a stage, on logarithmic axes: every stage has a loss of its own, so no two share an axis.

    Raises:
        FileNotFoundError: no stage has logged a loss in `folder`.
    """
    curves = {stage: points(folder / stage / "log.txt") for stage in STAGES if (folder / stage / "log.txt").exists()}
    curves = {stage: curve for stage, curve in curves.items() if curve}
    if not curves:
        raise FileNotFoundError(f"no log of a training in {folder}")
    sheet = Image.new("RGB", (SIZE[0], SIZE[1] * len(curves)), PAPER)
    for place, (stage, curve) in enumerate(curves.items()):
        line = Line("training loss", curve, colour(0))
        sheet.paste(panel(stage, [line], [], curve[-1][0] + 1, SIZE, logarithmic=True), (0, SIZE[1] * place))
    return sheet


def run(settings: Settings) -> None:
    """Write `DIR/curves.png`."""
    draw(settings.out).save(settings.out / "curves.png", optimize=True)
