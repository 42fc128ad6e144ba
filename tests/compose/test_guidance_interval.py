"""Guidance in an interval of noise levels: all levels are as no interval, outside it no unconditional half runs, and both are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import realcompo as rc
from realcompo.compose.cost import OperationCount
from realcompo.errors import BadRecipe
from realcompo.interfaces import Prediction, Step
from realcompo.specs import BranchSpec, NoOptions
from realcompo.testing.sources import small_checkpoint
from realcompo.testing.toys import TOY_TRAITS, ToyBranch
from tests import lacking
from tests.toyworld import PROMPT, TWO, final_loss, toys

WIDE = (0.0, 1e6)
MIDDLE = (0.5, 4.0)
NOWHERE = (1e5, 1e6)


def guided(scale: float = 3.0, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The toys with guidance."""
    return {"name": "toy/fidelity", "guidance_scale": scale}, {"name": "toy/spatial", "guidance_scale": scale, **more}


def small(**settings: Any) -> rc.Composer:
    """Small random UNets; the spatial one has gates."""
    settings.setdefault("num_inference_steps", 5)
    return rc.Composer(
        {"name": "sd/v1-5", "source": str(small_checkpoint("sd1"))},
        {"name": "gligen/box", "source": str(small_checkpoint("gligen"))},
        device="cpu",
        height=64,
        width=64,
        **settings,
    )


def latents(composer: rc.Composer, **more: Any) -> Tensor:
    return composer(PROMPT, TWO, seed=4, output_type="latent", **more).latents


@pytest.mark.parametrize("balancer", ["core/guided", "core/balance", "core/mean"])
def test_an_interval_of_all_levels_is_no_interval(balancer: str) -> None:
    """To the bit; one of no levels is the run without guidance, and one between them neither."""
    fidelity, spatial = guided()
    every, none = (latents(toys(fidelity, spatial, balancer=balancer, guidance={"interval": wide})) for wide in (WIDE, None))
    assert torch.equal(every, none)
    with pytest.warns(UserWarning, match="guidance acts at no step"):
        nowhere = latents(toys(fidelity, spatial, balancer=balancer, guidance={"interval": NOWHERE}))
    unguided = latents(toys(*guided(1.0), balancer=balancer))
    torch.testing.assert_close(nowhere, unguided)
    middle = latents(toys(fidelity, spatial, balancer=balancer, guidance={"interval": MIDDLE}))
    assert not torch.allclose(middle, every) and not torch.allclose(middle, unguided)


@pytest.mark.parametrize("steps", [8, 20, 50])
def test_the_interval_means_the_same_levels_at_any_number_of_steps(steps: int) -> None:
    """σ = √((1 − ᾱ)/ᾱ), low < σ ≤ high, whatever the scheduler makes of the steps."""
    for scheduler in ("ddim", "dpm++-2m-karras"):
        seen: dict[float, bool] = {}
        composer = toys(*guided(), balancer="core/mean", num_inference_steps=steps, scheduler=scheduler, guidance={"interval": MIDDLE})
        branch = composer.branches[0]
        whole, half = branch.predict, branch.predict_half

        def asked(z: Tensor, step: Step, conditioning: Any, read: bool = False, told: Any = whole, seen: Any = seen) -> Prediction:
            seen[step.sigma] = True
            return told(z, step, conditioning, read)

        def alone(z: Tensor, step: Step, conditioning: Any, which: Any, told: Any = half, seen: Any = seen) -> Prediction:
            assert which == "conditional"
            seen[step.sigma] = False
            return told(z, step, conditioning, which)

        branch.predict, branch.predict_half = asked, alone  # type: ignore[method-assign,assignment]
        latents(composer)
        assert len(seen) == steps and set(seen.values()) == {True, False}
        assert all(acts == (MIDDLE[0] < sigma <= MIDDLE[1]) for sigma, acts in seen.items())


def test_outside_the_interval_the_batch_is_not_doubled_and_f_says_so() -> None:
    """Rows of the networks by hooks, and all operations of the run to 1%."""
    composer = small(balancer="core/mean", guidance={"interval": MIDDLE})
    rows: dict[str, list[int]] = {}
    handles = [
        branch.unet.register_forward_pre_hook(  # type: ignore[attr-defined]
            lambda _, args, name=name: rows.setdefault(name, []).append(len(args[0]))
        )
        for name, branch in zip(("fidelity", "spatial"), composer.branches, strict=True)
    ]
    try:
        result = composer([PROMPT] * 2, [TWO] * 2, seed=1)
    finally:
        for handle in handles:
            handle.remove()
    inside = [MIDDLE[0] < entry.step.sigma <= MIDDLE[1] for entry in result.trace.entries]
    assert 0 < sum(inside) < 5
    assert rows["fidelity"] == rows["spatial"] == [4 if acts else 2 for acts in inside]
    assert result.cost.parts["predict sd/v1-5"] == pytest.approx(5 + sum(inside))
    with sdpa_kernel(SDPBackend.MATH), OperationCount() as counter:
        composer([PROMPT] * 2, [TWO] * 2, seed=1)
    assert result.cost.total * result.cost.unit * 2 == pytest.approx(counter.total, rel=0.01)


def test_the_network_alone_is_what_guidance_one_draws() -> None:
    """The paired exact form of the real branches: without guidance at all."""
    with pytest.warns(UserWarning, match="guidance acts at no step"):
        nowhere = latents(small(balancer="core/mean", guidance={"interval": NOWHERE}))
    plain = latents(small(balancer="core/mean"), guidance_scale=1.0)
    torch.testing.assert_close(nowhere, plain, atol=1e-5, rtol=1e-5)
    assert float((latents(small(balancer="core/mean")) - plain).abs().max()) > 1e-2, "the control: guidance does something"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_balance_still_lowers_the_loss(count: int) -> None:
    """Any number of branches; and its control, a rate that is negated."""
    fidelity, spatial = guided()
    others = [spatial, {**spatial, "name": "toy/spatial-v"}][:count]
    loss = {}
    for rate in (0.3, 0.0, -0.3):
        options = {"warmup": 0.0, "rate": rate}
        composer = toys(fidelity, others, balancer="core/balance", balancer_options=options, guidance={"interval": MIDDLE})
        loss[rate] = float(final_loss(composer, composer(PROMPT, TWO if count else None, seed=3, output_type="latent")).sum())
    assert loss[0.3] < loss[0.0] < loss[-0.3] if count else loss[0.3] == loss[-0.3]


class Whole(ToyBranch):
    """A stranger's branch as they were before halves: it changes `predict`, and nothing else is known of it."""

    def predict(self, z: Tensor, step: Step, conditioning: Any, read: bool = False) -> Prediction:
        return super().predict(z, step, conditioning, read)


def test_a_branch_that_gives_no_halves_is_guided_all_along_and_check_says_so() -> None:
    spec = BranchSpec(id="stranger/whole", summary="", role="spatial", condition="boxes", traits=TOY_TRAITS, guidance_scale=3.0)
    fidelity, _ = guided()
    composer = toys(fidelity, Whole(spec, NoOptions(), dtype=torch.float64), balancer="core/mean", guidance={"interval": NOWHERE})
    said = [remark for remark in composer.remarks() if "stranger/whole: guided at every noise level" in remark]
    assert len(said) == 1 and "toy/fidelity" not in said[0]
    with pytest.warns(UserWarning, match="stranger/whole: guided at every noise level"):
        kept = latents(composer)
    torch.testing.assert_close(kept, latents(toys({**fidelity, "guidance_scale": 1.0}, guided()[1], balancer="core/mean")))
    assert not toys(fidelity, "toy/spatial", guidance={"interval": WIDE}).remarks(), "the control: nothing to say"


@pytest.mark.skipif(bool(lacking("fidelity", "boxes")), reason=lacking("fidelity", "boxes"))
@pytest.mark.deep
def test_a_picture_keeps_its_interval(tmp_path: Path) -> None:
    """`reproduce` draws the same pixels; without the interval they would be others."""
    result = rc.Composer("mini/fidelity", "mini/boxes", num_inference_steps=4, device="cpu", guidance={"interval": (0.3, 3.0)})(
        "a red cat and a blue dog", rc.Boxes({"a red cat": (0.1, 0.3, 0.45, 0.8), "a blue dog": (0.55, 0.3, 0.9, 0.8)}), seed=2
    )
    again = rc.reproduce(result.save(tmp_path)[0])
    assert again.same and again.result.recipe.guidance.interval == (0.3, 3.0)
    assert again.result.cost.by_kind()["predict"] == pytest.approx(6, rel=0.01), "two of four steps are guided"


@pytest.mark.parametrize("wrong", [(3.0, 1.0), (-1.0, 2.0), (1.0, 1.0)])
def test_an_interval_that_is_none_is_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(BadRecipe, match=r"interval.*0 ≤ low < high"):
        toys(guidance={"interval": wrong})
