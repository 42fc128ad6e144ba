"""No violation of WCAG's levels A and AA, in six states of the page, light and dark; and the page on a tablet.
axe-core comes from page/node_modules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from driver import Tab
from studio_client import Client

from tests import ROOT

pytestmark = pytest.mark.deep
AXE = ROOT / "plugins" / "realcompo-studio" / "page" / "node_modules" / "axe-core" / "axe.min.js"
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

BOXES = re.compile(r"mini/boxes(?!-)")
"""The label of mini/boxes, not of the layout models whose ids begin as its does."""


def beginning(tab: Tab) -> None:
    """A first visit."""


def layout(tab: Tab) -> None:
    """Two boxes, one being named, options of a branch open."""
    tab.page.locator(".spatial-branch", has=tab.page.get_by_label(BOXES)).locator("summary").click()
    tab.box((0.06, 0.42), (0.46, 0.9), "a cat")
    tab.drag((0.56, 0.5), (0.94, 0.88))


def people(tab: Tab) -> None:
    """A person, selected, and a painted map below."""
    tab.canvas("Paint")
    tab.drag((0.2, 0.2), (0.5, 0.5))
    tab.canvas("Poses")
    tab.page.get_by_label("Add a person in a pose").select_option("waving")
    tab.page.get_by_label("Who is this?").fill("a red person")
    tab.page.keyboard.press("Enter")


def errors(tab: Tab) -> None:
    """Notes beside fields."""
    tab.box((0.06, 0.42), (0.46, 0.9), "a cat")
    tab.page.get_by_label("Seed", exact=True).fill("soon")
    tab.page.get_by_label("Width", exact=True).fill("77")
    tab.page.get_by_text("must be multiples of 8").wait_for()


def inside(tab: Tab) -> None:
    """A picture that was drawn, its run looked into."""
    tab.box((0.06, 0.42), (0.46, 0.9), "a cat")
    tab.steps(10)
    tab.draw()
    tab.done()
    tab.page.get_by_label("Step", exact=True).fill("3")
    tab.page.get_by_role("button", name="a cat", exact=False).filter(has_text="inside").click()
    tab.page.get_by_role("img", name="Attention to a cat").wait_for()


def gallery(tab: Tab) -> None:
    """Pictures, one chosen for comparing."""
    tab.box((0.06, 0.42), (0.46, 0.9), "a cat")
    tab.steps(3)
    tab.draw()
    tab.done()
    tab.page.get_by_role("tab", name="Gallery").click()
    tab.page.get_by_role("button", name="for comparing").first.click()


STATES: dict[str, Callable[[Tab], None]] = {state.__name__: state for state in (beginning, layout, people, errors, inside, gallery)}


def violations(page: Any) -> list[str]:
    """What axe finds, a line each."""
    page.evaluate(AXE.read_text(encoding="utf-8") + "; undefined")
    found = page.evaluate("levels => axe.run(document, { runOnly: { type: 'tag', values: levels } })", LEVELS)
    assert len(found["passes"]) > 15, "axe looked at next to nothing"
    return [f"{one['id']}: {node['html'][:160]} {node['failureSummary']}" for one in found["violations"] for node in one["nodes"]]


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not there: npm ci in plugins/realcompo-studio/page")
@pytest.mark.parametrize("paper", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(browser: Any, studio: Client, state: str, paper: str) -> None:
    with Tab.opened(browser, studio, color_scheme=paper) as tab:
        STATES[state](tab)
        assert not violations(tab.page)


@pytest.mark.parametrize("size", [(1280, 800), (1024, 768), (820, 1180)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_all_fits_without_scrolling_sideways(browser: Any, studio: Client, size: tuple[int, int]) -> None:
    """The stage with its Draw button is in sight where the page begins, and nothing lies over what is further down."""
    with Tab.opened(browser, studio) as tab:
        tab.page.set_viewport_size({"width": size[0], "height": size[1]})
        layout(tab)
        assert tab.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        draw = tab.button("Draw").bounding_box()
        assert draw["y"] + draw["height"] <= size[1] and tab.stage["width"] >= 300
        tab.page.get_by_role("button", name="OK").click(trial=True)
        tab.page.keyboard.press("Escape")
        tab.page.get_by_role("tab", name="Recipe").click()
        tab.page.get_by_role("button", name="Copy").click()
        tab.page.get_by_label("Scheduler").click(trial=True)
