"""What the cheaper forms are said to cost is what runs of them take, and the page says what is measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import realcompo as rc
from realcompo.files import made_between
from realcompo.registry import installed
from tests import lacking, sliced
from tools.forms import FORMS, MARKS, PAGE, Form, balanced, cost, mini, stable_diffusion, table

pytestmark = pytest.mark.skipif(bool(lacking("fidelity", "boxes")), reason=lacking("fidelity", "boxes"))
SCENE: dict[str, Any] = {
    "prompt": "a red cat and a blue dog",
    "condition": rc.Boxes({"a red cat": (0.1, 0.3, 0.45, 0.8), "a blue dog": (0.55, 0.3, 0.9, 0.8)}),
    "seed": 2,
    "output_type": "latent",
}


@pytest.fixture(scope="module")
def embedded() -> Any:
    return mini(installed())


@pytest.mark.parametrize("form", sliced([(form,) for form in FORMS], 3), ids=lambda form: form.name)
def test_the_cost_model_is_what_a_run_takes(form: Form, embedded: Any) -> None:
    """To 1%, on the mini, in eight steps: the balancer's own word of what it needs, and the pieces, against the run's count."""
    options = {**form.options, **({"threshold": 0.0} if form.balancer == "core/guided" else {})}
    asked = replace(form, options=options, steps=8)
    composer = rc.Composer(
        *({"name": name, "options": {"deep_every": form.deep}} for name in ("mini/fidelity", "mini/boxes")),
        balancer=form.balancer,
        balancer_options=options,
        guidance=form.guidance,
        probe=form.probe,
        num_inference_steps=8,
        device="cpu",
    )
    told = composer(**SCENE).cost.sampling
    assert told == pytest.approx(cost(asked, *embedded, installed()), rel=0.01)


@pytest.mark.deep
def test_the_page_says_what_is_measured(embedded: Any) -> None:
    """And how a balanced step of SD 1.5 stands against both branches' own guided steps together."""
    sd = stable_diffusion(installed())
    made = table({"mini": embedded, "SD 1.5 × GLIGEN": sd}, installed())
    page = PAGE.read_text("utf-8")
    assert made_between(page, *MARKS, made) == page, "run python -m tools.forms"
    fidelity, spatial, _ = sd
    own = 2 * (fidelity.row + spatial.row) / fidelity.row
    ratios = [balanced(fidelity, spatial, *form) / own for form in ((False, False), (True, False), (True, True))]
    assert ratios[0] <= 1.6 and ratios[1] <= 1.35 and ratios[2] <= 1.05 and ratios == sorted(ratios, reverse=True)
