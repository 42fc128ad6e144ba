"""TokenCompose's losses, against their definitions written out as loops, and where they begin and end."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
tokencompose = pytest.importorskip("realcompo_mini.train.tokencompose")

SIDE = 16


def words(masks: list[torch.Tensor], tokens: list[int], nouns: list[bool]) -> tokencompose.Grounded:
    return tokencompose.Grounded(torch.arange(len(masks)), torch.tensor(tokens), torch.stack(masks), torch.tensor(nouns))


def half(left: bool) -> torch.Tensor:
    mask = torch.zeros(SIDE, SIDE)
    mask[:, : SIDE // 2] = float(left)
    mask[:, SIDE // 2 :] = float(not left)
    return mask


@pytest.mark.parametrize("side", [4, 8, 16])
def test_losses_are_their_definitions(side: int) -> None:
    attention = torch.rand(2, side * side, 6, generator=torch.Generator().manual_seed(side)).softmax(-1)
    masks = [half(True), (torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(1)) < 0.3).float()]
    token, pixel = tokencompose.grounding_losses(attention, words(masks, [2, 5], [True, False]))
    step, expected, cross = SIDE // side, [], []
    for b, (mask, n) in enumerate(zip(masks, (2, 5), strict=True)):
        inside = total = 0.0
        for y in range(side):
            for x in range(side):
                share = float(mask[y * step : (y + 1) * step, x * step : (x + 1) * step].mean())
                a = float(attention[b, y * side + x, n])
                inside, total = inside + share * a, total + a
                if n == 2:
                    cross.append(-(share * math.log(a) + (1 - share) * math.log(1 - a)))
        expected.append((1 - inside / total) ** 2)
    assert float(token) == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert float(pixel) == pytest.approx(sum(cross) / len(cross), rel=1e-4)


def test_attention_in_the_mask_costs_nothing_outside_it_all() -> None:
    flat = half(True).flatten()
    for attention, bound in ((flat, 0.0), (1 - flat, 1.0)):
        maps = torch.stack([1 - attention, attention], -1)[None]
        token, pixel = tokencompose.grounding_losses(maps, words([half(True)], [1], [True]))
        assert float(token) == pytest.approx(bound, abs=1e-4)
        assert (float(pixel) < 0.01) == (bound == 0)


def test_the_gradient_moves_attention_into_the_mask() -> None:
    scores = torch.zeros(1, SIDE * SIDE, 3, requires_grad=True)
    token, _ = tokencompose.grounding_losses(scores.softmax(-1), words([half(True)], [1], [True]))
    token.backward()
    grad = scores.grad[0, :, 1].view(SIDE, SIDE)
    assert (grad[:, : SIDE // 2] < 0).all() and (grad[:, SIDE // 2 :] > 0).all()
