"""Declares styled checkpoints: data only, on the branches of the plugin `sd`."""

from __future__ import annotations

from collections.abc import Iterable

from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec

REALCOMPO_API = 1

_BASE = "sd/v1-5"
_LICENCE = "CreativeML OpenRAIL-M"


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """Each is Stable Diffusion 1.5 with other weights; trigger words follow the prompt, so that its phrases stay early in it."""
    yield BranchSpec(
        id="styles/coloring-pages",
        summary="Coloring Page: black outlines on white. One of the paper's two styles.",
        base=_BASE,
        source="stablediffusionapi/coloring-pages",
        prompt="{prompt}, coloring page",
        licence=_LICENCE,
    )
    yield BranchSpec(
        id="styles/cuteyukimix",
        summary="CuteYukiMix: a soft, cute look. One of the paper's two styles; it wants no trigger words.",
        base=_BASE,
        source="stablediffusionapi/cuteyukimix",
        licence=_LICENCE,
    )
    yield BranchSpec(
        id="styles/dreamshaper",
        summary="DreamShaper 7: painterly and polished; the published code's fidelity model is of this family.",
        base=_BASE,
        source="Lykon/dreamshaper-7",
        licence=_LICENCE,
    )
