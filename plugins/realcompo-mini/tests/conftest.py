"""Stand-ins for the sprites, which are a download: people as they are, every other thing a disc of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def sprites() -> dict[str, np.ndarray]:
    """As `realcompo_mini.train.sprites.load` gives them, without the flat look."""
    from realcompo_mini.train.people import POSES, draw_person
    from realcompo_mini.train.sprites import _keep, in_look
    from realcompo_mini.world import load_world

    world, found = load_world(), {}
    y, x = np.mgrid[:96, :96]
    disc = np.where(np.hypot(x - 47.5, y - 47.5)[..., None] < 47, 200, 0).astype(np.uint8).repeat(4, -1)
    for variant in range(len(POSES)):
        flat, shaded = (draw_person(POSES[variant], 212.0, way)[0] for way in (False, True))
        for look, image in in_look(flat, shaded).items():
            small = _keep(image)
            for colour in ("", *world.colours):
                for pattern in ("", *world.patterns):
                    found[f"{look}/person/{colour}/{pattern}/{variant}"] = small
    for kind in world.kinds.values():
        for look in ("3d", "flat", "outline", "cute"):
            for colour in ("", *world.colours):
                for pattern in ("", *world.patterns):
                    found.setdefault(f"{look}/{kind.name}/{colour}/{pattern}/0", disc)
    return found


@pytest.fixture(scope="session")
def sprite_file(sprites: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file."""
    path = tmp_path_factory.mktemp("sprites") / "sprites.npz"
    np.savez(path, **sprites)
    return path
