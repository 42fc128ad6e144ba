"""The fitted numbers of previews show the mini's pictures: the same things at the same places, in their colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from realcompo_mini.preview import fit, rows

from realcompo.interfaces.previews import glimpse
from tests import lacking


def test_the_fit_finds_the_rows_that_made_the_pixels() -> None:
    generator = np.random.default_rng(0)
    made, latents = generator.normal(size=(9, 3)), generator.normal(size=(500, 8))
    found, left = fit(latents, latents @ made[:-1] + made[-1])
    assert np.abs(found - made).max() < 1e-9 and left < 1e-12


@pytest.mark.skipif(bool(lacking("fidelity")), reason=lacking("fidelity"))
def test_a_preview_is_the_decoded_picture_made_small() -> None:
    from safetensors.torch import load_file

    from realcompo.registry import installed

    kept = load_file(Path(__file__).parent / "check-grown.safetensors")
    latents = next(one for one in kept.values() if one.ndim == 4 and one.shape[1] == 8)[:8].float()
    branch = installed().branch("mini/fidelity")
    told = rows()
    assert told is not None and branch.traits.latent.rgb == told

    def correlation(numbers: tuple[tuple[float, float, float], ...]) -> float:
        quick = np.stack([np.asarray(one, float) for one in glimpse(latents, numbers)])
        assert quick.shape[1:3] == latents.shape[2:]
        full = np.stack([np.asarray(one.resize((quick.shape[2], quick.shape[1]), 4), float) for one in branch.decode(latents)])  # 4 = box
        return float(np.corrcoef(quick.ravel(), full.ravel())[0, 1])

    assert [one.size for one in branch.preview(latents)] == [(16, 16)] * 8
    assert correlation(told) > 0.9
    assert correlation((*told[:-1][::-1], told[-1])) < 0.5, "channels in another order must show something else"
