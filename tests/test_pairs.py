"""Every registered fidelity × spatial pair, walked from what is installed: it composes on small checkpoints, or is refused by name."""

from __future__ import annotations

from importlib import resources

import pytest
import torch

from realcompo.composer import Composer
from realcompo.errors import Incompatible
from realcompo.recipe import BranchEntry, read_condition
from realcompo.registry import installed
from realcompo.specs import BranchSpec
from realcompo.testing import small_source
from realcompo.testing.common import SAMPLE


def of_role(role: str) -> list[str]:
    registry = installed()
    return [id for id in registry.branches if registry.find(BranchSpec, id).role in (role, None)]


PAIRS = [(fidelity, spatial) for fidelity in of_role("fidelity") for spatial in of_role("spatial") if fidelity != spatial]


def entry(id: str) -> BranchEntry:
    """With the small checkpoint that stands for its own; a LookupError says how to give one."""
    return BranchEntry(name=id, source=small_source(installed().find(BranchSpec, id)))


def brings_its_weights(id: str) -> bool:
    """False where a branch says that its weights lie in its package, and they do not (a checkout before training)."""
    source = installed().find(BranchSpec, id).source or ""
    if not source.startswith("package://"):
        return True
    package, _, path = source.removeprefix("package://").partition("/")
    return any(resources.files(package).joinpath(path, "unet").glob("*.safetensors"))  # type: ignore[attr-defined]


def test_no_plugin_is_broken() -> None:
    assert [str(problem) for problem in installed().problems] == []


@pytest.mark.parametrize(("fidelity", "spatial"), PAIRS, ids=lambda value: str(value))
def test_pair_composes_or_is_refused_by_name(fidelity: str, spatial: str) -> None:
    spec = installed().find(BranchSpec, spatial)
    sample = spec.sample or SAMPLE
    missing = [id for id in (fidelity, spatial) if not brings_its_weights(id)]
    kind = spec.condition or "boxes"
    try:
        composer = Composer(entry(fidelity), entry(spatial), balancer_options={"warmup": 0.0}, num_inference_steps=2, device="cpu")
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


def test_there_is_a_pair() -> None:
    """With the plugins of this repository installed, at least Stable Diffusion and GLIGEN."""
    assert ("sd/v1-5", "gligen/box") in PAIRS
