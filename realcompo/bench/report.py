"""The record of a measurement, as plain data."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..noise.devices import versions
from .limits import Limits, Verdict
from .measuring import Measured
from .pairing import Spread

FORMAT = 1


def describe(device: torch.device) -> dict[str, Any]:
    """What the run is on."""
    if device.type != "cuda":
        return {"type": device.type, "name": _processor(), "threads": torch.get_num_threads()}
    facts = torch.cuda.get_device_properties(device)
    return {
        "type": "cuda",
        "name": facts.name,
        "memory_bytes": facts.total_memory,
        "capability": f"{facts.major}.{facts.minor}",
        "multiprocessors": facts.multi_processor_count,
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32},
    }


def _processor() -> str:
    """The processor's own name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def plain(value: Any) -> Any:
    """JSON has no NaN: it is a text there."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def record(
    measured: Sequence[Measured], against: Spread | None = None, limits: Limits | None = None, verdicts: Sequence[Verdict] = ()
) -> dict[str, Any]:
    """What `-o` writes.

    Args:
        measured: one subject, or two that were timed in turn.
        against: seconds of the first by the second, pair by pair.
        limits, verdicts: of `--limits`.
    """
    device = limits.subject.composer.device if limits is not None else measured[0].subject.composer.device
    told: dict[str, Any] = {
        "tool": "realcompo bench",
        "format": FORMAT,
        "device": describe(device),
        "versions": {**versions(), "cuda": torch.version.cuda},
        "measured": [one.told() for one in measured],
    }
    if against is not None:
        a, b = measured
        told["against"] = {"seconds": against.told(), "sampling_f": _by(a.cost.sampling, b.cost.sampling)}
    if limits is not None:
        told["subject"] = {
            "label": limits.subject.label,
            "networks": limits.subject.networks,
            "size": list(limits.subject.composer.size),
            "dtype": str(limits.subject.composer.dtype).removeprefix("torch."),
            "small": limits.subject.made is not None and limits.subject.made.small,
        }
        told["limits"] = [one.told() for one in verdicts]
        told["figures"] = limits.measured
    return dict(plain(told))


def _by(a: float, b: float) -> float | None:
    return a / b if b else None


def text(told: Mapping[str, Any]) -> str:
    """The JSON of a record."""
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
