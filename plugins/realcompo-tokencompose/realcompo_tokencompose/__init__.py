"""Declares TokenCompose's checkpoints: data only, on the branches of the plugin `sd`."""

from __future__ import annotations

from collections.abc import Iterable

from realcompo.hookspecs import hookimpl
from realcompo.specs import BranchSpec

REALCOMPO_API = 1

LICENCE = "CreativeML OpenRAIL-M"


@hookimpl
def register_branches() -> Iterable[BranchSpec]:
    """The two that the paper names; `base` brings class, options, role and traits."""
    yield BranchSpec(
        id="tokencompose/sd14-a",
        summary="TokenCompose on Stable Diffusion 1.4: attends to every object that the prompt names. The paper's v2 and v4.",
        base="sd/v1-4",
        source="mlpc-lab/TokenCompose_SD14_A",
        revision="d165e275711bebe460c9b398b2a7f5da4b5889fb",
        licence=LICENCE,
    )
    yield BranchSpec(
        id="tokencompose/sd21-a",
        summary="TokenCompose on Stable Diffusion 2.1.",
        base="sd/v2-1",
        source="mlpc-lab/TokenCompose_SD21_A",
        revision="3cbc7ebb1208bf23e67c01a81b1013f2f8ef477b",
        licence=LICENCE,
    )
