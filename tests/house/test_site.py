"""The documentation site builds from what is committed, strictly: a broken link or anchor ends it. Its pages fetch nothing of others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

pytest.importorskip("material", reason="mkdocs-material is not here: pip install -e .[docs]")

FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b(?=[^>]*\b(?:stylesheet|preload)\b)[^>]*\bhref=["']?(?:https?:)?//"""
)


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """The site into a folder, with no way to a network: every proxy leads nowhere."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)],
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
        cwd=config.parent,
        capture_output=True,
        text=True,
    )


def test_the_site_builds_and_fetches_nothing(tmp_path: Path) -> None:
    done = build(ROOT / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix(): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    for name in (
        "index",
        "recipes",
        "llm-servers",
        "reference/errors",
        "source/examples/recipes/paper-v1.toml",
        "source/realcompo/compose/composer.py",
    ):
        assert f"{name}.html" in pages
    assert not {name for name, text in pages.items() if FETCHED.search(text)}
    assert "num_inference_steps" in pages["source/examples/recipes/paper-v1.toml.html"]
    assert 'href="recipes.html' in pages["index.html"]  # the README says docs/recipes.md


def test_what_is_fetched_is_seen() -> None:
    assert FETCHED.search('<link rel="stylesheet" href="https://fonts.example/x">')
    assert FETCHED.search('<script src="//cdn.example/x.js">') and not FETCHED.search('<a href="https://example.org">')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("see [nothing](gone.md)", "gone.md"),
        ("see [nothing](../gone.py)", "gone.py"),
        ("see [nowhere](#no-such-part)", "no-such-part"),
        ("see [nowhere](other.md#no-such-part)", "no-such-part"),
        ("see [other](other.md#a-part), [code](../code.py), [out](https://no-such-host.invalid/x)", ""),
    ],
    ids=["page", "file", "anchor", "anchor-elsewhere", "all-well"],
)
def test_broken_links_end_it(text: str, said: str, tmp_path: Path) -> None:
    """The same hooks and rules on two pages; the last case is the control: what is there is fine, what is elsewhere is not fetched."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Home\n\n[page](docs/page.md)\n")
    (tmp_path / "code.py").write_text("print()\n")
    (tmp_path / "docs" / "page.md").write_text(f"# Page\n\n{text}\n")
    (tmp_path / "docs" / "other.md").write_text("# Other\n\n## A part\n")
    rules = re.search(r"^validation:\n(?:  .*\n)+", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert rules
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"site_name: x\ntheme: mkdocs\nplugins: []\nhooks: ['{ROOT / 'tools' / 'site_hooks.py'}']\n{rules[0]}")
    done = build(config, tmp_path / "site")
    assert (done.returncode == 0) == (not said), done.stdout + done.stderr
    assert said in done.stdout + done.stderr
