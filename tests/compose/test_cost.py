"""What a run costs: the sum of what is told is what torch counts of the whole run, and each kind of step costs what it should."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import realcompo as rc
from realcompo.compose.cost import OperationCount
from realcompo.testing.sources import small_checkpoint
from tests import sliced
from tests.toyworld import PROMPT, TWO, toys


def composer(balancer: str, options: Mapping[str, Any] = {}, spatial_options: Mapping[str, Any] = {}, **more: Any) -> rc.Composer:
    return rc.Composer(
        {"name": "sd/v1-5", "source": str(small_checkpoint("sd1"))},
        {"name": "gligen/box", "source": str(small_checkpoint("gligen")), "options": dict(spatial_options)},
        balancer=balancer,
        balancer_options=options,
        num_inference_steps=5,
        device="cpu",
        height=64,
        width=64,
        **more,
    )


@pytest.mark.parametrize(
    ("balancer", "pictures"), sliced([("core/guided", 1), ("core/paper", 1), ("core/guided", 2), ("core/paper", 2)], 3)
)
def test_what_is_told_is_what_the_whole_run_takes(balancer: str, pictures: int) -> None:
    """Counted once a kind of call and taken for the same afterwards, against every operation of the run under math attention."""
    made = composer(balancer, {"plant": 0.2, "until": 0.6, "threshold": 0.0} if balancer == "core/guided" else {})  # five steps
    prompts, layouts = [PROMPT] * pictures, [TWO] * pictures
    told = made(prompts, layouts, seed=1).cost
    with sdpa_kernel(SDPBackend.MATH), OperationCount() as counter:
        made(prompts, layouts, seed=1)
    assert told.total * told.unit * pictures == pytest.approx(counter.total, rel=0.01)
    assert set(told.by_kind()) == {"text", "predict", "decode", "move" if balancer == "core/guided" else "probe"}
    assert told.sampling == pytest.approx(told.total - told.parts["text"] - told.parts["decode"])


def test_one_f_is_one_row_of_the_fidelity_network() -> None:
    told = composer("core/hand-over", {"share": 0.4})(PROMPT, TWO, seed=1).cost
    assert told.parts["predict sd/v1-5"] == pytest.approx(6)  # three steps of two rows
    assert told.parts["predict gligen/box"] > 4.5, "its two steps of two rows, and the fusers"
    spatial = composer("core/fixed", {"spatial": 1.0})(PROMPT, TWO, seed=1).cost
    assert spatial.parts["predict gligen/box"] == pytest.approx(10), "where the fidelity network draws nothing, the other is the unit"


def test_what_a_branch_does_at_some_steps_only_is_counted_so() -> None:
    """GLIGEN's fusers see boxes in the first steps, as its option says."""
    all_along = composer("core/fixed", {"spatial": 0.5})(PROMPT, TWO, seed=1).cost.parts["predict gligen/box"]
    part = composer("core/fixed", {"spatial": 0.5}, {"grounding_share": 0.4})(PROMPT, TWO, seed=1).cost.parts["predict gligen/box"]
    none = composer("core/fixed", {"spatial": 0.5}, {"grounding_share": 0.0})(PROMPT, TWO, seed=1).cost.parts["predict gligen/box"]
    assert part == pytest.approx(0.4 * all_along + 0.6 * none, rel=1e-6) and none < all_along


def test_a_move_costs_a_part_of_a_pass_each_way() -> None:
    made = composer("core/guided", {"plant": 0.2, "until": 0.8, "moves": 6, "threshold": 0.0})
    told = made(PROMPT, TWO, seed=1)
    moves = told.cost.parts["move sd/v1-5"]
    assert told.trace.move_calls == 6 and 6 * 0.5 < moves < 6 * 2.5
    fewer = composer("core/guided", {"plant": 0.2, "until": 0.8, "moves": 3, "threshold": 0.0})(PROMPT, TWO, seed=1)
    assert fewer.cost.parts["move sd/v1-5"] == pytest.approx(moves / 2)


@pytest.mark.deep
def test_a_picture_that_stands_early_costs_less_and_its_maps_next_to_nothing() -> None:
    """By core/feedback, which ends here after two of three steps with moves; the control is the default, which makes all of them."""
    share = {"plant": (0.2, 0.2), "until": 0.8, "moves": 6, "stands": (0.0, 0.0), "still": 1.0}
    told = composer("core/feedback", share)(PROMPT, TWO, seed=1).cost
    whole = composer("core/guided", {"plant": 0.2, "until": 0.8, "moves": 6, "threshold": 0.0})(PROMPT, TWO, seed=1).cost
    assert told.parts["move sd/v1-5"] == pytest.approx(whole.parts["move sd/v1-5"] * 4 / 6)
    for part in ("predict sd/v1-5", "predict gligen/box"):
        assert told.parts[part] == pytest.approx(whole.parts[part], rel=0.02), part


def test_a_branch_that_does_not_say_what_it_does_is_counted_each_time() -> None:
    """The toys compute no product at all: nothing is counted, and nothing fails."""
    result = toys(balancer="core/guided")(PROMPT, TWO, seed=1)
    assert result.cost.sampling == 0 and set(result.cost.by_kind()) == {"text", "predict", "move", "decode"}


@pytest.mark.deep
def test_counting_changes_no_number(tmp_path: Path) -> None:
    made = composer("core/guided")
    first = made(PROMPT, TWO, seed=1, output_type="latent").latents
    assert torch.equal(first, made(PROMPT, TWO, seed=1, output_type="latent").latents)
    result = made(PROMPT, TWO, seed=1)
    assert result.trace.cost is result.cost


@pytest.mark.deep
def test_a_compiled_network_is_compiled_though_its_first_call_is_counted() -> None:
    """Guards what torch does silently: code that it first meets under a counter it never compiles. The cost is the plain network's."""
    made, compiled = (composer("core/hand-over", {"share": 0.4}) for _ in range(2))
    plain = made(PROMPT, TWO, seed=1)
    traced: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        traced.append(len(inputs))
        return graph.forward

    network: Any = compiled.branches[0].unet  # type: ignore[attr-defined]
    network.compile(backend=backend)
    try:
        result = compiled(PROMPT, TWO, seed=1)
    finally:
        network._compiled_call_impl = None  # it is shared
        torch.compiler.reset()
    assert traced, "the run was eager"
    assert result.cost.parts == pytest.approx(plain.cost.parts) and result.cost.unit == plain.cost.unit
    torch.testing.assert_close(result.latents, plain.latents, atol=1e-4, rtol=1e-3)


def test_counting_imports_no_compiler() -> None:
    """Seconds at the first picture of every process, and a cache folder that nobody asked for."""
    code = (
        "import sys, torch; from realcompo.compose.cost import OperationCount\n"
        "with OperationCount() as counter: torch.ones(2, 2) @ torch.ones(2, 2)\n"
        "print(counter.total, 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["16", "False"]
