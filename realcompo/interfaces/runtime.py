"""How networks are run: what changes their speed and, but for rounding, nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Runtime:
    """How the networks of a branch are run.

    Attributes:
        compile: "none"; "regional": each block that repeats, compiled once for all that are alike; "whole": each network as one.
        backend: of torch.compile.
        channels_last: convolutions see (B, h, w, C) in memory.
        fuse_projections: query, key and value of an attention by one product.
    """

    compile: str = "none"
    backend: str = "inductor"
    channels_last: bool = False
    fuse_projections: bool = False

    @property
    def plain(self) -> bool:
        """Whether networks run as they were loaded."""
        return self.compile == "none" and not self.channels_last and not self.fuse_projections
