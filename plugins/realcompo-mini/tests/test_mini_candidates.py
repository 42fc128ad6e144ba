"""Several noises a picture of the mini family: what they cost in F, and that the best placed is the better picture."""

from __future__ import annotations

from typing import Any

import pytest

import realcompo as rc

PROMPT = "a blue penguin and a red heart"
LAYOUT = rc.Boxes({"penguin": (0.05, 0.3, 0.45, 0.9), "heart": (0.55, 0.3, 0.95, 0.9)})
STEPS, AT = 4, 2


def drawn(count: int, seeds: list[int], **settings: Any) -> rc.Result:
    told = None if count == 1 else {"count": count, "until": AT / STEPS}
    composer = rc.Composer("mini/fidelity", "mini/boxes", num_inference_steps=STEPS, device="cpu", candidates=told, **settings)
    pair = [PROMPT] * len(seeds), [LAYOUT] * len(seeds)
    return composer(*pair, seed=seeds, output_type="latent")


def test_what_they_cost() -> None:
    """Up to the choice N noises, one look a noise, and then one picture: counted by floating point operations, and told of each picture."""
    several, one = drawn(3, [3, 4], balancer="core/hand-over"), drawn(1, [3, 4], balancer="core/hand-over")
    kinds, plain = several.cost.by_kind(), one.cost.by_kind()
    assert kinds["predict"] == pytest.approx(plain["predict"] * (3 * AT + STEPS - AT) / STEPS, rel=0.01)
    assert 3 * 0.3 < kinds["look"] < 3 and "look" not in plain, "no more of the network than the maps need"
    assert kinds["text"] == pytest.approx(plain["text"], rel=0.01), "the text is encoded once"
    assert several.cost.sampling == pytest.approx(sum(cost.sampling for cost in several.costs) / 2)
    last = several.trace.entries[-1]
    assert last.spent == pytest.approx(several.cost.sampling)
    assert last.spent_each == pytest.approx([cost.sampling for cost in several.costs])
    spent = [entry.spent for entry in several.trace.entries]
    assert spent == sorted(spent) and spent[AT - 1] == pytest.approx(3 * one.trace.entries[AT - 1].spent, rel=0.01)
