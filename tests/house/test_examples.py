"""Every example runs, in an empty folder; every listing in docs/write-a-plugin.md is a file of examples/, word for word."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest

from tests import ROOT, lacking

EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
LISTING = re.compile(r"^`(examples/[^`]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_there_are_ten() -> None:
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = example.read_text(encoding="utf-8")
    if ("rc.generate(" in text or "mini/" in text) and lacking("fidelity", "boxes"):
        pytest.skip(lacking("fidelity", "boxes"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        runpy.run_path(str(example), run_name="__main__")
    assert said.getvalue().strip(), "an example says what it did"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 40


def test_listings_are_the_files() -> None:
    page = (ROOT / "docs" / "write-a-plugin.md").read_text(encoding="utf-8")
    listings = LISTING.findall(page)
    assert len(listings) >= 6
    for name, text in listings:
        assert text == (ROOT / name).read_text(encoding="utf-8"), f"{name} has changed: copy it into docs/write-a-plugin.md"


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("realcompo-*/*/*.py")), ids=lambda path: path.name)
def test_a_plugin_stays_small(file: Path) -> None:
    """About 40 lines a component: what a stranger writes."""
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 46
