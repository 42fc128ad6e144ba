from __future__ import annotations

from pathlib import Path

import pytest

from realcompo.testing.checkpoints import save_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """family → its folder, written once a session; read only."""
    root = tmp_path_factory.mktemp("checkpoints")
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = save_checkpoint(root / family, family)  # type: ignore[arg-type]
        return made[family]

    return get
