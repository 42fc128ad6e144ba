"""A browser for the page's tests: Debian's Chromium, or the one that Playwright fetched. Without one they are skipped and say so."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from driver import Tab
from studio_client import Client, serving

from realcompo.registry import GROUP, Registry
from tests import ROOT, lacking

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STRANGERS = {"hello": "realcompo_hello", "hello-more": "realcompo_hello_more"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless. REALCOMPO_BROWSER names another executable. One a module: while it is open this thread has an event loop, and the other
    tests of a worker want one of their own."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    with api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        named = os.environ.get("REALCOMPO_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
        if named is None and not own.exists():
            pytest.skip("no Chromium: apt-get install chromium, or playwright install chromium")
        sandbox = [] if os.name != "posix" or os.geteuid() else ["--no-sandbox"]  # Chromium's own sandbox refuses root
        started = playwright.chromium.launch(executable_path=named, args=sandbox)
        yield started
        started.close()


@pytest.fixture(scope="session")
def registry() -> Iterator[Any]:
    """What is installed, and the two plugins of examples/ as a stranger would have installed them."""
    places = [str(ROOT / "examples" / f"realcompo-{name}") for name in STRANGERS]
    sys.path[:0] = places
    installed = [point for point in entry_points(group=GROUP) if point.name not in STRANGERS]
    yield Registry([*installed, *(EntryPoint(name, module, GROUP) for name, module in STRANGERS.items())])
    for place in places:
        sys.path.remove(place)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, registry: Any) -> Iterator[Client]:
    """One server a module, with the embedded family."""
    if reason := lacking("fidelity", "boxes", "pose", "segmentation"):
        pytest.skip(reason)
    with serving(tmp_path_factory.mktemp("studio") / "mine", registry=registry, warm=True) as one:
        yield one


@pytest.fixture
def tab(browser: Any, studio: Client) -> Iterator[Tab]:
    """A fresh tab on the page: its own cookies, its own store. Nothing may be written to its console."""
    with Tab.opened(browser, studio) as one:
        yield one
        assert not one.complaints, one.complaints
