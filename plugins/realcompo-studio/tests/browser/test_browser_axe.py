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
    tab.page.get_by_label("What is here?").wait_for()


def people(tab: Tab) -> None:
    """A person, selected, and a painted map below."""
    tab.canvas("Paint")
    tab.drag((0.2, 0.2), (0.5, 0.5))
    tab.canvas("Poses")
    tab.person("waving", "a red person")


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
    tab.page.get_by_role("button", name="Compare (1 of 2)").wait_for()


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
        assert tab.sideways() <= 0
        draw = tab.button("Draw").bounding_box()
        assert draw["y"] + draw["height"] <= size[1] and tab.stage["width"] >= 300
        tab.page.get_by_role("button", name="OK").click(trial=True)
        tab.page.keyboard.press("Escape")
        tab.page.get_by_role("tab", name="Recipe").click()
        tab.page.get_by_role("button", name="Copy").click()
        tab.page.get_by_label("Scheduler").click(trial=True)


PHONES = [(400, 860), (320, 640)]


@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "finger"])
@pytest.mark.parametrize("size", PHONES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_phone_never_scrolls_sideways(browser: Any, studio: Client, size: tuple[int, int], touch: bool) -> None:
    """In each canvas, with the form for words open near the right edge, with options open, with a picture and each panel behind it.

    Its control: tools that stay beside each other are wider than the page, and the measure says so."""
    with Tab.opened(browser, studio, has_touch=touch) as tab:
        page = tab.page
        page.set_viewport_size({"width": size[0], "height": size[1]})
        wide: dict[str, int] = {}

        def seen(state: str) -> None:
            wide[state] = tab.sideways()

        seen("beginning")
        tab.box((0.56, 0.5), (0.94, 0.88), "a red car")
        tab.drag((0.6, 0.1), (0.9, 0.4))
        form = page.locator(".naming")
        form.wait_for()
        place = form.bounding_box()
        assert place["x"] >= 0 and place["x"] + place["width"] <= size[0], "the form for words lies within the page"
        seen("naming")
        page.keyboard.press("Escape")
        form.wait_for(state="detached")
        page.locator(".spatial-branch", has=page.get_by_label(BOXES)).locator("summary").click()
        page.get_by_label("grounding share").wait_for()
        seen("options")
        page.locator(".spatial-branch", has=page.get_by_label(BOXES)).locator("summary").click()
        tab.canvas("Paint")
        tab.drag((0.1, 0.1), (0.4, 0.3))
        page.get_by_role("button", name="Clear the map").wait_for()
        seen("paint")
        page.get_by_role("button", name="Clear the map").click()
        tab.canvas("Poses")
        tab.person("waving", "a blue person")
        seen("poses")
        tab.steps(3)
        tab.draw()
        tab.done()
        page.get_by_role("img", name="Attention outside its place").wait_for()
        seen("look inside")
        page.get_by_role("tab", name="Gallery").click()
        page.get_by_role("button", name="for comparing").first.wait_for()
        seen("gallery")
        page.get_by_role("tab", name="Recipe").click()
        page.get_by_test_id("recipe").get_by_text("mini/fidelity").first.wait_for()
        seen("recipe")
        assert all(pixels <= 0 for pixels in wide.values()), wide
        page.locator(".tool-row").first.evaluate("row => { row.style.flexWrap = 'nowrap'; }")
        assert tab.sideways() > 0, "the control: one row of tools is wider than a phone"
