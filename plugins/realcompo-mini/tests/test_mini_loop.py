"""The shared loop: it trains what a plain loop trains, goes on where it stopped, and keeps only what changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
loop = pytest.importorskip("realcompo_mini.train.loop")
from realcompo_mini.train.common import Settings, cosine  # noqa: E402
from realcompo_mini.train.data import batches  # noqa: E402

DATA = torch.randn(64, 5, generator=torch.Generator().manual_seed(3))
TARGET = DATA @ torch.randn(5, 2, generator=torch.Generator().manual_seed(4))


class Line(loop.Course):  # type: ignore[misc,name-defined]
    name, total, batch, peak, check, decay = "line", 30, 8, 1e-2, 10, 0.9

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 2))
        self.model[0].requires_grad_(False)
        self.count, self.sheets, self.done = 64, 0, False

    def loss(self, index: np.ndarray, step: int) -> Any:
        assert (np.diff(index) > 0).all()
        return (self.model(DATA[index]) - TARGET[index]).square().mean()

    def checked(self) -> str:
        return f"error {float((self.model(DATA) - TARGET).square().mean()):.4f}"

    def drawn(self, average: Any) -> np.ndarray:
        self.sheets += 1
        return np.zeros((3, 8, 8, 3), np.uint8)

    def finished(self, average: Any) -> None:
        self.done = True


def test_it_does_what_a_plain_loop_does(tmp_path: Path) -> None:
    course = Line()
    assert loop.run(course, Settings(tmp_path)) and course.done and course.sheets == 1
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 2))
    model[0].requires_grad_(False)
    optimizer = torch.optim.AdamW(model[1].parameters(), lr=1.0, weight_decay=0.01, betas=(0.9, 0.99))
    order = batches(64, 8, 0)
    for step in range(30):
        index = np.sort(next(order))
        optimizer.param_groups[0]["lr"] = cosine(step, 30, 1e-2)
        loss = (model(DATA[index]) - TARGET[index]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model[1].parameters(), 1.0)
        optimizer.step()
    for ours, theirs in zip(course.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert "error" in (tmp_path / "line" / "log.txt").read_text() and (tmp_path / "line" / "sheet-000030.png").exists()


def test_stopped_at_every_step_it_ends_at_the_same_weights(tmp_path: Path) -> None:
    whole = Line()
    loop.run(whole, Settings(tmp_path / "whole"))
    stops = 0
    while True:
        part = Line()
        if loop.run(part, Settings(tmp_path / "parts", minutes=0)):
            break
        stops += 1
    assert stops == 29
    for ours, theirs in zip(part.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    again = Line()
    assert loop.run(again, Settings(tmp_path / "parts")) and not again.done, "a finished stage returns at once"


def test_a_checkpoint_holds_what_changes_and_fits_its_network_only(tmp_path: Path) -> None:
    loop.run(Line(), Settings(tmp_path, steps=2))
    state = torch.load(tmp_path / "line" / "checkpoint.pt", weights_only=True)
    assert set(state["model"]) == set(state["average"]) == {"1.weight", "1.bias"} and state["step"] == 2
    other = Line()
    other.model.add_module("more", torch.nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="of another network"):
        loop.run(other, Settings(tmp_path, steps=4))
