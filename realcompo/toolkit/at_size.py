"""Transformers at their published size with random weights, for `realcompo bench`: what their plugins declare alike. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..specs import SyntheticSpec

NO_LIMITS = {"published": None, "exact": None, "lagged": None, "shared": None}
"""Those of `realcompo bench --limits` that are promised of UNets."""


def at_size(
    module: str, fidelity: str, spatial: str, prompt: str, pose: Mapping[str, Any], rows: Iterable[tuple[str, str, bool]]
) -> Iterator[SyntheticSpec]:
    """The fidelity branch alone, or steered by the ControlNet.

    Args:
        module: where the functions are that make the networks, named as the rows with ``_`` for ``-``.
        fidelity, spatial: ids of one plugin's branches.
        prompt: of the fidelity branch alone. pose: prompt and key points of the pair.
        rows: (name, summary, whether the ControlNet steers).
    """
    plugin = fidelity.partition("/")[0]
    branch = {"name": fidelity, "source": "synthetic://fidelity"}
    control = {"name": spatial, "source": "synthetic://spatial", "options": {"base_source": "synthetic://fidelity"}}
    for name, summary, steered in rows:
        picture = {"prompt": pose["prompt"], "seed": 1, "conditions": {"keypoints": pose["keypoints"]}}
        yield SyntheticSpec(
            id=f"{plugin}/{name}",
            summary=summary,
            target=f"{module}:{name.replace('-', '_')}",
            recipe={
                "branches": [branch, control] if steered else [branch],
                "num_inference_steps": 28,
                "pictures": [picture if steered else {"prompt": prompt, "seed": 1}],
            },
            small={"height": 128, "width": 128},
            limits=NO_LIMITS if steered else {},
        )
