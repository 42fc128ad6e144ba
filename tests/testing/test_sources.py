"""Small checkpoints are written once: a process, or by all that share a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from realcompo.testing import sources


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Families that were written; a stand-in writes them."""
    found: list[str] = []

    def save(folder: Path, family: str) -> Path:
        folder.mkdir()
        found.append(family)
        if found.count(family) == 1 and family == "sd2":
            raise KeyboardInterrupt
        (folder / "model_index.json").write_text("{}")
        return folder

    monkeypatch.setattr(sources, "save_checkpoint", save)
    monkeypatch.setattr(sources, "_shared", [])
    sources.small_checkpoint.cache_clear()
    yield found
    sources.small_checkpoint.cache_clear()


def test_once_a_process(written: list[str]) -> None:
    assert sources.small_checkpoint("sd1") == sources.small_checkpoint("sd1") and written == ["sd1"]


def test_once_for_all_that_share(written: list[str], tmp_path: Path) -> None:
    for _ in range(2):  # each as a process of its own would
        sources.share_checkpoints(tmp_path)
        assert sources.small_checkpoint("sd1") == str(tmp_path / "sd1")
    assert written == ["sd1"]


def test_a_writer_that_dies_leaves_nothing_that_looks_whole(written: list[str], tmp_path: Path) -> None:
    sources.share_checkpoints(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        sources.small_checkpoint("sd2")
    assert not (tmp_path / "sd2").exists()
    assert (Path(sources.small_checkpoint("sd2")) / "model_index.json").exists() and written == ["sd2", "sd2"]
