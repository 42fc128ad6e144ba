"""The branch contract for Stable Diffusion 3.5, whose norms of queries and keys compute in float32."""

from __future__ import annotations

from realcompo.testing import BranchContract


class TestV35Medium(BranchContract):
    """Differences in float32."""

    component = "sd3/v3-5-medium"
    double = False


class TestV35Large(BranchContract):
    """Differences in float32."""

    component = "sd3/v3-5-large"
    double = False
