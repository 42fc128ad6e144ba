"""One unconditional pass for all branches: what is blended, what runs and what it costs, beside each branch's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import realcompo as rc
from realcompo.compose.cost import OperationCount
from realcompo.interfaces import Prediction, Step
from realcompo.specs import BranchSpec, NoOptions
from realcompo.testing.sources import small_checkpoint
from realcompo.testing.toys import TOY_TRAITS, ToyBranch
from tests import lacking
from tests.toyworld import PROMPT, TWO, final_loss, toys

SHARED = {"unconditional": "shared"}


def guided(scale: float = 3.0, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The toys with guidance, whose unconditional halves differ by their spread."""
    return {"name": "toy/fidelity", "guidance_scale": scale}, {"name": "toy/spatial", "guidance_scale": scale, "options": options}


def small(spatial: Any = None, **settings: Any) -> rc.Composer:
    """Small random UNets; the spatial one has gates."""
    sd = {"name": "sd/v1-5", "source": str(small_checkpoint("sd1"))}
    gligen = {"name": "gligen/box", "source": str(small_checkpoint("gligen"))}
    settings.setdefault("num_inference_steps", 5)
    return rc.Composer(sd, gligen if spatial is None else spatial, device="cpu", height=64, width=64, **settings)


def latents(composer: rc.Composer) -> Tensor:
    return composer(PROMPT, TWO, seed=4, output_type="latent").latents


def test_the_shared_half_is_the_fidelity_branch_s() -> None:
    """By hand: ε^c = u + g·(c^c − u), u the fidelity branch's at the same z. Branches of one u draw as with their own."""
    options = {"spread": 0.9}
    composer = toys(*guided(**options), balancer="core/mean", guidance=SHARED)
    fidelity, spatial = composer.branches
    seen: list[tuple[Tensor, Step, Any]] = []
    blended: list[Tensor] = []
    half = spatial.predict_half

    def spy(z: Tensor, step: Step, conditioning: Any, which: Any, read: bool = False) -> Prediction:
        seen.append((z.clone(), step, conditioning))
        assert which == "conditional"
        return half(z, step, conditioning, which)

    spatial.predict_half = spy  # type: ignore[method-assign,assignment]
    composer(PROMPT, TWO, seed=4, output_type="latent", callback_on_step_end=lambda *a: blended.append(a[3]["latents"].clone()))
    z, step, conditioning = seen[0]
    flat = fidelity.predict_half(z, step, conditioning, "unconditional").noise  # type: ignore[attr-defined]
    placed = half(z, step, conditioning, "conditional").noise
    whole = fidelity.predict(z, step, composer_conditioning(composer)).noise
    mean = 0.5 * whole + 0.5 * (flat + 3.0 * (placed - flat))
    from realcompo.noise.diffusion import Transition

    torch.testing.assert_close(Transition.of(step)(z, mean), blended[0])
    own, shared = (latents(toys(*guided(**options), balancer="core/mean", guidance={"unconditional": how})) for how in ("own", "shared"))
    assert not torch.allclose(own, shared), "their unconditional halves differ"
    own, shared = (latents(toys(*guided(), balancer="core/mean", guidance={"unconditional": how})) for how in ("own", "shared"))
    torch.testing.assert_close(own, shared)


def composer_conditioning(composer: rc.Composer) -> Any:
    """What the fidelity branch encoded of the test's picture."""
    from realcompo.interfaces import Region, Regions, Request

    regions = Regions((tuple(Region(phrase, phrase, box=box) for phrase, box in (("a cat", (0.1, 0.1, 0.5, 0.9)),)),))
    return composer.branches[0].encode(Request((PROMPT,), ("",), regions, (None,), (64, 64), 3.0))


@pytest.mark.parametrize("kinds", [("", "-v"), ("-v", ""), ("-v", "-v")])
def test_branches_of_either_kind_share(kinds: tuple[str, str]) -> None:
    """Noise and v predictions of one world: the guided sum is the same in either kind."""
    names = [f"toy/{role}{kind}" for role, kind in zip(("fidelity", "spatial"), kinds, strict=True)]
    fidelity, spatial = ({"name": name, "guidance_scale": 3.0} for name in names)
    a = latents(toys(fidelity, spatial, balancer="core/mean", guidance=SHARED))
    torch.testing.assert_close(a, latents(toys(*guided(), balancer="core/mean")))


@pytest.mark.parametrize("count", [1, 2])
def test_one_pass_of_b_rows_for_all_and_f_says_so(count: int) -> None:
    """Rows by hooks: 2B of the first acting branch, B of the others; alone, 2B. All operations of the run to 1%."""
    others = [{"name": "gligen/box", "source": str(small_checkpoint("gligen"))}]
    others += [{"name": "layguide/sd", "source": str(small_checkpoint("sd1")), "options": {"loss_scale": 0.0}}][: count - 1]
    composer = small(others, balancer="core/mean", balancer_options={"warmup": 0.4}, guidance=SHARED)
    rows: list[tuple[int, int]] = []
    networks = {id(network): network for network in (composer.branches[0].unet, composer.branches[1].unet)}  # type: ignore[attr-defined]
    handles = [
        network.register_forward_pre_hook(lambda _, args, k=k: rows.append((k, len(args[0]))))
        for k, network in enumerate(networks.values())
    ]
    try:
        result = composer(PROMPT, TWO, seed=1)
    finally:
        for handle in handles:
            handle.remove()
    alone = [(1, 2)] if count == 1 else [(1, 2), (0, 1)]
    assert rows == [*alone * 2, *([(0, 2), (1, 1)] if count == 1 else [(0, 2), (1, 1), (0, 1)]) * 3]
    with sdpa_kernel(SDPBackend.MATH), OperationCount() as counter:
        composer(PROMPT, TWO, seed=1)
    assert result.cost.total * result.cost.unit == pytest.approx(counter.total, rel=0.01)
    assert result.cost.parts["predict sd/v1-5"] == pytest.approx(6)


def test_a_branch_that_moves_z_keeps_its_own() -> None:
    """c at the moved z is held against u at the moved z: the guided prediction is the branch's own, whatever is shared."""
    fidelity, spatial = guided(shift=0.2)
    own, shared = (latents(toys(fidelity, spatial, balancer="core/mean", guidance={"unconditional": how})) for how in ("own", "shared"))
    torch.testing.assert_close(own, shared)
    still = latents(toys(*guided(), balancer="core/mean", guidance=SHARED))
    assert not torch.allclose(shared, still), "the control: the move is felt"


def test_the_balance_still_lowers_the_loss() -> None:
    """And its control, a rate that is negated."""
    loss = {}
    for rate in (0.3, 0.0, -0.3):
        composer = toys(*guided(spread=0.9), balancer="core/balance", balancer_options={"warmup": 0.0, "rate": rate}, guidance=SHARED)
        loss[rate] = float(final_loss(composer, composer(PROMPT, TWO, seed=3, output_type="latent")).sum())
    assert loss[0.3] < loss[0.0] < loss[-0.3]


class Whole(ToyBranch):
    """A stranger's branch that gives no halves."""

    def predict(self, z: Tensor, step: Step, conditioning: Any, read: bool = False) -> Prediction:
        return Prediction(super().predict(z, step, conditioning, read).noise)


def test_a_branch_without_halves_keeps_its_own_and_check_says_so() -> None:
    spec = BranchSpec(id="stranger/whole", summary="", role="spatial", condition="boxes", traits=TOY_TRAITS, guidance_scale=3.0)
    fidelity, spatial = guided()
    composer = toys(fidelity, Whole(spec, NoOptions(), dtype=torch.float64), balancer="core/mean", guidance=SHARED)
    assert any("stranger/whole: guided by its own unconditional half" in remark for remark in composer.remarks())
    with pytest.warns(UserWarning, match="guided by its own"):
        torch.testing.assert_close(latents(composer), latents(toys(fidelity, spatial, balancer="core/mean")))
    negative = {**spatial, "negative_prompt": "fog"}
    assert any("negative prompt does nothing beside toy/fidelity" in told for told in toys(fidelity, negative, guidance=SHARED).remarks())
    assert not toys(fidelity, spatial, guidance=SHARED).remarks() and not toys(fidelity, negative).remarks(), "the controls"


@pytest.mark.skipif(bool(lacking("fidelity", "boxes")), reason=lacking("fidelity", "boxes"))
@pytest.mark.deep
def test_a_picture_keeps_whose_half_it_was(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 4, "device": "cpu", "balancer": "core/mean"}
    asked: dict[str, Any] = {
        "prompt": "a red cat and a blue dog",
        "condition": rc.Boxes({"a red cat": (0.1, 0.3, 0.45, 0.8), "a blue dog": (0.55, 0.3, 0.9, 0.8)}),
        "seed": 2,
    }
    result = rc.Composer("mini/fidelity", "mini/boxes", guidance=SHARED, **settings)(**asked)
    again = rc.reproduce(result.save(tmp_path)[0])
    assert again.same and again.result.recipe.guidance.unconditional == "shared"
    own = rc.Composer("mini/fidelity", "mini/boxes", **settings)(**asked)
    assert (
        list(own.image.get_flattened_data()) != list(result.image.get_flattened_data())
        if hasattr(own.image, "get_flattened_data")
        else True
    )
    assert own.cost.sampling / result.cost.sampling == pytest.approx(4 / 3, rel=0.01)
