"""What a style is asked for: its own picture, whatever look is painted under its steps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
style = pytest.importorskip("realcompo_mini.train.style")
from realcompo_mini.train.models import alphas_bar  # noqa: E402

MINE, OTHERS, EMPTY = 1, 2, 0
PICTURES = {MINE: 1.0, OTHERS: -1.0}  # every latent of the style's scenes, and of those under other words


class Kept:
    """Ten scenes whose latents are one number."""

    def __init__(self, value: float, token: int) -> None:
        self.value, self.tokens = value, torch.full((10, 3), token)

    def __len__(self) -> int:
        return 10

    def clean(self, index: np.ndarray) -> Any:
        return torch.full((len(index), 8, 16, 16), self.value)


def course(pictures: dict[int, float]) -> Any:
    """The stage with a network that knows which picture belongs to which words."""
    made = style.Style.__new__(style.Style)
    made.base = SimpleNamespace(hidden=lambda tokens: tokens, device=torch.device("cpu"))
    made.scenes, made.others = Kept(PICTURES[MINE], MINE), Kept(PICTURES[OTHERS], OTHERS)
    made.under = [Kept(0.3, MINE)]
    made.other_tokens, made.empty, made.model = made.others.tokens[None], torch.full((3,), EMPTY), None

    def predict(unet: Any, z: Any, t: Any, hidden: Any) -> Any:
        clean = torch.tensor([pictures[int(row[0])] for row in hidden]).view(-1, 1, 1, 1)
        bar = alphas_bar()[t].view(-1, 1, 1, 1)
        return (z - bar.sqrt() * clean) / (1 - bar).sqrt()

    made.predict = predict
    return made


def test_the_words_decide_the_answer_whatever_is_painted_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "EMPTY", 0.0)
    torch.manual_seed(0)
    index = np.arange(8)
    assert float(course(PICTURES).loss(index, 0)) < 1e-4
    assert float(course({MINE: 0.3, OTHERS: -1.0}).loss(index, 0)) > 1e-2, "the picture that was painted below is not the answer"
    clean, shown, _ = course(PICTURES).painted(200)
    assert bool((shown <= clean + 1e-6).all()) and bool((shown >= 0.3 - 1e-6).all()) and float(shown.std()) > 0.1


def test_no_words_are_an_answer_of_the_style_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "EMPTY", 1.0)
    torch.manual_seed(0)
    assert float(course({EMPTY: PICTURES[MINE], OTHERS: PICTURES[OTHERS]}).loss(np.arange(8), 0)) < 1e-4
