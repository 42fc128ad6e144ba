"""SDXL and a ControlNet with random weights, for `realcompo bench sdxl-controlnet`."""

from __future__ import annotations

from realcompo.testing.synthetic import Parts, published_parts, small_parts

_NOT_SHARED = ("up_block_types", "sample_size", "out_channels")
"""Keys of a UNet's config that the ControlNet which is made from it does not have."""


def checkpoints(small: bool) -> dict[str, Parts]:
    """The base, and a ControlNet that steers it and brings no network of its own."""
    if small:
        return {"fidelity": small_parts("sdxl"), "spatial": small_parts("controlnet-sdxl").only("controlnet")}
    base = published_parts("sdxl")
    config = {key: value for key, value in base.configs["unet"].items() if key not in _NOT_SHARED}
    own = {"_class_name": "ControlNetModel", "conditioning_embedding_out_channels": [16, 32, 96, 256]}
    return {"fidelity": base, "spatial": Parts({"controlnet": {**config, **own}}, {})}
