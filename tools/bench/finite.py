"""What looking for NaN costs: `python -m tools.bench.finite` draws with the mini pair and prints the checks' own time beside a step's.

The checks are timed where they are called. On a GPU that is the time to start them and, once a step, to read them; what runs meanwhile on
the device is a handful of sums over latents.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import pairwise
from statistics import median
from typing import Any

import realcompo as rc
from realcompo.compose import probe
from realcompo.compose.finite import Finite

PROMPT = "a red cat and a blue ball"
BOXES = {"a red cat": (0.05, 0.25, 0.5, 0.95), "a blue ball": (0.55, 0.3, 0.95, 0.9)}
LIMIT = 0.005
"""The share of a step that the checks may cost."""


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    """Add up what the checks take, each once: those that call others count for both."""
    depth = [0]

    def watch(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def measured(*args: Any, **more: Any) -> Any:
            depth[0] += 1
            start = time.perf_counter()
            try:
                return function(*args, **more)
            finally:
                depth[0] -= 1
                if depth[0] == 0:
                    seconds[0] += time.perf_counter() - start

        return measured

    names = ("note", "see", "clean", "send", "read")
    before: dict[tuple[Any, str], Any] = {(Finite, name): getattr(Finite, name) for name in names}
    before[probe, "peaks"] = probe.peaks
    for (home, name), function in before.items():
        setattr(home, name, watch(function))
    try:
        yield
    finally:
        for (home, name), function in before.items():
            setattr(home, name, function)


def measure(steps: int = 20, pictures: int = 1, device: str = "cpu") -> tuple[float, float]:
    """Seconds of a step of the mini pair, and of the checks in it: medians, for other programs run too. The first run only warms up."""
    composer = rc.Composer("mini/fidelity", "mini/boxes", num_inference_steps=steps, device=device, balancer_options={"warmup": 0.0})
    asked: dict[str, Any] = {"prompt": [PROMPT] * pictures, "condition": [rc.Boxes(BOXES)] * pictures, "output_type": "latent"}
    composer(**asked, seed=0, num_inference_steps=2)
    seconds, marks = [0.0], []
    with timed(seconds):
        composer(**asked, seed=0, progress=lambda *_: marks.append((time.perf_counter(), seconds[0])))
    spans = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(marks)]
    return median(whole for whole, _ in spans), median(checks for _, checks in spans)


def main() -> None:
    """Print one line a batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=20)
    told = parser.parse_args()
    for pictures in (1, 4):
        step, checks = measure(told.steps, pictures, told.device)
        verdict = "within" if checks / step <= LIMIT else "OVER"
        print(
            f"{pictures} pictures on {told.device}: a step {step * 1e3:.1f} ms, its checks {checks * 1e6:.0f} µs, "
            f"{checks / step:.2%} ({verdict} {LIMIT:.1%})"
        )


if __name__ == "__main__":
    main()
