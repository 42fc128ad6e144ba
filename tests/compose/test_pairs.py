"""Every registered fidelity × spatial pair, walked from what is installed: it composes on small checkpoints, or is refused by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.compose.composer import Composer
from realcompo.errors import Incompatible
from realcompo.recipes.recipe import BranchEntry, read_condition
from realcompo.registry import installed
from realcompo.specs import BranchSpec
from realcompo.testing import small_source
from realcompo.testing.common import SAMPLE
from tests import holds_weights


def of_role(role: str) -> list[str]:
    registry = installed()
    return [id for id in registry.branches if registry.find(BranchSpec, id).role in (role, None)]


PAIRS = [(fidelity, spatial) for fidelity in of_role("fidelity") for spatial in of_role("spatial") if fidelity != spatial]


def walked() -> list[Any]:
    """All pairs: an eleventh of them in every run, in which each branch of either role has its turns, the others in the long one."""
    rows = {id: index for index, id in enumerate(of_role("fidelity"))}
    columns = {id: index for index, id in enumerate(of_role("spatial"))}
    return [
        pytest.param(fidelity, spatial, marks=[] if (rows[fidelity] + columns[spatial]) % 11 == 0 else pytest.mark.deep)
        for fidelity, spatial in PAIRS
    ]


def entry(id: str) -> BranchEntry:
    """With the small checkpoint that stands for its own; a LookupError says how to give one."""
    return BranchEntry(name=id, source=small_source(installed().find(BranchSpec, id)))


def brings_its_weights(id: str) -> bool:
    """False where a branch says that its weights lie in its package, and they do not (a checkout before training)."""
    spec = installed().find(BranchSpec, id)
    named = [text for text in (spec.source, spec.defaults.get("lora")) if text and text.startswith("package://")]
    places = [text.removeprefix("package://").partition("/")[::2] for text in named]
    return all(holds_weights(Path(str(resources.files(package))) / path) for package, path in places)


def test_no_plugin_is_broken() -> None:
    assert [str(problem) for problem in installed().problems] == []


@pytest.mark.parametrize(("fidelity", "spatial"), walked(), ids=lambda value: str(value))
def test_pair_composes_or_is_refused_by_name(fidelity: str, spatial: str) -> None:
    spec = installed().find(BranchSpec, spatial)
    sample = spec.sample or SAMPLE
    missing = [id for id in (fidelity, spatial) if not brings_its_weights(id)]
    kind = spec.condition or "boxes"
    try:
        composer = Composer(
            entry(fidelity), entry(spatial), balancer="core/balance", balancer_options={"warmup": 0.0}, num_inference_steps=2, device="cpu"
        )
    except Incompatible as refusal:
        said = str(refusal)
        assert fidelity in said and spatial in said, f"the refusal does not name both: {said}"
        assert refusal.mend, "the refusal names no mend"
        return
    if missing:
        pytest.skip(f"this checkout holds no weights of {' and '.join(missing)}, which its package should bring")
    result = composer(sample["prompt"], read_condition(kind, sample[kind]), seed=1)
    height, width = composer.size
    assert result.image.size == (width, height)
    assert bool(result.latents.isfinite().all())
    assert [e.acting for e in result.trace.entries] == [(fidelity, spatial)] * 2
    losses = torch.tensor([e.loss.tolist() for e in result.trace.entries if e.loss is not None])
    assert losses.shape == (2, 1) and bool((losses > 0).all())


COMPOSE = [
    ("sd/v1-5", "gligen/box"),
    ("sd/v1-5", "controlnet/pose-sd15"),
    ("sd/v2-1", "gligen/box"),
    ("sd/v2-1", "controlnet/seg-sd21"),
    ("sd/v2-1-base", "controlnet/seg-sd21"),
    ("sd/v1-5", "controlnet/seg-sd21"),
    ("sd/xl-base", "controlnet/pose-sdxl"),
    ("sd/xl-pipeline", "controlnet/pose-sdxl"),
    ("mini/flow", "mini/boxes"),  # a transformer's flow and UNets' diffusions: another architecture, another process, one latent space
    ("mini/flow", "mini/pose"),
    ("mini/flow", "mini/segmentation"),
]
REFUSED = [
    ("mini/flow", "gligen/box"),
    ("sd/xl-base", "gligen/box"),
    ("sd/xl-base", "layguide/sd"),
    ("sd/xl-base", "controlnet/pose-sd15"),
    ("sd/xl-base", "controlnet/seg-sd21"),
    ("sd/v1-5", "controlnet/pose-sdxl"),
    ("sd/v2-1", "controlnet/pose-sdxl"),
    ("sd/xl-pipeline", "gligen/box"),
]


@pytest.mark.parametrize(("fidelity", "spatial"), COMPOSE + REFUSED, ids=lambda value: str(value))
def test_which_do_and_which_do_not(fidelity: str, spatial: str) -> None:
    """The walk takes a refusal for an answer; here it is said which answer is right. Both SD kinds share latents; SDXL's are others."""
    assert (fidelity, spatial) in PAIRS
    try:
        Composer(entry(fidelity), entry(spatial), device="cpu")
    except Incompatible as refusal:
        assert (fidelity, spatial) in REFUSED and "latent spaces differ" in str(refusal)
    else:
        assert (fidelity, spatial) in COMPOSE


def test_layout_guidance_on_sdxl_beside_sdxl() -> None:
    """`base` names any branch: what its UNet is told of sizes and pooled prompts comes along."""
    source = small_source(installed().find(BranchSpec, "sd/xl-base"))
    guided = BranchEntry(name="layguide/sd", source=source, options={"base": "sd/xl-base"})
    composer = Composer(
        entry("sd/xl-base"), guided, balancer="core/balance", balancer_options={"warmup": 0.0}, num_inference_steps=2, device="cpu"
    )
    result = composer(SAMPLE["prompt"], read_condition("boxes", SAMPLE["boxes"]), seed=1, output_type="latent")
    assert bool(result.latents.isfinite().all()) and len(result.trace.losses) == 2
    assert composer.branches[0].unet is composer.branches[1].inner.unet, "one network on both sides"
