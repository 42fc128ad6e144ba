"""TokenCompose is data: the class, options and traits are those of its base, and its ids load and draw through them."""

from __future__ import annotations

import pytest
import torch

from realcompo.errors import BadCheckpoint
from realcompo.registry import installed
from realcompo.specs import BranchSpec
from realcompo.testing import small_source
from realcompo.testing.driving import draw_alone, request


@pytest.mark.parametrize(
    ("id", "base", "family", "predicts"),
    [("tokencompose/sd14-a", "sd/v1-4", "SD 1.x", "epsilon"), ("tokencompose/sd21-a", "sd/v2-1", "SD 2.x", "v_prediction")],
)
def test_it_is_its_base_with_other_weights(id: str, base: str, family: str, predicts: str) -> None:
    registry = installed()
    spec, parent = registry.find(BranchSpec, id), registry.find(BranchSpec, base)
    assert (spec.target, spec.options, spec.role, spec.traits) == (parent.target, parent.options, parent.role, parent.traits)
    assert spec.source != parent.source and spec.source is not None and spec.source.startswith("mlpc-lab/TokenCompose_")
    assert spec.revision is not None and len(spec.revision) == 40 and spec.licence
    traits = registry.inspect(id)
    assert (traits.family, traits.prediction_type) == (family, predicts), "known without the checkpoint"
    assert registry.distribution(id) == "realcompo-tokencompose"
    branch = registry.branch(id, source=small_source(spec))
    latents = draw_alone(branch, request(("a cat and a dog",)), torch.randn(1, 4, 16, 16), steps=3)
    assert bool(latents.isfinite().all()) and len(branch.decode(latents)) == 1


def test_what_is_not_here_says_how_to_fetch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pinned revision: another one in the cache would not be found."""
    monkeypatch.delenv("REALCOMPO_DOWNLOAD", raising=False)
    with pytest.raises(BadCheckpoint) as missing:
        installed().branch("tokencompose/sd14-a")
    assert "hf download mlpc-lab/TokenCompose_SD14_A --revision d165e275711bebe460c9b398b2a7f5da4b5889fb" in str(missing.value)
