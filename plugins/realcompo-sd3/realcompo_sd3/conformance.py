"""The branch contract for Stable Diffusion 3.5, whose norms of queries and keys compute in float32."""

from __future__ import annotations

from realcompo.testing import BranchContract


class InSinglePrecision(BranchContract):
    """Differences in float32."""

    double = False


class TestV35Medium(InSinglePrecision):
    """sd3/v3-5-medium."""

    component = "sd3/v3-5-medium"


class TestV35Large(InSinglePrecision):
    """sd3/v3-5-large."""

    component = "sd3/v3-5-large"
