"""Forms and errors in a browser: a stranger's branch has its form, what does not compose says why, each error stands beside its field."""

from __future__ import annotations

import re
from typing import Any

import pytest
from driver import Tab, expect

from realcompo.pictures.png import read_recipe

pytestmark = pytest.mark.deep

BOXES = re.compile(r"mini/boxes(?!-)")
"""The label of mini/boxes, not of the layout models whose ids begin as its does."""


def test_a_strangers_branch_has_its_form_without_a_line_of_the_page(tab: Tab) -> None:
    """examples/realcompo-hello: chosen, told a guidance scale, drawn; a stranger's balancer has a field for each of its options."""
    page = tab.page
    page.get_by_label("Picture model").select_option("hello/fidelity")
    hello = page.get_by_label("hello/boxes")
    expect(hello).to_be_checked()  # the page takes a layout model that fits
    expect(page.get_by_label(BOXES)).to_be_disabled()
    page.locator(".spatial-branch", has=hello).locator("summary").click()
    page.locator(".spatial-branch", has=hello).get_by_label("guidance scale").fill("1.5")
    page.get_by_label("Who has the say at each point").select_option("hello-more/pulse")
    page.locator(".field", has=page.get_by_label("Who has the say at each point")).locator("summary").click()
    form = page.locator(".field", has=page.get_by_label("Who has the say at each point")).locator(".options")
    from realcompo_hello_more.options import PulseOptions

    for name in PulseOptions.model_fields:
        form.get_by_label(name.replace("_", " ")).wait_for()
    tab.box((0.1, 0.1), (0.5, 0.6), "a star")
    tab.steps(4)
    tab.draw()
    recipe = read_recipe(tab.done()).recipe
    assert [(one.name, one.guidance_scale) for one in recipe.branches] == [("hello/fidelity", 1.0), ("hello/boxes", 1.5)]
    assert recipe.balancer.name == "hello-more/pulse"


def test_what_does_not_compose_is_grey_and_says_why(tab: Tab) -> None:
    tab.page.get_by_text("do not fit mini/fidelity").click()
    row = tab.page.locator(".spatial-branch", has=tab.page.get_by_label("hello/boxes"))
    expect(row.get_by_label("hello/boxes")).to_be_disabled()
    expect(row).to_contain_text("latent spaces differ")


def test_an_error_of_every_kind_of_field_stands_beside_its_field(tab: Tab) -> None:
    """Typed nonsense, numbers out of range, options of branches and of the balancer, a thing without words: each note is in its field's own
    place, the field is marked, and all go when they are mended."""
    page = tab.page
    tab.two_boxes()

    def field(label: str) -> Any:
        return page.get_by_label(label, exact=True)

    def noted(where: Any, text: str) -> None:
        where.locator(".notes", has_text=text).first.wait_for()

    def place(label: str) -> Any:
        return page.locator(".field", has=field(label)).last

    for label, wrong, text in (
        ("Seed", "soon", "no number"),
        ("Steps", "0", "greater than or equal to 1"),
        ("Width", "77", "multiple"),
        ("Height", "9999999", "less than or equal to"),
    ):
        right = field(label).input_value()
        field(label).fill(wrong)
        noted(place(label), text)
        field(label).fill(right)
        place(label).locator(".notes").wait_for(state="detached")

    branch = page.locator(".spatial-branch", has=page.get_by_label(BOXES))
    branch.locator("summary").click()
    for label, wrong, text in (
        ("guidance scale", "-1", "At least 0"),
        ("guidance scale", "much", "no number"),
        ("grounding share", "1.5", "At most 1"),
        ("map divisor", "1.5", "whole number"),
        ("base options", "{", "no JSON"),
        ("base options", "[1]", "dictionary"),
    ):
        control = branch.get_by_label(label, exact=True)
        option = branch.locator(".option", has=page.get_by_label(label, exact=True))
        control.fill(wrong)
        noted(option, text)
        control.fill("")
        branch.locator(".notes").first.wait_for(state="detached")

    balancer = page.locator(".field", has=page.get_by_label("Who has the say at each point"))
    balancer.locator("summary").click()
    balancer.get_by_label("plant", exact=True).fill("0.9")
    noted(balancer, "until")
    balancer.get_by_label("plant", exact=True).fill("")
    balancer.locator(".notes").wait_for(state="detached")

    words = page.get_by_label("Words of box 1")
    words.fill("")
    words.press("Enter")
    noted(page.locator(".thing").first, "without a phrase")
    expect(words).to_have_attribute("aria-invalid", "true")
    words.fill("a zebra")
    words.press("Enter")
    page.locator(".thing").first.locator(".notes").wait_for(state="detached")
    page.get_by_label("Prompt", exact=True).fill("a red car")
    page.get_by_text("The prompt does not say “a zebra”").wait_for()

    page.get_by_label("Change the layout in words").fill("sing to the car")
    page.get_by_role("button", name="Change", exact=True).click()
    noted(page.locator(".plan"), "sing to the car")
    tab.complaints.clear()  # the browser writes each refusal to its console
