"""The branch contract for FLUX.1, whose rotary embedding computes in float32."""

from __future__ import annotations

from realcompo.testing import BranchContract


class TestDev(BranchContract):
    """Differences in float32."""

    component = "flux/dev"
    double = False
    size = (128, 128)


class TestSchnell(BranchContract):
    """Differences in float32."""

    component = "flux/schnell"
    double = False
    size = (128, 128)


class TestPipeline(BranchContract):
    """Differences in float32."""

    component = "flux/pipeline"
    double = False
    size = (128, 128)


class TestPose(BranchContract):
    """Differences in float32."""

    component = "flux/pose"
    double = False
    size = (128, 128)


class TestHint(BranchContract):
    """Differences in float32."""

    component = "flux/hint"
    double = False
    size = (128, 128)
