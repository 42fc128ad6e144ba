"""Stable Diffusion with random weights, for `realcompo bench sd15` and `bench sdxl`."""

from __future__ import annotations

from realcompo.testing.synthetic import Parts, published_parts, small_parts


def sd15(small: bool) -> dict[str, Parts]:
    """The checkpoint of Stable Diffusion 1.5."""
    return {"fidelity": small_parts("sd1") if small else published_parts("sd1")}


def sdxl(small: bool) -> dict[str, Parts]:
    """The checkpoint of Stable Diffusion XL 1.0."""
    return {"fidelity": small_parts("sdxl") if small else published_parts("sdxl")}
