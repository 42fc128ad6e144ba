"""What a studio is started with, and the bounds of what it takes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

TOKEN_VARIABLE = "REALCOMPO_STUDIO_TOKEN"
SHORTEST_TOKEN = 24
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """Bounds of what a request may bring, and of what is kept.

    Attributes:
        body: bytes of a JSON body. upload: bytes of a picture.
        depth: tables and lists inside each other in a body.
        queue: jobs that wait or run.
        pictures: of one recipe.
        finished: jobs that are over and still listed.
        events: kept for streams that come back.
        side: pixels along a side of an uploaded picture.
    """

    body: int = 32 << 20
    upload: int = 32 << 20
    depth: int = 64
    queue: int = 1000
    pictures: int = 64
    finished: int = 500
    events: int = 4096
    side: int = 16384


@dataclass(frozen=True)
class Settings:
    """Of one server.

    Attributes:
        folder: where pictures and all else is kept; nothing outside it is read or written for a request.
        host, port: where it listens.
        token: whoever shows it may ask.
        sets: ``name=value`` each, the user's own last layer of every recipe, as ``--set`` of other verbs.
        warm: load libraries in the background after the first look at the components.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8765
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    sets: tuple[str, ...] = ()
    warm: bool = True
    limits: Limits = Limits()

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK

    @property
    def address(self) -> str:
        """Where a browser on this machine finds it, without the token."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "localhost") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def cookie(self) -> str:
        """The cookie's name: browsers keep one jar for all ports of a host."""
        return f"realcompo-studio-{self.port}"


def told_limits(limits: Limits) -> Mapping[str, int]:
    """The bounds as `GET /api/state` tells them, those of conditions and recipes among them."""
    from realcompo.arguments import MAX_SIDE
    from realcompo.conditions import boxes, keypoints, segmentation
    from realcompo.recipes.recipe import MAX_STEPS

    mine = {name: value for name, value in asdict(limits).items() if name in ("body", "upload", "queue", "pictures")}
    theirs = {"boxes": boxes.MAX_BOXES, "people": keypoints.MAX_PEOPLE, "segments": segmentation.MAX_SEGMENTS}
    return {**mine, **theirs, "side": MAX_SIDE, "map": segmentation.MAX_SIDE, "steps": MAX_STEPS}
