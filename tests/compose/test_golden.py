"""Pictures of before stay what they were: latents that the repository holds, drawn again. tools/golden.py compares more, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests import lacking
from tools.golden import KEPT, cases, draw

FILE = Path(__file__).with_name("golden.npz")


@pytest.mark.filterwarnings("ignore::realcompo.errors.Remark")
@pytest.mark.parametrize("name", KEPT)
def test_latents_are_as_they_were(name: str) -> None:
    """To 1e-4 of their size: another processor or number of threads rounds otherwise."""
    case = {one.name: one for one in cases()}[name]
    if name.startswith("mini") and (why := lacking("fidelity", "boxes", "pose")):
        pytest.skip(why)
    threads = torch.get_num_threads()
    try:
        latents, _ = draw(case)
    finally:
        torch.set_num_threads(threads)
    with np.load(FILE) as held:
        before = held[name]
    assert latents.shape == before.shape
    assert np.abs(latents - before).max() < 1e-4 * np.abs(before).max()


def test_what_is_kept_is_drawn() -> None:
    names = [one.name for one in cases()]
    assert len(set(names)) == len(names) and set(KEPT) <= set(names)
    with np.load(FILE) as held:
        assert set(held.files) == set(KEPT)
