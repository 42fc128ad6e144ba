"""The branch contract for Z-Image, whose norms and rotary embedding compute in float32."""

from __future__ import annotations

from realcompo.testing import BranchContract


class TestBase(BranchContract):
    """Differences in float32."""

    component = "z-image/base"
    double = False
    size = (128, 128)


class TestTurbo(BranchContract):
    """Differences in float32."""

    component = "z-image/turbo"
    double = False
    size = (128, 128)


class TestPipeline(BranchContract):
    """Differences in float32."""

    component = "z-image/pipeline"
    double = False
    size = (128, 128)


class TestPose(BranchContract):
    """Differences in float32."""

    component = "z-image/pose"
    double = False
    size = (128, 128)
