"""The picture of the trainings' losses, from their logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from realcompo_mini.train.curves import SIZE, draw, points


def log(folder: Path, stage: str, lines: list[str]) -> Path:
    path = folder / stage / "log.txt"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_a_step_logged_twice_counts_as_it_was_logged_last(tmp_path: Path) -> None:
    path = log(
        tmp_path, "fidelity", ["10:00:00 step 25/100 loss 0.9, 1", "10:00:00 step 50/100 loss 0.7", "step 25/200 loss 0.5", "x0 error 3"]
    )
    assert points(path) == [(24, 0.5), (49, 0.7)]


def test_one_panel_a_stage_and_another_loss_another_picture(tmp_path: Path) -> None:
    rising, falling = tmp_path / "a", tmp_path / "b"
    for folder, losses in ((rising, (0.2, 0.9)), (falling, (0.9, 0.2))):
        log(folder, "boxes", [f"step {50 * (i + 1)}/100 loss {loss}" for i, loss in enumerate(losses)])
        log(folder, "fidelity", ["step 25/100 loss 0.3", "step 50/100 loss 0.2"])
        log(folder, "pose", ["not begun"])
    assert draw(rising).size == (SIZE[0], 2 * SIZE[1])  # nothing for a stage without a loss
    assert not np.array_equal(draw(rising), draw(falling))


def test_a_folder_without_logs_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        draw(tmp_path)
