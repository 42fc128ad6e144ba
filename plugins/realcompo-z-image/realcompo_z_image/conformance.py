"""The branch contract for Z-Image, whose norms and rotary embedding compute in float32."""

from __future__ import annotations

from realcompo.testing import BranchContract


class InSinglePrecision(BranchContract):
    """Differences in float32; a picture of few tokens."""

    double = False
    size = (128, 128)


class TestBase(InSinglePrecision):
    """z-image/base."""

    component = "z-image/base"


class TestTurbo(InSinglePrecision):
    """z-image/turbo."""

    component = "z-image/turbo"


class TestPipeline(InSinglePrecision):
    """z-image/pipeline."""

    component = "z-image/pipeline"


class TestPose(InSinglePrecision):
    """z-image/pose."""

    component = "z-image/pose"
