"""Small networks for what is measured here, made once a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from realcompo.bench.subjects import Bench, Subject

FAST = {"device": "cpu", "num_inference_steps": 4, "scheduler_options": {"timestep_spacing": "trailing"}, "height": 64, "width": 64}


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack, small=True)


@pytest.fixture(scope="session")
def pair(bench: Bench) -> Subject:
    """SD 1.5 and GLIGEN, small."""
    return bench.open("sd15-gligen", arguments=FAST)
