"""Runs and pictures in a browser: cancelled, found after a reload, looked into, kept, dropped onto the page; two tabs at once."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from driver import PETS, Tab, expect
from studio_client import Client

from realcompo.pictures.png import read_recipe

pytestmark = pytest.mark.deep


def test_a_run_is_cancelled_in_its_midst_and_drawn_again(tab: Tab) -> None:
    tab.two_boxes(steps=400)
    tab.draw()
    tab.page.locator("img.picture[src*='/previews/']").wait_for()
    tab.button("Cancel").click()
    tab.status("Stopped")
    tab.steps(3)
    tab.draw()
    assert read_recipe(tab.done()).recipe.num_inference_steps == 3


def test_a_reload_finds_the_run_and_the_page(tab: Tab) -> None:
    tab.two_boxes(steps=400)
    tab.draw()
    tab.page.locator("img.picture[src*='/previews/']").wait_for()
    before = tab.document()
    tab.page.reload()
    tab.page.locator("img.picture[src*='/previews/']").wait_for()
    tab.status("of 400")
    assert tab.document() == before
    tab.button("Cancel").click()
    tab.status("Stopped")


def test_two_tabs_draw_at_once_and_keep_apart(browser: Any, studio: Client) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    with Tab.opened(browser, studio, context=context) as one, Tab.opened(browser, studio, context=context) as other:
        one.box((0.1, 0.1), (0.5, 0.6), "a cat")
        other.box((0.5, 0.4), (0.9, 0.9), "a house")
        for tab in (one, other):
            tab.steps(4)
            tab.draw()
        cat, house = read_recipe(one.done()).recipe.pictures[0], read_recipe(other.done()).recipe.pictures[0]
        assert (cat.prompt, house.prompt) == ("a cat", "a house")
        assert set(one.boxes) == {"a cat"} and set(other.boxes) == {"a house"}
        other.page.get_by_role("tab", name="Gallery").click()
        for name in ("a cat", "a house"):
            other.page.get_by_role("button", name=f"Open {name}, seed 7").first.wait_for()
    context.close()


def test_the_command_reproduces_what_the_page_drew(tab: Tab) -> None:
    tab.two_boxes()
    tab.draw()
    path = tab.done()
    done = subprocess.run(
        [sys.executable, "-m", "realcompo", "reproduce", str(path)], capture_output=True, text=True, cwd=path.parent.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_look_inside_tells_who_drew_where_and_why(tab: Tab) -> None:
    """Timeline, weights, attention, curves, a region's own loss, the sentence of each phase, and both models alone."""
    page = tab.page
    tab.two_boxes(steps=10)
    tab.draw()
    path = tab.done()
    page.get_by_text("mini/boxes planted each thing where you put it (steps 1 to 3)").wait_for()
    page.locator(".why li", has_text="a cat").get_by_text("of the attention to it lay in its place").wait_for()
    slider = page.get_by_label("Step", exact=True)
    slider.fill("0")
    page.locator(".look .sentence", has_text="mini/boxes draws alone").wait_for()
    weight = page.get_by_role("button", name="Weight of mini/boxes")
    weight.click()
    said = tab.heat("Weight of mini/boxes", '[...pixels.slice(0, 4)].join() === "255,234,70,255"')
    assert set(map(tuple, said.reshape(-1, 3))) == {(255, 234, 70)}, "all of the say, everywhere"
    slider.fill("3")
    page.locator(".look .sentence", has_text="mini/fidelity draws now").wait_for()
    page.get_by_role("button", name="a cat", exact=False).filter(has_text="inside").click()
    heat = tab.heat("Attention to a cat", "pixels.some((value) => value > 0)")[..., 0]
    side = len(heat) // 2
    assert heat[side:, :side].mean() > heat[:side, side:].mean(), "a cat is asked for at the lower left"
    page.get_by_role("button", name="a cat, from").hover()
    page.locator(".curves .is-strong").wait_for()
    page.locator(".legend li.is-on", has_text="a cat").wait_for()
    page.get_by_role("button", name="Draw with each model alone").click()
    page.get_by_role("img", name="mini/fidelity alone").wait_for()
    page.get_by_role("img", name="mini/boxes alone").wait_for()
    assert path.is_file()


def own_losses(losses: dict[str, dict[str, float | None]]) -> dict[str, float]:
    """Of each region, the mean over the branches that were asked at a step."""
    told: dict[str, list[float]] = {}
    for branch in losses.values():
        for region, loss in branch.items():
            if loss is not None:
                told.setdefault(region, []).append(loss)
    return {region: sum(each) / len(each) for region, each in told.items()}


def percent(share: float) -> str:
    """As the page rounds it: a half goes up."""
    return f"{math.floor(100 * share + 0.5)} %"


def test_hovering_a_region_shows_its_own_loss(tab: Tab) -> None:
    """On the stage beside the picture, whichever panel is open: the region's loss as the server's trace has it, at the step that is looked
    at, or at the last before it at which attention was read. Another region has another number, and the empty paper none."""
    page = tab.page
    tab.two_boxes(steps=10)
    loss = page.get_by_test_id("loss")
    page.get_by_role("button", name="a cat, from").hover()
    expect(loss).to_have_count(0)  # nothing was drawn yet: there is no loss to show
    page.mouse.move(*tab.at((0.5, 0.1)))
    tab.draw()
    path = tab.done()
    traced = {one["index"]: own_losses(one["losses"]) for one in tab.studio.get(f"/api/pictures/{path.name}/trace").json["steps"]}
    read = [index for index, losses in traced.items() if losses]
    assert len(read) > 1 and max(read) < 9, "attention was read at some steps, and not at the last: the control of what follows"
    slider = page.get_by_label("Step", exact=True)
    for shown, known in ((9, max(read)), (read[1], read[1])):
        slider.fill(str(shown))
        for phrase in ("a cat", "a red car"):
            page.get_by_role("button", name=f"{phrase}, from").hover()
            expect(loss).to_have_text(f"{phrase}: {percent(traced[known][phrase])} of the attention outside its place, step {known + 1}")
    assert traced[read[1]]["a cat"] != traced[read[1]]["a red car"]
    page.mouse.move(*tab.at((0.5, 0.1)))
    expect(loss).to_have_count(0)
    page.get_by_role("tab", name="Gallery").click()
    page.get_by_label("Words of box 1").hover()
    expect(loss).to_contain_text("a cat: ")


def test_a_picture_of_the_gallery_brings_everything_back_and_two_are_compared(tab: Tab) -> None:
    page = tab.page
    tab.two_boxes()
    page.get_by_label("Not in the picture").fill("snow")
    page.get_by_label("Seed", exact=True).fill("41")
    tab.draw()
    first = tab.done()
    drawn = tab.document()
    page.get_by_role("button", name="Delete a cat").click()
    page.get_by_label("Prompt", exact=True).fill("a red car")
    page.get_by_label("Not in the picture").fill("")
    page.get_by_label("Seed", exact=True).fill("42")
    tab.draw()
    tab.done()
    page.get_by_role("tab", name="Gallery").click()
    page.get_by_role("button", name=f"Open {PETS}, seed 41").click()
    page.get_by_text("Back as it was drawn").wait_for()
    back = tab.document()
    for key in ("prompt", "negative", "seed", "steps"):
        assert back[key] == drawn[key], key
    assert {one["phrase"]: one["box"] for one in back["boxes"]} == {one["phrase"]: one["box"] for one in drawn["boxes"]}

    page.get_by_role("button", name=f"Choose {first.name} for comparing").click()
    page.get_by_role("button", name="for comparing").first.click()
    page.get_by_role("button", name="Compare", exact=True).click()
    dialog = page.get_by_role("dialog", name="Compare")
    dialog.get_by_label("How much of the left picture is seen").fill("25")
    expect(dialog.locator(".is-over")).to_have_css("clip-path", re.compile(r"inset\(0px 75%"))
    dialog.get_by_role("button", name="Close").click()

    page.get_by_role("tab", name="Recipe").click()
    recipe = page.get_by_test_id("recipe")
    recipe.get_by_text('"a cat" = [').wait_for()
    page.get_by_role("button", name="Python").click()
    recipe.get_by_text("import realcompo").wait_for()
    page.get_by_role("button", name="Command line").click()
    recipe.get_by_text("realcompo").first.wait_for()
    with page.expect_download() as caught:
        page.get_by_role("link", name="PNG").click()
    assert Path(caught.value.path()).read_bytes() == first.read_bytes()


def dropped(tab: Tab, data: bytes, name: str, kind: str = "image/png") -> None:
    """A file from the desktop falls onto the page."""
    carried = tab.page.evaluate_handle(
        """([bytes, name, type]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([Uint8Array.from(bytes)], name, { type }));
            return carried;
        }""",
        [list(data), name, kind],
    )
    tab.page.dispatch_event(".app", "drop", {"dataTransfer": carried})


def test_a_png_that_is_dropped_brings_its_state(tab: Tab) -> None:
    page = tab.page
    tab.two_boxes()
    tab.draw()
    data, drawn = tab.done().read_bytes(), tab.boxes
    page.get_by_role("button", name="Delete a cat").click()
    page.get_by_role("button", name="Delete a red car").click()
    page.get_by_label("Prompt", exact=True).fill("")
    dropped(tab, data, "mine.png")
    page.get_by_text("Everything of mine.png is back").wait_for()
    assert tab.boxes == drawn
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(PETS)
    tab.button("Undo").click()
    page.get_by_role("button", name="a cat, from").wait_for(state="detached")
    assert tab.boxes == {}


def test_a_file_that_is_none_of_ours_is_refused_beside_draw_and_changes_nothing(tab: Tab) -> None:
    tab.two_boxes()
    before = tab.document()
    for data, name in ((b"not a picture", "a.png"), (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "b.png")):
        with tab.page.expect_response("**/api/import*") as answered, tab.page.expect_console_message():
            dropped(tab, data, name)
        assert answered.value.status >= 400
        tab.page.locator(".draw-bar .notes").wait_for()
    assert tab.document() == before
    tab.complaints.clear()  # the browser writes each refusal to its console


def test_a_photo_that_is_dropped_is_there_to_trace(tab: Tab) -> None:
    """It carries no recipe, and is not sent."""
    sent: list[str] = []
    tab.page.on("request", lambda request: sent.append(request.url))
    dropped(tab, b"\xff\xd8\xff", "photo.jpg", "image/jpeg")
    tab.page.get_by_test_id("sentence").get_by_text("photo.jpg lies below the canvas").wait_for()
    expect(tab.page.locator(".tracing")).to_have_count(1)
    assert not [url for url in sent if "import" in url]


def test_a_seed_that_was_made_can_be_kept(tab: Tab) -> None:
    tab.two_boxes()
    tab.page.get_by_label("Seed", exact=True).fill("")
    tab.draw()
    drawn = read_recipe(tab.done()).recipe.pictures[0].seed
    tab.button("Keep it").click()
    assert tab.document()["seed"] == drawn
