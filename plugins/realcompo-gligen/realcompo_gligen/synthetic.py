"""SD 1.5 and GLIGEN with random weights, for `realcompo bench sd15-gligen`."""

from __future__ import annotations

from realcompo.testing.synthetic import Parts, published_parts, small_parts


def checkpoints(small: bool) -> dict[str, Parts]:
    """The two checkpoints: GLIGEN's is SD's with gated self-attention, and decodes nothing."""
    if small:
        return {"fidelity": small_parts("sd1"), "spatial": small_parts("gligen").without("vae")}
    sd = published_parts("sd1")
    return {"fidelity": sd, "spatial": sd.changed("unet", attention_type="gated").without("vae")}
