"""What looking for NaN costs (tools/bench/finite.py), as a line."""

from __future__ import annotations

from . import benchmark, seconds


@benchmark("looking for NaN: a step of the mini pair, its checks")
def checks() -> str:
    """The same figures, with verdict, from `python -m tools.bench.finite`."""
    from .finite import measure

    step, looking = measure()
    return f"{seconds(step)}, {looking * 1e6:.0f} µs ({looking / step:.2%})"
