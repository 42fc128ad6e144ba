"""Stable Diffusion and GLIGEN as one composition, on small random checkpoints: costs counted by hooks, batches, offload, precisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import realcompo as rc
from realcompo.errors import Incompatible
from realcompo.recipes.recipe import BranchEntry
from realcompo.testing.checkpoints import save_checkpoint

CAT = {"a cat": (0.1, 0.2, 0.5, 0.9)}
BOTH = {"a cat": (0.1, 0.2, 0.5, 0.9), "a dog": (0.5, 0.1, 0.9, 0.8)}
NO_PREVIEW = {"output_type": "latent", "height": 64, "width": 64}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pair")
    families: dict[str, Any] = {"sd/v1-5": "sd1", "gligen/box": "gligen", "sd/v2-1": "sd2-v"}
    return {id: save_checkpoint(root / family, family, seed=i) for i, (id, family) in enumerate(families.items())}


def pair(folders: dict[str, Path], **settings: Any) -> rc.Composer:
    entries = [
        BranchEntry(name=id, source=str(folders[id]), guidance_scale=scale, options={"map_divisor": 2})
        for id, scale in (("sd/v1-5", 4.0), ("gligen/box", 2.0))
    ]
    settings.setdefault("balancer", "core/balance")
    return rc.Composer(*entries, device=settings.pop("device", "cpu"), num_inference_steps=10, **settings)


def test_costs_counted_by_hooks(folders: dict[str, Path]) -> None:
    composer = pair(folders, balancer="core/paper")
    rows: dict[str, list[int]] = {"fidelity": [], "spatial": []}
    late: list[str] = []
    probing = [False]
    handles = []
    for name, branch in zip(rows, composer.branches, strict=True):
        unet: Any = branch.unet  # type: ignore[attr-defined]

        def saw(module: Any, args: Any, kwargs: Any, _name: str = name) -> None:
            rows[_name].append(-len(args[0]) if probing[0] else len(args[0]))

        handles.append(unet.register_forward_pre_hook(saw, with_kwargs=True))
        handles.append(unet.conv_out.register_forward_hook(lambda *_: late.append("conv_out") if probing[0] else None))
        attend = branch.attend

        def probed(*args: Any, _attend: Any = attend) -> Any:
            probing[0] = True
            try:
                return _attend(*args)
            finally:
                probing[0] = False

        branch.attend = probed  # type: ignore[method-assign]
    try:
        trace = composer("a cat and a dog", rc.Boxes(BOTH), seed=0, **NO_PREVIEW).trace
    finally:
        for handle in handles:
            handle.remove()
        for branch in composer.branches:
            del branch.attend
    s, w = 10, 4
    assert rows["fidelity"] == [n for _ in range(s - w) for n in (2, -1)]  # guided: 2 rows; probe: the conditional row
    assert rows["spatial"] == [2] * w + [n for _ in range(s - w) for n in (2, -1)]
    assert late == [] and trace.probe_calls == 2 * (s - w) and trace.predict_calls == w + 2 * (s - w)


def test_a_batch_of_one_to_two_regions_equals_its_pictures_alone(folders: dict[str, Path]) -> None:
    composer = pair(folders, balancer_options={"rate": 0.3})
    prompts, layouts = ["a cat", "a cat and a dog"], [rc.Boxes(CAT), rc.Boxes(BOTH)]
    together = composer(prompts, layouts, seed=[1, 2], **NO_PREVIEW).latents
    for b in range(2):
        alone = composer(prompts[b], layouts[b], seed=b + 1, **NO_PREVIEW).latents[0]
        assert (together[b] - alone).abs().max() < 1e-4 * together[b].abs().max()


@pytest.mark.deep
def test_boxes_prompts_rates_and_weights_all_move_the_latents(folders: dict[str, Path]) -> None:
    def draw(prompt: str = "a cat and a dog", boxes: Any = BOTH, rate: float = 0.5, **options: Any) -> torch.Tensor:
        composer = pair(folders, balancer_options={"rate": rate, **options})
        return composer(prompt, rc.Boxes(boxes), seed=0, **NO_PREVIEW).latents

    base = draw()
    moved = dict(zip(BOTH, reversed(list(BOTH.values())), strict=True))
    for other in (draw(prompt="a cat and a dog on grass"), draw(boxes=moved), draw(rate=-0.5), draw(inside=(0.9, 0.1))):
        assert (other - base).abs().max() > 1e-3 * base.abs().max()


@pytest.mark.deep
def test_offload_draws_the_same_and_leaves_networks_on_the_cpu(folders: dict[str, Path]) -> None:
    plain, offloaded = pair(folders), pair(folders, offload=True)
    latents = [c("a cat", rc.Boxes(CAT), seed=0, **NO_PREVIEW).latents for c in (plain, offloaded)]
    assert torch.equal(*latents)
    assert all(branch.device.type == "cpu" for branch in offloaded.branches)


def test_v_prediction_beside_noise_prediction(folders: dict[str, Path]) -> None:
    fidelity = BranchEntry(name="sd/v2-1", source=str(folders["sd/v2-1"]), options={"map_divisor": 2})
    spatial = BranchEntry(name="gligen/box", source=str(folders["gligen/box"]), options={"map_divisor": 2})
    composer = rc.Composer(fidelity, spatial, balancer="core/balance", device="cpu", num_inference_steps=4)
    result = composer("a cat", rc.Boxes(CAT), seed=0, **NO_PREVIEW)
    assert torch.isfinite(result.latents).all() and result.trace.losses


def test_latent_spaces_that_differ_are_refused_before_weights(folders: dict[str, Path]) -> None:
    from realcompo.testing.toys import toy_registry

    toy = toy_registry().branch("toy/spatial")
    with pytest.raises(Incompatible, match="cannot compose 'sd/v1-5' with 'toy/spatial': latent spaces differ"):
        rc.Composer(BranchEntry(name="sd/v1-5", source=str(folders["sd/v1-5"])), toy, device="cpu")


@pytest.mark.parametrize("dtype,tolerance", [("float16", 0.1), ("bfloat16", 0.3)])
def test_half_precision_on_cuda(folders: dict[str, Path], dtype: str, tolerance: float) -> None:
    """The same picture as float32 within a share of the latents' size."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: fp16 and bf16 are checked on a GPU only")
    whole = pair(folders, device="cuda")("a cat and a dog", rc.Boxes(BOTH), seed=0, **NO_PREVIEW).latents
    half = pair(folders, device="cuda", dtype=dtype)("a cat and a dog", rc.Boxes(BOTH), seed=0, **NO_PREVIEW)
    assert torch.isfinite(half.latents).all() and half.trace.losses
    assert (half.latents - whole).abs().mean() < tolerance * whole.abs().mean()


@pytest.mark.deep
def test_bfloat16_on_the_cpu_stays_near_float32(folders: dict[str, Path]) -> None:
    whole = pair(folders)("a cat and a dog", rc.Boxes(BOTH), seed=0, **NO_PREVIEW).latents
    half = pair(folders, dtype="bfloat16")("a cat and a dog", rc.Boxes(BOTH), seed=0, **NO_PREVIEW)
    assert torch.isfinite(half.latents).all() and half.latents.dtype == torch.float32
    assert (half.latents - whole).abs().mean() < 0.3 * whole.abs().mean()
