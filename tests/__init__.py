"""Tests by the rooms of realcompo/; `house` holds those of the whole: imports, docs, examples, strangers' wheels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MINI = ROOT / "plugins" / "realcompo-mini" / "realcompo_mini" / "weights"


def brings(*models: str) -> bool:
    """Whether this checkout holds the trained weights of the embedded family's models, ``"fidelity"`` or ``"mini/fidelity"``: it may be
    from before training. The one place that knows what that looks like."""
    return all(holds_weights(MINI / name.removeprefix("mini/")) for name in models)


def holds_weights(place: Path) -> bool:
    """Whether a path is a file of weights, or a folder with one of its own, of its UNet or of its transformer."""
    return place.is_file() or any(any(place.glob(f"{part}*.safetensors")) for part in ("", "unet/", "transformer/"))


def lacking(*models: str) -> str:
    """Why a test is skipped: the models that this checkout does not bring; empty if it has all."""
    missing = sorted({name.removeprefix("mini/") for name in models if not brings(name)})
    return f"this checkout holds no weights of mini/{', mini/'.join(missing)}" if missing else ""


def examples(count: int) -> int:
    """How many examples a property gets: `count` in every run, twenty times as many in ``make test-deep``."""
    from hypothesis import settings

    return count * settings().max_examples // 100


def sliced(cases: Iterable[tuple[Any, ...]], every: int) -> list[Any]:
    """Parameters of a test: one case in so many belongs to every run, the others to ``make test-deep``. `every` should divide no dimension
    of the cases' product, so that each value of each parameter has its turn."""
    import pytest

    return [pytest.param(*case, marks=[pytest.mark.deep] * bool(index % every)) for index, case in enumerate(cases)]


def refused_address(address: Any) -> bool:
    """Whether an address of the socket module, or a host, leads off this machine. A path of a Unix socket does not."""
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    local = host in (None, "", "localhost", "0.0.0.0", "::", "::1")
    return not local and not (isinstance(host, str) and re.match(r"127(\.\d+){3}$|[/@\0]", host))
