"""A file is read at a sitting: what has grown past that has a seam, and each side of it a name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests import ROOT

MOST = 400
"""Lines."""


def too_long(files: Iterable[Path]) -> dict[str, int]:
    """File → lines, of those that have more than `MOST`."""
    found = {path.name: len(path.read_text("utf-8").splitlines()) for path in files}
    return {name: lines for name, lines in found.items() if lines > MOST}


def test_no_file_is_too_long_to_be_read(tmp_path: Path) -> None:
    files = [
        *ROOT.glob("*.py"),
        *(path for place in ("realcompo", "plugins", "examples", "tests", "tools") for path in (ROOT / place).rglob("*.py")),
    ]
    assert len(files) > 600
    assert too_long(files) == {}, "split it along a seam: a module that has a purpose of its own, and a name that tells it"
    (tmp_path / "grown.py").write_text("x = 1\n" * (MOST + 1))
    assert too_long(tmp_path.iterdir()) == {"grown.py": MOST + 1}
