"""Several noises by every kind of branch that ships, small checkpoints in the real format: what is chosen is drawn as if it were alone,
and what a branch keeps of a batch (`Branch.pick`) is that of the chosen."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import realcompo as rc
from realcompo.compose.candidates import noise_seed
from realcompo.recipes.recipe import BranchEntry, read_condition
from realcompo.registry import installed
from realcompo.specs import BranchSpec
from realcompo.testing import small_source
from realcompo.testing.common import SAMPLE
from tests import sliced

PAIRS = [
    ("sd/v1-5", "layguide/sd"),
    ("sd/v1-5", "gligen/box"),
    ("sd/v1-5", "controlnet/pose-sd15"),
    ("sd/v2-1", "controlnet/seg-sd21"),
    ("sd/xl-base", "controlnet/pose-sdxl"),
    ("sd3/medium", "sd3/pose"),
    ("flux/dev", "flux/pose"),
]


def entry(id: str) -> BranchEntry:
    return BranchEntry(name=id, source=small_source(installed().find(BranchSpec, id)), guidance_scale=2.0)


@pytest.mark.parametrize(("fidelity", "spatial"), sliced(PAIRS, 7))
def test_what_is_chosen_is_drawn_as_if_it_were_alone(fidelity: str, spatial: str) -> None:
    spec = installed().find(BranchSpec, spatial)
    sample, kind = spec.sample or SAMPLE, spec.condition or "boxes"
    prompt, condition = str(sample["prompt"]), read_condition(kind, sample[kind])
    settings: dict[str, Any] = {"num_inference_steps": 4, "device": "cpu", "height": 64, "width": 64}
    composer = rc.Composer(entry(fidelity), entry(spatial), **settings)
    several = rc.Composer(entry(fidelity), entry(spatial), candidates={"count": 3, "until": 0.5}, **settings)
    composer.branches[0].fingerprint()  # loads
    assert several.inherit(composer)
    composer._branches = several.branches
    result = several([prompt] * 2, [condition] * 2, seed=[3, 4], output_type="latent")
    assert any(result.trace.chosen), "the control: another noise than the first was chosen"
    for b, number in enumerate(result.trace.chosen):
        alone = composer(prompt, condition, seed=noise_seed(3 + b, number), output_type="latent")
        assert torch.allclose(alone.latents[0], result.latents[b], atol=1e-4), b
        other = composer(prompt, condition, seed=noise_seed(3 + b, (number + 1) % 3), output_type="latent")
        assert not torch.allclose(other.latents[0], result.latents[b], atol=1e-2), "the control"
