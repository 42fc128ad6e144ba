"""The branch contract for FLUX.1, whose rotary embedding computes in float32."""

from __future__ import annotations

from realcompo.testing import BranchContract


class InSinglePrecision(BranchContract):
    """Differences in float32; a picture of few tokens."""

    double = False
    size = (128, 128)


class TestDev(InSinglePrecision):
    """flux/dev."""

    component = "flux/dev"


class TestSchnell(InSinglePrecision):
    """flux/schnell."""

    component = "flux/schnell"


class TestPipeline(InSinglePrecision):
    """flux/pipeline."""

    component = "flux/pipeline"


class TestPose(InSinglePrecision):
    """flux/pose."""

    component = "flux/pose"


class TestHint(InSinglePrecision):
    """flux/hint."""

    component = "flux/hint"
