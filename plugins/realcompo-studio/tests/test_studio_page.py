"""The page without a browser: what ships is whole, small, of its source and asks nobody else; its pure parts' own tests pass."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from realcompo.conditions.drawing import LIMBS
from realcompo.conditions.joints import OPENPOSE_18
from tests import ROOT

PAGE = ROOT / "plugins" / "realcompo-studio" / "page"
STATIC = Path(str(resources.files("realcompo_studio") / "static"))
MOST = 300_000
"""Bytes of scripts, gzipped."""
ELSEWHERE = re.compile(r"(?:https?:)?//(?!127\.0\.0\.1)[a-z0-9-]+\.[a-z]{2,}[^\s\"'`)]*", re.I)
NAMESPACES = ("http://www.w3.org/",)
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (PAGE / "node_modules" / "vite").is_dir(),
    reason="node or the page's packages are not there: make studio",
)


def node(*command: str) -> None:
    """Run one of the page's own tools."""
    tool, *words = command
    done = subprocess.run(["node", str(PAGE / "node_modules" / tool), *words], cwd=PAGE, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_scripts_are_small() -> None:
    scripts = list(STATIC.rglob("*.js"))
    assert scripts
    assert sum(len(gzip.compress(one.read_bytes())) for one in scripts) <= MOST


def test_it_asks_nobody_else_and_needs_no_inline_script() -> None:
    """The policy of the server forbids both; this says so before a browser does."""
    for path in STATIC.rglob("*"):
        if path.suffix in (".js", ".css", ".html", ".svg"):
            found = [one for one in ELSEWHERE.findall(path.read_text("utf-8")) if not one.startswith(NAMESPACES)]
            assert not [one for one in found if "//" in one and not re.match(r"//\w+\.\w+\(", one)], (path.name, found)
    start = (STATIC / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", start) == []
    assert "style=" not in start and "<style" not in start


def test_it_knows_joints_and_limbs_as_the_core_does() -> None:
    """In the core's order: the n-th limb takes the n-th colour."""
    source = (PAGE / "src" / "model" / "poses.ts").read_text("utf-8")
    listed = re.search(r"JOINTS = \[(.*?)\]", source, re.S)
    assert listed and tuple(re.findall(r"'(\w+)'", listed[1])) == OPENPOSE_18
    assert re.findall(r"\['(\w+)', '(\w+)'\]", source.split("LIMBS")[1].split("];")[0]) == [tuple(limb) for limb in LIMBS]


@needs_node
def test_what_ships_is_built_from_the_source(tmp_path: Path) -> None:
    node("vite/bin/vite.js", "build", "--outDir", str(tmp_path / "built"), "--emptyOutDir", "--logLevel", "error")
    built = {path.relative_to(tmp_path / "built"): path.read_bytes() for path in (tmp_path / "built").rglob("*") if path.is_file()}
    shipped = {path.relative_to(STATIC): path.read_bytes() for path in STATIC.rglob("*") if path.is_file()}
    assert sorted(built) == sorted(shipped)
    stale = [str(name) for name in built if built[name] != shipped[name]]
    assert not stale, f"run `make studio`: {stale}"


@needs_node
def test_its_pure_parts_pass_their_own_tests() -> None:
    """page/test: geometry, snapping, undo, run lengths, words, recipes, forms."""
    node("vitest/vitest.mjs", "run", "--reporter=dot")
